"""How a program lives and ends: signals, waiting for its end, and ending it whatever state it is in."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Self, TypeVar

import psutil

from common.errors import ProgramError

from .output import Pipe

T = TypeVar("T")

END_SECONDS = 5.0  # from SIGTERM to SIGKILL; our own programs promise 3
KILL_SECONDS = 10.0  # longest wait for the system to end what has got SIGKILL
LAST_OUTPUT_SECONDS = 1.0  # for what it printed last, where a program that it left behind still holds the pipe
POLL_SECONDS = 0.02  # between two looks at what nobody tells us about


class ProgramFailed(ProgramError):
    """A program has ended too early, has not done something in time, or has failed; the message has its last lines."""


class Process:
    """What `Program` knows of its process."""

    wait_seconds = 60.0  # longest wait unless a call says otherwise
    process: subprocess.Popen[bytes]
    _pipes: list[Pipe]

    def failure(self, what: str) -> ProgramFailed:
        """Return the error that says what went wrong, with what the program printed last."""
        raise NotImplementedError

    def end_input(self) -> None:
        """Close the pipe: the end of the input."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number where a signal has ended it."""
        return self.process.poll()

    def is_running(self) -> bool:
        """Return whether it has not ended."""
        return self.process.poll() is None

    @cached_property
    def ps(self) -> psutil.Process:
        """What the system knows about it: memory, processor time, children."""
        return psutil.Process(self.pid)

    def survivors(self) -> list[str]:
        """Return the commands of its process group that still run; a zombie, which waits to be collected, does not."""
        commands = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
                if os.getpgid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    commands.append(shlex.join(process.cmdline()))
        return commands

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send it a signal; `group`: and all that it has started, as Ctrl-C at a terminal does."""
        if not group:
            self.process.send_signal(number)
            return
        if self.is_running() or not psutil.pid_exists(self.pid):  # otherwise the number is another program's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end, with SIGTERM."""
        self.process.terminate()

    def pause(self) -> None:
        """Freeze it with SIGSTOP: its connections stay open and nothing answers."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause()`."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, with SIGKILL, as `kill -9` with its process id does; what it has started goes on."""
        self.process.kill()
        self.wait(KILL_SECONDS)

    def wait(self, seconds: float | None = None) -> int:
        """Return its exit code, once it has ended and all that it printed is here. Raises ProgramFailed: too late."""
        seconds = self.wait_seconds if seconds is None else seconds
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self.failure(f"did not end within {seconds:g} s") from None
        deadline = time.monotonic() + LAST_OUTPUT_SECONDS
        for pipe in self._pipes:
            pipe.join(max(0.0, deadline - time.monotonic()))
        self.end_input()
        return code

    def end(self, seconds: float = END_SECONDS) -> int:
        """End it, whatever state it is in: with SIGTERM, then with SIGKILL what is left of it and its group."""
        end_all([self], seconds)
        return self.process.returncode

    def release(self) -> None:
        """Let it go on after us; what it prints must go to a log."""
        if self.is_running():
            self.process.returncode = 0  # Python complains about a running process that is forgotten

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def end_all(programs: Iterable[Process], seconds: float = END_SECONDS) -> None:
    """End programs, all at the same time, the last one first."""
    programs = list(reversed(list(programs)))
    for program in programs:
        program.terminate()
        if os.name == "posix":
            program.resume()  # one that is paused would not notice
    deadline = time.monotonic() + seconds
    for program in programs:
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.process.wait(max(0.0, deadline - time.monotonic()))
        if os.name == "posix":
            program.signal(signal.SIGKILL, group=True)
        program.kill()


def until(
    condition: Callable[[], T | None], seconds: float = 60.0, what: str = "", programs: Iterable[Process] = ()
) -> T:
    """Return the condition's first true value.

    Raises:
        ProgramFailed: there is none in time, or one of the programs has ended.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        for program in programs:
            if not program.is_running() and not condition():
                raise program.failure("ended by itself")
        if time.monotonic() > deadline:
            raise ProgramFailed(f"Not within {seconds:g} s: {what or 'what was waited for'}.")
        time.sleep(POLL_SECONDS)
    return value
