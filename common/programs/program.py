"""One running program: what it prints, what is typed into it. How it lives and ends is in `process.py`."""

import contextlib
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import FileIO
from pathlib import Path
from threading import Condition, Thread
from typing import Any, TypeVar

from common.settings import ROOT

from .output import Log, Pipe, Stream
from .process import POLL_SECONDS, Process, ProgramFailed

T = TypeVar("T")

REACTION_SECONDS = 0.2  # a person's, from output to Ctrl-C; a signal just before a program waits would wake nobody
TERMINAL_SIZE = 40, 120  # lines and columns
CTRL_C, CTRL_D = b"\x03", b"\x04"
LAUNCH = str(Path(__file__).with_name("launch.py"))

_spawner = ThreadPoolExecutor(1)  # a thread that lives as long as we do: see `dies_with_us`


class Program(Process):
    """A program in a process group of its own, so that Ctrl-C at our terminal reaches us alone; we end it.

    Args:
        command: its words, or one text as typed at a shell; the first word `python` is the Python that runs this.
        name: what a message calls it (default: the command).
        env: all its variables (default: ours).
        input: typed into it at once, and then the end of the input (default: open, see `send_line()`).
        terminal: it sees a terminal of its own in place of pipes; all that it prints is in `output`.
        log: the file that gets all that it prints; read from there. What outlives us needs one.
        dies_with_us: it never outlives us, even if we are killed (on Linux; elsewhere it may).
        options: as for `subprocess.Popen`; `stdout`, `stderr` (pipes unless told otherwise), `user`, ...
    """

    last_lines = 1  # of its output, in a message

    def __init__(
        self,
        command: str | Sequence[object],
        *,
        name: str = "",
        env: Mapping[str, str] | None = None,
        input: str | bytes | None = None,
        terminal: bool = False,
        log: Path | None = None,
        dies_with_us: bool = False,
        **options: Any,
    ) -> None:
        words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
        self.name = name or " ".join(words[2:] if words[1:2] == ["-m"] else words)
        words[0] = sys.executable if words[0] == "python" else words[0]
        keys = terminal and "stdin" not in options  # it can be typed at
        if keys or dies_with_us:
            words = [sys.executable, "-IS", LAUNCH, str(os.getpid() * dies_with_us), str(int(keys)), *words]
        pipe = subprocess.PIPE
        ends: dict[str, Any] = {"cwd": ROOT, "start_new_session": True, "stdin": pipe, "stdout": pipe, "stderr": pipe}
        self._news = Condition()
        self._screen: Any = None  # our side of the terminal
        with contextlib.ExitStack() as ours:  # what only the program keeps open
            if terminal:
                self._screen, side = _open_terminal()
                ours.callback(os.close, side)
                ends |= {"stdin": side, "stdout": side, "stderr": side}
            elif log:
                file = ours.enter_context(log.open("wb"))
                ends |= {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": subprocess.STDOUT}
            start = partial(subprocess.Popen[bytes], words, env=env, bufsize=0, **ends | options)
            self.process = _spawner.submit(start).result() if dies_with_us else start()
        self.started = time.monotonic()
        pipes: list[Any] = [self._screen] if terminal else [self.process.stdout, self.process.stderr]
        wait = self.process.wait if terminal else None
        self._pipes = [Pipe(end, self._news, wait) for end in pipes if end]
        self._streams: list[Stream] = [Log(log, self.is_running)] if log else [*self._pipes]
        self._typist = None if input is None else Thread(target=self._type, args=(input,), daemon=True)
        if self._typist:
            self._typist.start()

    # --- what it prints ---

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._streams[0].text if self._streams else ""

    @property
    def errors(self) -> str:
        """What it has printed to the error output so far, where that is a pipe of its own."""
        return self._streams[1].text if len(self._streams) > 1 else ""

    @property
    def lines(self) -> list[str]:
        """The complete lines of `output`."""
        return self._streams[0].lines() if self._streams else []

    @property
    def times(self) -> list[float]:
        """When each line of `output` came, seconds on the monotonic clock (of pipes and terminals)."""
        return self._pipes[0].times

    def may_print(self) -> bool:
        """Return whether it, or what it has started, may still print something."""
        return any(stream.is_open() for stream in self._streams)

    def wait_for(self, pattern: str | re.Pattern[str], seconds: float | None = None) -> re.Match[str]:
        """Return the next match in what it prints: a plain text, or a compiled pattern. Prompts count, too.

        Each call goes on where the last one found something, so that two calls never find the same.

        Raises:
            ProgramFailed: it has ended without, or the time is over.
        """
        wanted = _compiled(pattern)
        return self._wait_for(lambda stream: stream.find(wanted), pattern, seconds)

    def wait_for_line(self, pattern: str | re.Pattern[str], seconds: float | None = None) -> str:
        """Return the next complete line with a match. Otherwise as `wait_for()`."""
        wanted = _compiled(pattern)
        return self._wait_for(lambda stream: stream.find_line(wanted), pattern, seconds)

    def _wait_for(self, find: Callable[[Stream], T | None], wanted: str | re.Pattern[str], seconds: float | None) -> T:
        what = wanted if isinstance(wanted, str) else wanted.pattern
        seconds = self.wait_seconds if seconds is None else seconds
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                ended = not self.may_print()  # asked first: what came last is then here
                for stream in self._streams:
                    if (found := find(stream)) is not None:
                        return found
                if ended:
                    raise self.failure(f"ended without {what!r}")
                if (left := deadline - time.monotonic()) <= 0:
                    raise self.failure(f"did not print {what!r} within {seconds:g} s")
                self._news.wait(min(left, POLL_SECONDS))

    def failure(self, what: str) -> ProgramFailed:
        """Return the error that says what went wrong, with what the program printed last."""
        lines = [line for stream in self._streams for line in stream.lines()[-self.last_lines :]]
        code = self.exit_code
        ended = "" if code is None else f" (exit code {code})"
        if len(lines) <= 1:
            return ProgramFailed(f"{self.name}: {what}{ended}. Its last output: {(lines or ['nothing'])[-1]}")
        return ProgramFailed("\n    ".join([f"{self.name}: {what}{ended}. Its last output:", *lines]))

    # --- what is typed ---

    def send(self, data: bytes) -> None:
        """Type at its terminal, or write into the pipe. If it has ended, nothing happens: its output will tell."""
        if data == CTRL_C:
            self.react()
        end: Any = self._screen or self.process.stdin
        with contextlib.suppress(OSError, ValueError):
            while data:
                data = data[end.write(data) :]

    def send_line(self, line: object) -> None:
        """Type a line."""
        self.send(f"{line}\n".encode())

    def end_input(self) -> None:
        """Close the pipe: the end of the input."""
        if self.process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def react(self) -> None:
        """Wait as long after its last output as a person would before Ctrl-C."""
        while any(REACTION_SECONDS > time.monotonic() - pipe.printed_at for pipe in self._pipes if pipe.is_open()):
            time.sleep(POLL_SECONDS)

    def _type(self, text: str | bytes) -> None:
        self.send(text if isinstance(text, bytes) else text.encode("utf-8"))
        self.end_input()

    def finish(self, seconds: float | None = None) -> list[str]:
        """End its input and wait for its end; return its lines. Raises ProgramFailed: too late, or not exit code 0."""
        if not self._typist:
            self.end_input()
        if self.wait(seconds):
            raise self.failure("failed")
        return self.lines


def _open_terminal() -> tuple[FileIO, int]:
    """Return a new terminal: our side, and the side that the program sees."""
    import termios  # not on Windows

    screen, side = os.openpty()
    termios.tcsetwinsize(side, TERMINAL_SIZE)
    return os.fdopen(screen, "r+b", buffering=0), side


def _compiled(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(re.escape(pattern)) if isinstance(pattern, str) else pattern
