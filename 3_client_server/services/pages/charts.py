"""Charts as inline SVG, drawn on the server: no script, no picture file, and colours that come from the style sheet.

Every chart says in its aria-label what it shows; a table or a list beside it has the numbers. A species has a shape as
well as a colour, so that nobody has to tell colours apart.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup

from common.iris_dto import FEATURES, SPECIES

from .svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Linear, axes, plot, surround, tag

RADIUS = 3.4  # of a flower in the scatter plot


def mark(species: str) -> Markup:
    """Return the species' shape in its colour, to stand before its name."""
    if species not in SPECIES:
        return Markup("")
    path = tag("path", d=_shape(species, 7, 7, 5))
    return tag("svg", path, class_=f"mark {species}", viewBox="0 0 14 14", aria_hidden="true")


def _shape(species: str, x: float, y: float, r: float) -> str:
    """Return a path around (x, y): circle, triangle, square, all of about the same area."""
    if species == "setosa":
        return f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z"
    if species == "versicolor":
        r *= 1.2
        return f"M{x:.1f} {y - r:.1f}L{x + r:.1f} {y + 0.75 * r:.1f}H{x - r:.1f}Z"
    r *= 0.9
    return f"M{x - r:.1f} {y - r:.1f}h{2 * r:.1f}v{2 * r:.1f}h{-2 * r:.1f}Z"


def probability_bar(species: str, probability: float) -> Markup:
    """Return a horizontal bar: the share of the whole width."""
    bar = tag("rect", width=f"{100 * min(max(probability, 0.0), 1.0):.2f}%", height="100%", class_="fill")
    return tag("svg", bar, class_=f"bar {species if species in SPECIES else ''}", aria_hidden="true")


def contribution_bars(steps: Sequence[tuple[float, float]]) -> list[Markup]:
    """Return a bar from start to end for each step on one common scale, with a line at zero: a waterfall.

    Bars to the right have the class `for` (the winner), bars to the left `against` (the runner-up).
    """
    values = [value for step in steps for value in step]
    low, high = min(0.0, *values), max(0.0, *values)
    pad = ((high - low) or 1.0) * 0.03
    scale = Linear(low - pad, high + pad, 0, 100)
    bars = []
    for start, end in steps:
        left, right = sorted((scale(start), scale(end)))
        bar = tag("rect", x=f"{left:.2f}%", width=f"{max(right - left, 0.4):.2f}%", y="30%", height="40%", rx=2,
                  class_="for" if end >= start else "against")  # fmt: skip
        zero = tag("line", x1=f"{scale(0):.2f}%", x2=f"{scale(0):.2f}%", y1="0", y2="100%", class_="zero")
        join = tag("line", x1=f"{scale(end):.2f}%", x2=f"{scale(end):.2f}%", y1="70%", y2="100%", class_="join")
        bars.append(tag("svg", zero, bar, join, class_="waterfall", aria_hidden="true"))
    return bars


def scatter(flowers: np.ndarray, iris_types: Sequence[int], row: Sequence[float], i: int, j: int) -> Markup:
    """Return feature j over feature i of the training flowers, shape (150, 4), with the measurement `row` marked."""
    x = surround([*flowers[:, i], row[i]], LEFT, WIDTH - RIGHT)
    y = surround([*flowers[:, j], row[j]], HEIGHT - BOTTOM, TOP)
    species_paths = [
        tag("path", class_=f"flowers {name}", d="".join(
            _shape(name, x(flower[i]), y(flower[j]), RADIUS)
            for flower, iris_type in zip(flowers, iris_types, strict=True) if SPECIES[iris_type] == name
        ))
        for name in SPECIES
    ]  # fmt: skip
    at_x, at_y = x(row[i]), y(row[j])
    anchor = "end" if at_x > WIDTH * 0.7 else "start" if at_x < WIDTH * 0.3 else "middle"
    label_y = at_y + 24 if at_y < TOP + 28 else at_y - 14
    here = (
        tag("circle", cx=at_x, cy=at_y, r=8, class_="here-ring"),
        tag("circle", cx=at_x, cy=at_y, r=2.4, class_="here-dot"),
        tag("text", "this flower", x=at_x, y=label_y, text_anchor=anchor, class_="here-label"),
    )
    names = [label(FEATURES[k]).lower() for k in (i, j)]
    title = f"Scatter plot of the 150 training flowers, {names[1]} over {names[0]}. " + (
        f"This flower is at {row[i]:.4g} and {row[j]:.4g} cm."
    )
    frame = axes(x, y, f"{label(FEATURES[i])} (cm)", f"{label(FEATURES[j])} (cm)")
    return plot(title, frame, *species_paths, *here)


def distributions(feature: str, training: Iterable[float], recent: Iterable[float], location: float) -> Markup:
    """Return the share of values up to x, of the training flowers and of recent inputs, and where they differ most."""
    old, new = np.sort(np.fromiter(training, float)), np.sort(np.fromiter(recent, float))
    x = surround([old[0], old[-1], *np.quantile(new, [0.02, 0.98])], LEFT, WIDTH - RIGHT)  # a few may lie outside
    y = Linear(0, 1, HEIGHT - BOTTOM, TOP)
    y.ticks = [0, 0.25, 0.5, 0.75, 1]
    low, high = (np.searchsorted(sample, location, side="right") / len(sample) for sample in (old, new))
    return plot(
        f"Distribution of {label(feature).lower()}: share of values up to x, training flowers and recent inputs. "
        f"They differ most at {location:.4g} cm, by {abs(low - high):.2f}.",
        axes(x, y, f"{label(feature)} (cm)", "share of values up to x"),
        tag("line", x1=_inside(x(location)), x2=_inside(x(location)), y1=y(low), y2=y(high), class_="gap"),
        tag("path", d=_steps(old, x, y), class_="curve training"),
        tag("path", d=_steps(new, x, y), class_="curve recent"),
    )


def label(name: str) -> str:
    """Return the name as people write it: sepal_length is Sepal length."""
    return name.replace("_", " ").capitalize()


def _steps(values: np.ndarray, x: Linear, y: Linear) -> str:
    """Return the path of an empirical distribution function, from the left end of the axis to its right end."""
    places, counts = np.unique(values, return_counts=True)
    path = f"M{LEFT} {y(0):.1f}"
    for place, share in zip(places, np.cumsum(counts) / len(values), strict=True):
        path += f"H{_inside(x(place)):.1f}V{y(share):.1f}"
    return path + f"H{WIDTH - RIGHT}"


def _inside(x: float) -> float:
    return min(max(x, LEFT), WIDTH - RIGHT)
