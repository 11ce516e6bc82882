"""Ends or freezes its own process when it passes a named point for the n-th time."""

import argparse
import ctypes
import faulthandler
import os
import signal
import sys
from typing import Any

PERSISTER_POINTS = ("after-poll", "before-BEGIN", "after-position", "before-COMMIT", "after-COMMIT")


class KillSwitch:
    """Counts the passages of one point; at passage `after` (from 1) the process gets `number`, and never again."""

    def __init__(self, point: str | None, after: int, number: signal.Signals = signal.SIGKILL) -> None:
        self._point, self._left, self._number = point, after, number

    def due(self, point: str, passages: int = 1) -> int | None:
        """Count passages; return how many of these are to be done before the end, None where it is not yet due."""
        if point != self._point or self._left <= 0:
            return None
        self._left -= passages
        return self._left + passages - 1 if self._left <= 0 else None

    def strike(self) -> None:
        """Send the signal to this very process: SIGKILL does not return."""
        os.kill(os.getpid(), self._number)

    def passage(self, point: str) -> None:
        """Count one passage, the last one perhaps."""
        if self.due(point) is not None:
            self.strike()


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what a persister's switch is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--kill-at", choices=PERSISTER_POINTS)
    parser.add_argument("--after", type=int, default=1, help="at which passage")
    return parser


def note_takes(persister: Any, switch: KillSwitch) -> None:
    """Put the switch behind a persister's take(), where that has brought something."""
    take = persister.take

    def noted_take(self: Any) -> Any:
        messages = take(self)
        if messages:
            switch.passage("after-poll")
        return messages

    persister.take = noted_take


def prepare() -> None:
    """Let SIGUSR1 print where each thread is, and the kernel kill this process when its parent ends (Linux only)."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
