"""What the charts are made of: SVG elements, scales and axes."""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 270  # of a plot, in units of its viewBox
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 14, 44  # margins for the axes


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Return an SVG element; attributes and text are escaped. `class_` is class, `stroke_width` is stroke-width."""
    pairs = (f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"' for key, value in attributes.items())
    return Markup(f"<{name}{''.join(pairs)}>{''.join(escape(child) for child in children)}</{name}>")


def _short(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


class Linear:
    """A linear scale, called with a value, with the ticks of its axis."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.start, self.slope = low, start, (end - start) / (high - low)
        step = 10 ** math.floor(math.log10((high - low) / 3))
        step *= next(factor for factor in (5, 2, 1) if (high - low) / (step * factor) >= 3)
        self.ticks = [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        return self.start + (value - self.low) * self.slope


def surround(values: Sequence[float], start: float, end: float) -> Linear:
    """Return a scale that holds all values, with some air at both ends."""
    low, high = float(min(values)), float(max(values))
    air = ((high - low) or 1.0) * 0.06
    return Linear(max(low - air, 0.0), high + air, start, end)


def axes(x: Linear, y: Linear, x_label: str, y_label: str) -> Markup:
    """Return the grid, the numbers at it and the names of both axes."""
    parts = []
    for tick in x.ticks:
        parts.append(tag("line", x1=x(tick), x2=x(tick), y1=TOP, y2=HEIGHT - BOTTOM, class_="grid"))
        parts.append(tag("text", f"{tick:.4g}", x=x(tick), y=HEIGHT - BOTTOM + 16, text_anchor="middle"))
    for tick in y.ticks:
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(tag("text", f"{tick:.4g}", x=LEFT - 7, y=y(tick) + 4, text_anchor="end"))
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts.append(tag("text", x_label, x=middle_x, y=HEIGHT - 6, text_anchor="middle", class_="axis"))
    turn = f"translate(11 {middle_y:.1f}) rotate(-90)"
    parts.append(tag("text", y_label, transform=turn, text_anchor="middle", class_="axis"))
    return Markup("").join(parts)


def plot(title: str, *parts: object) -> Markup:
    """Return a whole plot; the title is what a screen reader says."""
    return tag("svg", *parts, class_="plot", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=title)
