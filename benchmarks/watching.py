"""Programs that are measured: their processor time, their greatest memory, and how fast they work."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.broker import Kafka
from common.programs import Program

LOOK_SECONDS = 0.02  # between two looks at how far a program has come
START_SECONDS = 60.0  # longest wait for a program's first work, on top of the time that its work may take


class Measured(Program):
    """A module that runs in a process of its own, with settings in its environment, and is watched."""

    def __init__(self, module: str, *arguments: object, settings: dict[str, str] | None = None, **options: Any) -> None:
        self.peak_mb = 0.0
        variables = os.environ | {"PYTHONUNBUFFERED": "1"} | (settings or {})
        super().__init__(["python", "-m", module, *arguments], env=variables, **options)

    def look(self) -> float:
        """Take note of its memory; return the processor time that it has used, in seconds."""
        try:
            status = Path(f"/proc/{self.pid}/status")
            if status.exists():  # Linux knows the peak; elsewhere it is the greatest that we have seen
                peak = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), "VmHWM: 0")
                self.peak_mb = max(self.peak_mb, int(peak.split()[1]) / 1024)
            else:
                self.peak_mb = max(self.peak_mb, self.ps.memory_info().rss / 2**20)
            return sum(self.ps.cpu_times()[:2])
        except (psutil.Error, OSError):
            return 0.0


@dataclass
class Work:
    """The work of a program in its steady window."""

    rate: float  # tasks per second
    cpu_us: float  # processor time per task, microseconds
    broker_us: float  # the brokers' processor time per task, microseconds; 0 if it was not asked for
    peak_mb: float  # greatest memory


class _Look(NamedTuple):
    """What was seen at a moment: seconds on the clock, tasks done, processor time of the program and the brokers."""

    time: float
    done: int
    cpu: float
    brokers: float

    def to(self, end: "_Look", peak_mb: float) -> Work:
        """Return what was done from this look to a later one."""
        tasks, seconds = end.done - self.done, end.time - self.time
        used, brokers = end.cpu - self.cpu, end.brokers - self.brokers
        return Work(tasks / seconds, 1e6 * used / tasks, 1e6 * brokers / tasks, peak_mb)


def watch(program: Measured, done: Callable[[], int], total: int, seconds: float, broker: Kafka | None = None) -> Work:
    """Follow a program's work and measure its steady window, the same way for every program.

    `done()` tells how many tasks are finished. The window opens when 10 % of the total are, or a second after the
    first; it closes at 90 %, or after so many seconds. It opens and closes as a batch is finished, never within one.
    If all is done in one batch, the window is that batch.
    """
    begin = time.perf_counter()
    opened: _Look | None = None
    last = _Look(begin, 0, program.look(), broker.cpu() if broker else 0.0)
    while (now := time.perf_counter()) < begin + seconds + START_SECONDS and program.is_running():
        count = done()
        look = _Look((now + time.perf_counter()) / 2, count, program.look(), broker.cpu() if broker else 0.0)
        if count > last.done:
            if not last.done:
                begin = look.time  # of the first batch
            if opened is None and (count >= total * 0.1 or look.time - begin > 1):
                opened = look if count < total * 0.9 else last
            if opened and look.done > opened.done and (count >= total * 0.9 or look.time - opened.time > seconds):
                return opened.to(look, program.peak_mb)
            last = look
        elif count == last.done:
            last = look if not count else last  # nothing finished yet: the first batch begins later
            if opened and last.done > opened.done and look.time - opened.time > seconds:
                return opened.to(last, program.peak_mb)
        time.sleep(LOOK_SECONDS)
    raise program.failure("has done no work")
