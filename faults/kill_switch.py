"""Ends or freezes its own process when it passes a named point for the n-th time."""

import faulthandler
import itertools
import os
import random
import signal
from argparse import Namespace

from common.terminal import ArgumentParser

WORKER_POINTS = ("after-poll", "while-predicting", "after-produced", "after-delivered", "before-commit")
PERSISTER_POINTS = ("after-poll", "before-BEGIN", "after-position", "before-COMMIT", "after-COMMIT")


class KillSwitch:
    """Counts the passages of one point; at passage `after` (from 1) the process gets the signal, and never again."""

    def __init__(self, point: str | None, after: int, number: signal.Signals = signal.SIGKILL) -> None:
        self._point, self._left, self._number = point, after, number

    @classmethod
    def of(cls, options: Namespace) -> "KillSwitch":
        """Return the switch that the command line asks for."""
        return cls(options.kill_at, options.after, signal.Signals[options.signal])

    def passage(self, point: str) -> None:
        """Count one passage, the last one perhaps: SIGKILL does not return."""
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._number)


def switch_parser(doc: str | None, points: tuple[str, ...]) -> ArgumentParser:
    """Return a parser with the switch's options. From now on, SIGUSR1 prints where each thread is."""
    faulthandler.register(signal.SIGUSR1)
    parser = ArgumentParser(doc)
    parser.add_argument("--kill-at", choices=points)
    parser.add_argument("--after", type=int, default=1, help="at which passage; at after-produced, each result is one")
    parser.add_argument("--signal", choices=["SIGKILL", "SIGSTOP"], default="SIGKILL")
    return parser


class Armed:
    """Arguments for the switches of a crew: each program that starts gets the next point, and a random passage."""

    def __init__(
        self, points: tuple[str, ...], seed: int, passages: tuple[int, int], signal_name: str = "SIGKILL"
    ) -> None:
        self.on = True
        self._points, self._rng = itertools.cycle(points), random.Random(seed)
        self._passages, self._signal = passages, signal_name

    def __call__(self, i: int) -> list[str]:
        if not self.on:
            return []
        point = next(self._points)
        low, high = (1, 600) if point == "after-produced" else self._passages
        return ["--kill-at", point, "--after", str(self._rng.randint(low, high)), "--signal", self._signal]
