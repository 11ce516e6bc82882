"""The stages' programs as real processes: started, talked to, waited for with a deadline, and ended without fail."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from common.errors import ProgramError

WAIT_SECONDS = 60.0  # longest wait for anything; a step that takes longer has failed
END_SECONDS = 1.5  # from SIGTERM to SIGKILL when the walk ends or is interrupted
LAST_LINES = 5  # of a failed program


class StepFailed(ProgramError):
    """Something that the walk wants to show did not happen; the message says what."""


class Program:
    """`python ...` as a process in a session of its own, so that Ctrl-C reaches the walk alone."""

    def __init__(self, name: str, arguments: list[str], settings: dict[str, str] | None = None) -> None:
        self.name = name
        self.lines: list[str] = []
        self.times: list[float] = []  # when each line came, seconds on the monotonic clock
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=os.environ | (settings or {}), text=True, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self.times.append(time.monotonic())
                self._news.notify()

    def type(self, lines: Iterable[str], *, end: bool = False) -> None:
        """Type lines; `end` says that no more will come."""
        assert self.process.stdin
        if self.process.stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError):  # it has ended: what it printed will tell
            self.process.stdin.write("".join(line + "\n" for line in lines))
            self.process.stdin.flush()
            if end:
                self.process.stdin.close()

    def wait_for(self, pattern: str, count: int = 1) -> list[str]:
        """Wait until this many lines of the output match; return them.

        Raises:
            StepFailed: the program ended before, or did not print them in time.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        with self._news:
            while len(found := [line for line in self.lines if re.search(pattern, line)]) < count:
                left = deadline - time.monotonic()
                if not self._reader.is_alive() or left <= 0:
                    why = f"has not printed it within {WAIT_SECONDS:g} s" if left <= 0 else "ended without it"
                    raise self.failure(f"expected {pattern!r} {count} times, but the program {why}")
                self._news.wait(min(left, 0.5))
        return found

    @staticmethod
    def wait_until(programs: list["Program"], condition: Callable[[], bool], failure: str) -> None:
        """Wait until something can be read from the output of several programs.

        Raises:
            StepFailed: one of them has ended, or the time is over.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            for program in programs:
                if not program.is_running():
                    raise program.failure("ended by itself")
            if time.monotonic() > deadline:
                raise programs[0].failure(f"{failure}, within {WAIT_SECONDS:g} s")
            programs[0].wait(0.05)

    def is_running(self) -> bool:
        """Tell whether the process exists."""
        return self.process.poll() is None

    def wait(self, seconds: float) -> None:
        """Wait until it prints something, at most this long."""
        with self._news:
            self._news.wait(seconds)

    def finish(self) -> list[str]:
        """Wait until the program has ended by itself with exit code 0; return its lines. Raises StepFailed."""
        self.type([], end=True)
        try:
            code = self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise self.failure(f"did not end within {WAIT_SECONDS:g} s") from None
        self._reader.join(WAIT_SECONDS)
        if code:
            raise self.failure(f"ended with exit code {code}")
        return self.lines

    def stop(self) -> None:
        """Ask it to end with SIGTERM, as `make down` does, and wait until it has. Raises StepFailed."""
        self.process.terminate()
        try:
            code = self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise self.failure(f"did not end on SIGTERM within {WAIT_SECONDS:g} s") from None
        self._reader.join(WAIT_SECONDS)
        if code not in (0, -signal.SIGTERM):  # uvicorn cleans up, and then ends by the signal that it got
            raise self.failure(f"ended with exit code {code} on SIGTERM")

    def failure(self, what: str) -> StepFailed:
        """Return the error that says what went wrong, with the program's last lines."""
        last = "".join(f"\n    {line}" for line in self.lines[-LAST_LINES:]) or " nothing"
        return StepFailed(f"{self.name}: {what}. Its last output:{last}")

    def close(self, deadline: float) -> None:
        """End it and what it has started, whatever state it is in."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, deadline - time.monotonic()))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT_SECONDS)
        self._reader.join(WAIT_SECONDS)
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C and SIGTERM while a program is being started: half started, nobody would end it."""
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: held.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def end_all(programs: Iterable[Program]) -> None:
    """End programs, all at the same time."""
    programs = list(programs)
    for program in programs:
        if program.process.poll() is None:
            program.process.terminate()
    deadline = time.monotonic() + END_SECONDS
    for program in reversed(programs):
        program.close(deadline)
