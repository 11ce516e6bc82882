"""Draws the measurements that are there as SVG files, for the pages.

Run: python -m benchmarks.plots
"""

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
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
}


def throughput(run: Run) -> Figure:
    """Predictions per second of each stage, on a logarithmic scale."""
    figure, axes = plt.subplots(2, 1, figsize=(WIDTH, 7.5), layout="constrained", sharex=True)
    table = run.table("predictions per second")
    stages = _rows(table)
    colours = {"1 client": SKY, "2 clients": BLUE, "4 clients": BLACK, "backlog": ORANGE}
    for axis, model in zip(axes, ("fast", "slow"), strict=True):
        for i, (column, colour) in enumerate(colours.items()):
            bars = [(stages.index(r.row), r) for r in table if r.column == f"{model} model, {column}"]
            if bars:
                each = ", each waiting for its answer" if "client" in column else ": nobody waits"
                _bars(axis, [x + (i - 1.5) * 0.2 for x, _ in bars], [r for _, r in bars], colour, column + each)
        _whole_decades(axis, room=1)
        axis.set_ylabel("predictions per second")
        slow = run.settings["slow_model_cpu_seconds"] * 1000
        axis.set_title("Fast model" if model == "fast" else f"Slow model ({slow:g} ms of CPU each)", loc="left")
        axis.set_xticks(range(len(stages)), [stage.replace(" ", "\n", 1) for stage in stages])
    axes[0].legend(loc="upper left", ncols=2, frameon=False, fontsize=8)
    return figure


def _bars(axis: Axes, places: list[float], records: Sequence[Record], colour: str, label: str) -> None:
    """Draw medians with their ranges, and write each median above its bar."""
    heights = [record.value for record in records]
    axis.bar(places, heights, 0.19, color=colour, label=label, yerr=_ranges(records), ecolor="#777777")
    for x, record in zip(places, records, strict=True):
        _write(axis, number(record.value), (x, record.high or record.value), (0, 3), 7, ha="center")


def _ranges(records: Sequence[Record]) -> list[list[float]]:
    """Return how far each range reaches below and above its median."""
    ranges = [(r.value, r.value if r.low is None else r.low, r.value if r.high is None else r.high) for r in records]
    return [[value - low for value, low, _ in ranges], [high - value for value, _, high in ranges]]


def _rows(table: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(record.row for record in table))


def _write(
    axis: Axes, text: str, place: tuple[float, float], offset: tuple[int, int], size: int = 8, **style: Any
) -> None:
    axis.annotate(text, place, offset, textcoords="offset points", fontsize=size, **style)


def _plain(axis: Axis) -> None:
    """Write 1 000, not 10 to the power of 3."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(round(value, 6))))
    axis.set_minor_formatter(NullFormatter())


def _whole_decades(axis: Axes, room: int = 0) -> None:
    """Begin and end a logarithmic y axis at powers of ten; `room` more of them for a legend."""
    axis.set_yscale("log")
    low, high = axis.dataLim.minposy, axis.dataLim.y1
    if 0 < low <= high:
        axis.set_ylim(10 ** math.floor(math.log10(low) - 0.01), 10 ** (math.ceil(math.log10(high)) + room))
    _plain(axis.yaxis)


def latency(run: Run) -> Figure:
    """p50 and p99 of one waiting client."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    stages = _rows(run.table("one client"))[::-1]
    for offset, model, colour in ((0.16, "fast", BLUE), (-0.16, "slow", RED)):
        for y, stage in enumerate(stages):
            p50, p99 = (run.value("one client", stage, f"{model} model, {p}") for p in ("p50", "p99"))
            labels = [f"{model} model, {p}" if y == 0 else None for p in ("p50", "p99")]
            axis.plot([p50, p99], [y + offset] * 2, color=colour, linewidth=2)
            axis.plot(p50, y + offset, "o", color=colour, label=labels[0])
            axis.plot(p99, y + offset, "|", color=colour, markersize=12, label=labels[1])
            _write(axis, f"{number(p50)} / {number(p99)} ms", (p99, y + offset), (8, -3))
    axis.set_xscale("log")
    axis.set_xlim(right=axis.get_xlim()[1] * 6)
    _plain(axis.xaxis)
    axis.set_yticks(range(len(stages)), stages)
    axis.set_xlabel("milliseconds from the question to the answer, one client")
    axis.legend(frameon=False, fontsize=8, loc="upper center", ncols=4, bbox_to_anchor=(0.45, 1.14))
    return figure


def _shares(axis: Axes, rows: Sequence[str], parts: dict[str, list[float]], colours: Sequence[str], text: str) -> None:
    """Draw a bar of 100 % per row, and write into each part how much it is."""
    totals = [sum(values) for values in zip(*parts.values(), strict=True)]
    left = [0.0] * len(rows)
    for (part, values), colour in zip(parts.items(), colours, strict=True):
        shares = [100 * value / total for value, total in zip(values, totals, strict=True)]
        bars = axis.barh(range(len(rows)), shares, left=left, color=colour, label=part, edgecolor="white")
        texts = [text.format(share) if share >= 5 else "" for share in shares]
        ink = "white" if colour in (BLUE, RED) else "black"
        axis.bar_label(bars, texts, label_type="center", fontsize=8, color=ink)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axis.set_yticks(range(len(rows)), rows)
    axis.set_xticks(range(0, 101, 25))


def outcomes(run: Run) -> Figure:
    """What becomes of the questions at overload and when the program is killed."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), layout="constrained", sharey=True)
    stages = _rows(run.table("overload"))[::-1]
    for axis, table, title in zip(axes, ("overload", "killed"), ("Overload", "Killed and started again"), strict=True):
        parts = {name: [run.value(table, stage, name) for stage in stages] for name in OUTCOME_COLOURS}
        _shares(axis, stages, parts, list(OUTCOME_COLOURS.values()), "{:.0f} %")
        for y, stage in enumerate(stages):
            _write(axis, f"{number(run.value(table, stage, 'longest wait'))} s", (100, y), (5, -3))
        axis.set_title(f"{title} (right: the longest wait)", loc="left", fontsize=10)
        axis.set_xlim(0, 118)
        axis.set_xlabel("% of the questions")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def profiles(run: Run) -> Figure:
    """Where the time of one task goes, in shares of the whole, which stands at the right."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")
    table = run.table("one task")
    stages, phases = _rows(table)[::-1], list(dict.fromkeys(record.column for record in table))
    parts = {p: [run.value("one task", stage, p) for stage in stages] for p in phases if p != "all"}
    _shares(axis, stages, parts, PHASE_COLOURS, "{:.0f}")
    for y, stage in enumerate(stages):
        _write(axis, _duration(run.value("one task", stage, "all")), (100, y), (6, -3), 9)
    axis.set_xlim(0, 113)
    axis.set_xlabel("% of the time of one task (right: the whole)")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=7, frameon=False, fontsize=8)
    return figure


def _duration(microseconds: float) -> str:
    for unit, factor in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= factor:
            return f"{number(microseconds / factor)} {unit}"
    return f"{number(microseconds)} µs"


def worker_rate(run: Run) -> Figure:
    """One worker process beside Kafka's own limit and beside one task at a time."""
    figure, axis = plt.subplots(figsize=(WIDTH, 2.8), layout="constrained")
    rates = [record for record in run.table("program") if record.column == "rate"][::-1]
    colours = [BLUE if "once" in record.row or "batch" in record.row else GREY for record in rates]
    axis.barh(range(len(rates)), [r.value for r in rates], color=colours, xerr=_ranges(rates), ecolor="#777777")
    for y, rate in enumerate(rates):
        _write(axis, number(rate.value), (rate.high or rate.value, y), (6, -3), 9)
    axis.set_xscale("log")
    axis.set_xlim(100, 3e6)
    _plain(axis.xaxis)
    axis.set_yticks(range(len(rates)), [record.row for record in rates])
    axis.set_xlabel("tasks per second, one process (grey: references)")
    return figure


def scale(run: Run) -> Figure:
    """Workers and partitions, and the price of exactly-once at several batch sizes."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.4), layout="constrained")
    colours = {"fast model": BLUE, "0.1 ms model": ORANGE, "1 ms model": RED}
    styles = {"1 partition": "o-", "2 partitions": "s--", "4 partitions": "^:"}
    for row in _rows(run.table("workers")):
        model, partitions = row.split(", ")
        points = [record for record in run.table("workers") if record.row == row]
        workers = [_first_number(record.column) for record in points]
        axes[0].plot(workers, [p.value for p in points], styles[partitions], color=colours[model], label=row)
        axes[0].set_xticks(workers)
    for mode, colour, style in (("at-least-once", BLUE, "o-"), ("exactly-once", RED, "s--")):
        points = [record for record in run.table("batches") if record.column == mode]
        sizes = [_first_number(record.row) for record in points]
        axes[1].plot(sizes, [p.value for p in points], style, color=colour, label=mode)
    axes[1].set_xscale("log")
    _plain(axes[1].xaxis)
    axes[0].set(xlabel="workers", ylabel="tasks per second")
    axes[1].set(xlabel="most tasks in a batch")
    for axis, title in zip(axes, ("Workers and partitions", "Batch size and delivery"), strict=True):
        _whole_decades(axis)
        axis.set_title(title, loc="left", fontsize=10)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return figure


def _first_number(text: str) -> int:
    return next(int(word) for word in text.split() if word.isdigit())


def overload(run: Run) -> Figure:
    """Throughput, latency and refusals over the number of clients."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    whats = {
        "predictions/s": "predictions per second",
        "p99": "p99 of the predictions, ms",
        "refused/s": "refusals per second",
    }
    for axis, (column, title) in zip(axes, whats.items(), strict=True):
        for table, style in zip(run.tables(), ("o-", "s--"), strict=True):
            points = [record for record in run.table(table) if record.column == column]
            clients = [_first_number(record.row) for record in points]
            axis.plot(clients, [p.value for p in points], style, label=table)
            axis.set_xscale("log")
            axis.set_xticks(clients, [str(count) for count in clients])
        axis.set(title=title, xlabel="clients", ylim=(0, None))
        axis.minorticks_off()
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
