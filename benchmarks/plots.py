"""Draws the measurements that are there as SVG files, for the READMEs.

Run: python -m benchmarks.plots
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.harness import RESULTS_DIR, number

# Okabe and Ito's colours, which people of every colour vision can tell apart.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
PHASE_COLOURS = ("#999999", SKY, PURPLE, ORANGE, RED, GREEN, BLUE)
OUTCOME_COLOURS = {"answered": GREEN, "refused": YELLOW, "lost": RED}
CLIENT_COLOURS = (SKY, BLUE, BLACK)
WIDTH = 9.0  # inches

Record = dict[str, Any]


def origin(record: Record) -> str:
    """Return the line below each plot: the command, the machine, the versions."""
    machine = record["machine"]
    return (
        f"{record['command']}, {machine['date']}: {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"Python {machine['python']}, Kafka {machine['kafka']}, "
        f"confluent-kafka {machine['libraries'].get('confluent-kafka', '?')}"
    )


def titles(record: Record) -> list[str]:
    """Return the stages' names, each in two lines at most."""
    return [stage["title"].replace(" ", "\n", 1) for stage in record["stages"].values()]


def throughput(record: Record) -> Figure:
    """Predictions per second of each stage, on a logarithmic scale."""
    figure, axes = plt.subplots(2, 1, figsize=(WIDTH, 7.5), layout="constrained", sharex=True)
    stages = list(record["stages"].values())
    for axis, model in zip(axes, ("fast", "slow"), strict=True):
        for i, (count, colour) in enumerate(zip((1, 2, 4), CLIENT_COLOURS, strict=True)):
            values = [stage["clients"][f"{model}, {count}"]["per_second"] for stage in stages]
            label = f"{count} client{'s' * (count > 1)}, each waiting for its answer"
            _bars(axis, [x + (i - 1.5) * 0.2 for x in range(len(stages))], values, colour, label)
        if model == "fast":
            queues = [(x, stage["backlog"]) for x, stage in enumerate(stages) if "backlog" in stage]
            _bars(axis, [x + 0.3 for x, _ in queues], [v for _, v in queues], ORANGE, "from a backlog, nobody waits")
        axis.set_yscale("log")
        _whole_decades(axis, room=1)
        axis.set_ylabel("predictions per second")
        slow = record["slow_model_cpu_seconds"] * 1000
        axis.set_title("Fast model" if model == "fast" else f"Slow model ({slow:g} ms of CPU each)", loc="left")
        axis.set_xticks(range(len(stages)), titles(record))
    axes[0].legend(loc="upper left", ncols=2, frameon=False, fontsize=8)
    return figure


def _bars(axis: Axes, places: list[float], values: list[Record], colour: str, label: str) -> None:
    """Draw medians with their spread, and write each median above its bar."""
    heights = [value["median"] for value in values]
    spread = [[v["median"] - v["min"] for v in values], [v["max"] - v["median"] for v in values]]
    axis.bar(places, heights, 0.19, color=colour, label=label, yerr=spread, ecolor="#777777")
    for x, value in zip(places, values, strict=True):
        axis.annotate(
            number(round(value["median"], 3)),
            (x, value["max"]),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )


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


def latency(record: Record) -> Figure:
    """p50 and p99 of one waiting client."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    stages = list(record["stages"].values())
    for offset, model, colour in ((0.16, "fast", BLUE), (-0.16, "slow", RED)):
        for y, stage in enumerate(reversed(stages)):
            loop = stage["clients"][f"{model}, 1"]
            p50, p99 = loop["p50_ms"]["median"], loop["p99_ms"]["median"]
            axis.plot([p50, p99], [y + offset] * 2, color=colour, linewidth=2)
            axis.plot(p50, y + offset, "o", color=colour, label=f"{model} model, p50" if y == 0 else None)
            axis.plot(
                p99, y + offset, "|", color=colour, markersize=12, label=f"{model} model, p99" if y == 0 else None
            )
            axis.annotate(
                f"{number(p50)} / {number(p99)} ms", (p99, y + offset), (8, -3), textcoords="offset points", fontsize=8
            )
    axis.set_xscale("log")
    axis.set_xlim(right=axis.get_xlim()[1] * 6)
    _plain(axis.xaxis)
    axis.set_yticks(range(len(stages)), [stage["title"] for stage in reversed(stages)])
    axis.set_xlabel("milliseconds from the question to the answer, one client")
    axis.legend(frameon=False, fontsize=8, loc="upper center", ncols=4, bbox_to_anchor=(0.45, 1.14))
    return figure


def outcomes(record: Record) -> Figure:
    """What becomes of 16 questions at overload and when the program is killed."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), layout="constrained", sharey=True)
    stages = list(reversed(record["stages"].values()))
    for axis, name, title in zip(axes, ("overload", "killed"), ("Overload", "Killed and started again"), strict=True):
        left = [0.0] * len(stages)
        for outcome, colour in OUTCOME_COLOURS.items():
            shares = [100 * stage[name][outcome] / stage[name]["asked"] for stage in stages]
            bars = axis.barh(range(len(stages)), shares, left=left, color=colour, label=outcome, edgecolor="white")
            texts = [f"{share:.0f} %" if share >= 8 else "" for share in shares]
            axis.bar_label(bars, texts, label_type="center", fontsize=8, color="black")
            left = [a + b for a, b in zip(left, shares, strict=True)]
        for y, stage in enumerate(stages):
            axis.annotate(
                f"{number(stage[name]['longest_s']['median'])} s",
                (100, y),
                (5, -3),
                textcoords="offset points",
                fontsize=8,
            )
        axis.set_title(f"{title} (right: the longest wait)", loc="left", fontsize=10)
        axis.set_xlim(0, 118)
        axis.set_xticks(range(0, 101, 25))
        axis.set_xlabel("% of the questions")
        axis.set_yticks(range(len(stages)), [stage["title"] for stage in stages])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def profiles(record: Record) -> Figure:
    """Where the time of one task goes, in shares of the whole, which stands at the right."""
    figure, axis = plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")
    stages = list(reversed(record["microseconds"].items()))
    left = [0.0] * len(stages)
    for phase, colour in zip(stages[0][1], PHASE_COLOURS, strict=True):
        shares = [100 * found[phase] / sum(found.values()) for _, found in stages]
        bars = axis.barh(
            range(len(stages)), shares, left=left, color=colour, label=phase, edgecolor="white", linewidth=0.5
        )
        texts = [f"{share:.0f}" if share >= 5 else "" for share in shares]
        axis.bar_label(
            bars, texts, label_type="center", fontsize=8, color="white" if colour in (BLUE, RED) else "black"
        )
        left = [a + b for a, b in zip(left, shares, strict=True)]
    for y, (_, found) in enumerate(stages):
        axis.annotate(_duration(sum(found.values())), (100, y), (6, -3), textcoords="offset points", fontsize=9)
    axis.set_yticks(range(len(stages)), [name for name, _ in stages])
    axis.set_xlim(0, 113)
    axis.set_xticks(range(0, 101, 20))
    axis.set_xlabel("% of the time of one task (right: the whole)")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=7, frameon=False, fontsize=8)
    return figure


def _duration(microseconds: float) -> str:
    for unit, factor in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= factor:
            return f"{number(microseconds / factor)} {unit}"
    return f"{number(microseconds)} µs"


def worker_rate(record: Record) -> Figure:
    """One worker process beside Kafka's own limit and beside one task at a time."""
    figure, axis = plt.subplots(figsize=(WIDTH, 2.8), layout="constrained")
    programs = list(reversed(record["programs"].items()))
    colours = [BLUE if "once" in name or "batch" in name else "#999999" for name, _ in programs]
    for y, ((_, found), colour) in enumerate(zip(programs, colours, strict=True)):
        rate = found["tasks_per_second"]
        spread = [[rate["median"] - rate["min"]], [rate["max"] - rate["median"]]]
        axis.barh(y, rate["median"], color=colour, xerr=spread, ecolor="#777777")
        axis.annotate(f"{number(rate['median'])}", (rate["max"], y), (6, -3), textcoords="offset points", fontsize=9)
    axis.set_xscale("log")
    axis.set_xlim(100, 3e6)
    _plain(axis.xaxis)
    axis.set_yticks(range(len(programs)), [name for name, _ in programs])
    axis.set_xlabel("tasks per second, one process (grey: references)")
    return figure


def scale(record: Record) -> Figure:
    """Workers and partitions, and the price of exactly-once at several batch sizes."""
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.4), layout="constrained")
    rows = record.get("workers", [])
    styles = {1: "o-", 2: "s--", 4: "^:"}
    colours = dict(zip(dict.fromkeys(row["model"] for row in rows), (BLUE, ORANGE, RED), strict=False))
    for model, colour in colours.items():
        for partitions, style in styles.items():
            points = [r for r in rows if r["model"] == model and r["partitions"] == partitions]
            if points:
                label = f"{model} model, {partitions} partition{'s' * (partitions > 1)}"
                rates = [p["tasks_per_second"]["median"] for p in points]
                axes[0].plot([p["workers"] for p in points], rates, style, color=colour, label=label)
    _whole_decades(axes[0])
    axes[0].set_xticks(sorted({row["workers"] for row in rows}) or [1])
    axes[0].set_xlabel("workers")
    axes[0].set_ylabel("tasks per second")
    axes[0].set_title("Workers and partitions", loc="left", fontsize=10)
    for mode, colour, style in (("at-least-once", BLUE, "o-"), ("exactly-once", RED, "s--")):
        points = [row for row in record.get("batches", []) if row["delivery"] == mode]
        rates = [p["tasks_per_second"]["median"] for p in points]
        axes[1].plot([p["batch"] for p in points], rates, style, color=colour, label=mode)
    axes[1].set_xscale("log")
    _plain(axes[1].xaxis)
    _whole_decades(axes[1])
    axes[1].set_xlabel("most tasks in a batch")
    axes[1].set_title("Batch size and delivery", loc="left", fontsize=10)
    for axis in axes:
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    return figure


DRAWINGS: dict[str, tuple[str, Callable[[Record], Figure]]] = {  # plot: which measurement, how
    "throughput": ("scoreboard", throughput),
    "latency": ("scoreboard", latency),
    "outcomes": ("scoreboard", outcomes),
    "profiles": ("profiles", profiles),
    "worker_rate": ("worker_rate", worker_rate),
    "scale": ("scale", scale),
}


def draw_all(folder: Path | None = None, kind: str = "svg") -> list[Path]:
    """Draw what has been measured into the folder of the measurements; return the files."""
    folder = folder or RESULTS_DIR
    style: dict[Any, Any] = {
        "svg.hashsalt": "iris",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    drawn = []
    with mpl.rc_context(style):
        for name, (source, draw) in DRAWINGS.items():
            path = folder / f"{source}.json"
            if path.exists():
                record = json.loads(path.read_text(encoding="utf-8"))
                figure = draw(record)
                figure.supxlabel(origin(record), fontsize=6, color="#555555")
                drawn.append(folder / f"{name}.{kind}")
                metadata = {"Date": None} if kind == "svg" else None
                figure.savefig(drawn[-1], metadata=metadata, facecolor="white", dpi=110)
                plt.close(figure)
    return drawn


def main(argv: list[str] | None = None) -> int:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of the measurements (default: benchmarks/results)")
    parser.add_argument("--png", action="store_true", help="PNG files instead, to look at")
    args = parser.parse_args(argv)
    for path in draw_all(args.out, "png" if args.png else "svg"):
        print(f"Drawn: {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
