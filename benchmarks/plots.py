"""Draws tables of records as SVG files, for the pages: as bars, as shares of a whole, as lines.

Run: python -m benchmarks.plots
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.machine import describe
from benchmarks.records import RESULTS_DIR, Record, Run
from benchmarks.tables import number
from common.terminal import ArgumentParser

# Okabe and Ito's colours, which people of every colour vision can tell apart.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE, GREY = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999",
)  # fmt: skip
PHASE_COLOURS = (GREY, SKY, PURPLE, ORANGE, RED, GREEN, BLUE)
OUTCOME_COLOURS = {"answered": GREEN, "refused": YELLOW, "lost": RED}
WIDTH = 9.0  # inches
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "iris",  # the same figures give the same file
    "svg.fonttype": "none",  # text stays text: it can be searched, copied and read aloud
    "font.size": 9,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}


def bars(axis: Axes, records: Sequence[Record], colours: dict[str, str]) -> None:
    """Draw a group of bars per row, a bar per column, on a logarithmic scale; each with its range and its figure."""
    rows = names(record.row for record in records)
    width = 0.8 / len(colours)
    for i, (column, colour) in enumerate(colours.items()):
        found = [record for record in records if record.column == column]
        places = [rows.index(record.row) + (i - (len(colours) - 1) / 2) * width for record in found]
        values = [record.value for record in found]
        ranges = [[r.value - (r.low or r.value) for r in found], [(r.high or r.value) - r.value for r in found]]
        axis.bar(places, values, width * 0.95, color=colour, label=column, yerr=ranges, ecolor="#777777")
        for x, record in zip(places, found, strict=True):
            write(axis, number(record.value), (x, record.high or record.value), (0, 3), ha="center")
    axis.set_xticks(range(len(rows)), [row.replace(" ", "\n", 1) for row in rows])
    logarithmic(axis)


def shares(axis: Axes, records: Sequence[Record], colours: dict[str, str], unit: str, totals: dict[str, str]) -> None:
    """Draw a bar of 100 % per row, with a part per column, and write a text to the right of it."""
    rows = names(record.row for record in records)[::-1]
    found = {(record.row, record.column): record.value for record in records}
    for y, row in enumerate(rows):
        left, whole = 0.0, sum(found[row, column] for column in colours)
        for column, colour in colours.items():
            share = 100 * found[row, column] / whole
            part = axis.barh(y, share, left=left, color=colour, edgecolor="white", label="" if y else column)
            ink = "white" if colour in (BLUE, RED) else "black"
            axis.bar_label(part, [f"{share:.0f}{unit}" if share >= 5 else ""], label_type="center", color=ink)
            left += share
        write(axis, totals[row], (100, y), (5, -3))
    axis.set_yticks(range(len(rows)), rows)
    axis.set_xticks(range(0, 101, 25))
    axis.set_xlim(0, 118)


def line(axis: Axes, records: Sequence[Record], x: str, label: str, style: str, colour: str) -> None:
    """Draw figures, if there are any, over the number in the name of their row or column."""
    if not records:
        return
    places = [int(re.findall(r"\d+", getattr(record, x))[-1]) for record in records]
    axis.plot(places, [record.value for record in records], style, color=colour, label=label)
    axis.set_xscale("log")
    axis.set_xticks(places, [number(place) for place in places])
    axis.minorticks_off()


def names(texts: Iterable[str]) -> list[str]:
    """Return each text once."""
    return list(dict.fromkeys(texts))


def write(axis: Axes, text: str, place: tuple[float, float], offset: tuple[int, int], **style: Any) -> None:
    """Write a small text near a place."""
    axis.annotate(text, place, offset, textcoords="offset points", fontsize=7, **style)


def logarithmic(axis: Axes) -> None:
    """Give an axis a logarithmic scale, with 1 000 instead of 10 to the power of 3."""
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(round(value, 6))))
    axis.yaxis.set_minor_formatter(NullFormatter())


# --- the plots --------------------------------------------------------------------------------------------------------


def throughput(run: Run) -> Figure:
    """Predictions per second of each stage."""
    figure, axes = plt.subplots(2, 1, figsize=(WIDTH, 7.5), sharex=True)
    table, slow_ms = run.table("predictions per second"), run.settings["slow_model_cpu_seconds"] * 1000
    colours = {"1 client": SKY, "2 clients": BLUE, "4 clients": BLACK, "backlog": ORANGE}
    for axis, model, title in zip(axes, ("fast", "slow"), ("", f" ({slow_ms:g} ms of CPU each)"), strict=True):
        columns = {f"{model} model, {name}": colour for name, colour in colours.items()}
        bars(axis, table, columns)
        axis.set_ylabel("predictions per second")
        axis.set_title(f"{model.capitalize()} model{title}", loc="left")
    handles, _ = axes[0].get_legend_handles_labels()
    figure.legend(handles, list(colours), loc="outside upper center", ncols=4, frameon=False)
    return figure


def latency(run: Run) -> Figure:
    """p50 and p99 of one client that waits."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.6))
    colours = {"fast model, p50": SKY, "fast model, p99": BLUE, "slow model, p50": ORANGE, "slow model, p99": RED}
    bars(axis, [record for record in run.table("one client") if record.column in colours], colours)
    axis.set_ylabel("ms from question to answer")
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    return figure


def outcomes(run: Run) -> Figure:
    """What becomes of the questions at overload and at sudden death, stage by stage: the front page's picture."""
    titles = {"overload": "Overload: 16 clients ask at once", "killed": "Sudden death: killed, then started again"}
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.1), sharey=True)
    for axis, (table, title) in zip(axes, titles.items(), strict=True):
        records = run.table(table)
        found = {(record.row, record.column): record.value for record in records}
        stages = names(record.row for record in records)[::-1]
        for y, stage in enumerate(stages):
            left = 0.0
            for outcome, colour in OUTCOME_COLOURS.items():
                share = 100 * found[stage, outcome] / found[stage, "asked"]
                text = f"all {outcome}" if share == 100 else f"{share:.0f} %{f' {outcome}' * (share > 30)}"
                if text == "all answered":
                    text += f", the last after {found[stage, 'longest wait']:.1f} s"
                if share:
                    axis.barh(y, share, 0.78, left, color=colour, edgecolor="white")
                    ink = "black" if colour == YELLOW else "white"
                    axis.text(left + 1.5, y, text, color=ink, weight="bold", fontsize=8.5, va="center")
                left += share
        axis.set_title(title, loc="left", fontsize=11, weight="bold")
        axis.set_yticks(range(len(stages)), stages, fontsize=10)
        axis.tick_params(length=0)
        axis.set_xlim(0, 100)
        axis.set_xticks([])
        axis.spines[:].set_visible(False)
    return figure


def profiles(run: Run) -> Figure:
    """Where the time of one task goes."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.8))
    records = run.table("one task")
    phases = [column for column in names(record.column for record in records) if column != "all"]
    wholes = {record.row: duration(record.value) for record in records if record.column == "all"}
    shares(axis, records, dict(zip(phases, PHASE_COLOURS, strict=True)), "", wholes)
    axis.set_xlabel("% of the time of one task (right: the whole)")
    figure.legend(loc="outside upper center", ncols=7, frameon=False, fontsize=8)
    return figure


def duration(microseconds: float) -> str:
    """Return a time in the unit that suits it: 375 ms, 5.32 µs."""
    unit, factor = next(((u, f) for u, f in (("s", 1e6), ("ms", 1e3)) if microseconds >= f), ("µs", 1))
    return f"{number(microseconds / factor)} {unit}"


def worker_rate(run: Run) -> Figure:
    """One worker process beside Kafka's own limit and beside one task at a time."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.2))
    bars(axis, run.table("program"), {"rate": BLUE})
    for bar, name in zip(axis.patches, names(record.row for record in run.table("program")), strict=True):
        bar.set_color(GREY if name in ("echo", "one-by-one") else BLUE)
    axis.set_ylabel("tasks per second, one process")
    axis.set_xlabel("grey: references")
    return figure


def scale(run: Run) -> Figure:
    """Workers and partitions, and the price of exactly-once at several batch sizes."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.4))
    colours = {"fast model": BLUE, "0.1 ms model": ORANGE, "1 ms model": RED}
    styles = {"1 partition": "o-", "2 partitions": "s--", "4 partitions": "^:"}
    for row in names(record.row for record in run.table("workers")):
        model, partitions = row.split(", ")
        points = [record for record in run.table("workers") if record.row == row]
        line(axes[0], points, "column", row, styles[partitions], colours[model])
    for mode, colour, style in (("at-least-once", BLUE, "o-"), ("exactly-once", RED, "s--")):
        line(axes[1], [r for r in run.table("batches") if r.column == mode], "row", mode, style, colour)
    axes[0].set(xlabel="workers", ylabel="tasks per second", title="Workers and partitions")
    axes[1].set(xlabel="most tasks in a batch", title="Batch size and delivery")
    for axis in axes:
        if axis.lines:
            logarithmic(axis)
            axis.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return figure


def overload(run: Run) -> Figure:
    """Throughput, latency and refusals over the number of clients."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6))
    titles = {"predictions/s": "predictions per second", "p99": "p99 of the predictions, ms", "refused/s": "refused/s"}
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        for table, style, colour in zip(run.tables(), ("o-", "s--"), (BLUE, ORANGE), strict=True):
            line(axis, [r for r in run.table(table) if r.column == column], "row", table, style, colour)
        axis.set(title=title, xlabel="clients", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0].legend()
    return figure


DRAWINGS: dict[str, dict[str, Callable[[Run], Figure]]] = {  # measurement: its plots
    "scoreboard": {"throughput": throughput, "latency": latency, "outcomes": outcomes},
    "profiles": {"profiles": profiles},
    "worker_rate": {"worker_rate": worker_rate},
    "scale": {"scale": scale},
    "overload": {"overload": overload},
}


def draw(run: Run, folder: Path | None = None, kind: str = "svg") -> list[Path]:
    """Draw a measurement into the folder of the measurements; return the files."""
    drawn = []
    machine = describe(run.machine | {"libraries": {}})
    with mpl.rc_context(STYLE):
        for name, make in DRAWINGS.get(run.measurement, {}).items():
            figure = make(run)
            origin = f"{run.command}, {run.date}, commit {run.commit}: {machine}"
            figure.supxlabel(origin, fontsize=6, color="#555555")
            drawn.append((folder or RESULTS_DIR) / f"{name}.{kind}")
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(drawn[-1], metadata=metadata, facecolor="white", dpi=110)
            plt.close(figure)
    return drawn


def draw_all(folder: Path | None = None, kind: str = "svg") -> list[Path]:
    """Draw all that has been measured; return the files."""
    known = [name for name in DRAWINGS if ((folder or RESULTS_DIR) / f"{name}.json").exists()]
    return [path for name in known for path in draw(Run.read(name, folder), folder, kind)]


def main(argv: list[str] | None = None) -> int:
    """Draw."""
    parser = ArgumentParser(__doc__)
    parser.add_argument("--out", type=Path, help="folder of the measurements (default: benchmarks/results)")
    parser.add_argument("--png", action="store_true", help="PNG files instead, to look at")
    args = parser.parse_args(argv)
    for path in draw_all(args.out, "png" if args.png else "svg"):
        print(f"Drawn: {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
