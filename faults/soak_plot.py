"""Draws a soak: what each program used over time, how many tasks waited, and when something failed."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.machine import describe
from benchmarks.plots import STYLE
from benchmarks.records import Run

PANELS = ("memory, MB", "threads", "file descriptors", "tasks that wait")


def draw(run: Run, path: Path) -> None:
    """Draw the samples of a soak."""
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(len(PANELS), 1, figsize=(9, 9), sharex=True)
        for program, samples in run.settings["samples"].items():
            columns = list(zip(*samples, strict=True)) or [[], [], [], []]
            for axis, values in zip(axes, columns[1:], strict=False):
                axis.plot(columns[0], values, label=program, linewidth=1)
        lag = run.settings["lag"]
        axes[-1].plot([minute for minute, _ in lag], [tasks for _, tasks in lag], color="black", linewidth=1)
        for minute, _ in run.settings["faults"]:
            axes[-1].axvline(minute, color="red", linewidth=0.4, alpha=0.6)
        for axis, title in zip(axes, PANELS, strict=True):
            axis.set_title(title, loc="left")
            axis.set_ylim(bottom=0)
        axes[-1].set_xlabel("minutes (red: something fails)")
        axes[0].legend(ncols=5, frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.45))
        origin = f"{run.command}, {run.date}, commit {run.commit}: {describe(run.machine | {'libraries': {}})}"
        figure.supxlabel(origin, fontsize=6, color="#555555")
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
