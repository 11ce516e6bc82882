"""A limit for work in the main thread: time for Python code, CPU time for C code that Python cannot interrupt."""

import os
import signal
import time
from types import FrameType

from common.kafka.stopping import GRACE_SECONDS, Stop

from .delivery import TakeAgainError

CORES = os.cpu_count() or 1  # work on several threads uses up so much CPU time per second
TICK_SECONDS = 0.1  # how often long work is looked at
HANG_SECONDS = 5.0  # of CPU time beyond the limit, on all cores: then the kernel ends the process, as the work hangs


class TooSlowError(Exception):
    """The work takes longer than it may."""


class TimeLimit:
    """Interrupts what takes too long. Unix only.

    `with` raises:
        TooSlowError: the time is over.
        TakeAgainError: the program was asked to end GRACE_SECONDS ago: another worker will do this work.
    """

    def __init__(self, seconds: float, stop: Stop) -> None:
        self._seconds, self._stop = seconds, stop
        self._deadline = 0.0
        signal.signal(signal.SIGALRM, self._look)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)

    def _look(self, number: int, frame: FrameType | None) -> None:
        if self._stop.requested and self._stop.seconds_since() > GRACE_SECONDS:
            raise TakeAgainError
        if time.monotonic() > self._deadline:
            raise TooSlowError

    def __enter__(self) -> None:
        self._deadline = time.monotonic() + self._seconds
        signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
        signal.setitimer(signal.ITIMER_PROF, (self._seconds + HANG_SECONDS) * CORES)

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
