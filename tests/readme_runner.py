"""Run every bash block of a README as a reader would, and compare what it prints with what the README shows.

The words after `bash` or `text` in a block's first line are attributes; a rendered page does not show them.

    bash   exit=2          the exit code expected (default 0)
           timeout=120     the block's deadline in seconds (default 60)
           skip="reason"   not run; the reason is listed
           slow="reason"   the same, but `make test-full` runs it
           ready="text"    the program stays: wait for this text, leave it running to the end of the document
           name=worker     the name of a program that stays
           stop=worker     first press Ctrl-C there; it must end with exit code 0 or 130 (or its own `exit=`)
           kill=worker     first send SIGKILL to it and to all that it started
           type="5.1; q"   type these lines, one after each prompt; the pieces ^C and ^D press these keys
           prompt="> "     what the output ends with before a line is typed
    text   of=worker       what this named program printed (default: the bash block above);
                           also `timeout=`, `skip=`, `slow=`

In a text block `...` stands for anything, and the whole may be any run of lines of the output.
"""

import os
import re
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.embedded_kafka.broker_settings import JVM_OPTIONS
from common.programs import CTRL_C, CTRL_D, Program, ProgramFailed, free_ports, until
from tests import java_cache
from tests.readme_blocks import Block, ReadmeError, read_blocks, shows

STOP_SECONDS = 10.0  # from a signal to the end of the program and all that it started
LAST_OUTPUT_SECONDS = 0.3  # for what a block printed last, when a program that it left behind keeps the terminal open
COLUMNS = 120
TAIL_LINES = 40
DEFAULT_PORTS = ("9092", "8000", "8001")
PORT = re.compile(rf"""(port["']?[\s=:]\s*|:)({"|".join(DEFAULT_PORTS)})\b""", re.IGNORECASE)
KEYS = {"^C": CTRL_C, "^D": CTRL_D}
INVISIBLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
OVERWRITTEN = re.compile(r"^[^\n]*\r(?=[^\r\n])", re.MULTILINE)


class Terminal(Program):
    """A terminal of its own for one bash block; keys can be pressed if it is typed into."""

    def __init__(self, block: Block, command: str, root: Path, environment: dict[str, str]) -> None:
        self.block, self.command = block, command
        self.gone = False  # the program and all that it started; the group's number may then be another's
        self.excused = False  # its exit code is not looked at: it was killed, or a failure has told of it
        keyboard: dict[str, Any] = {} if "type" in block.attributes else {"stdin": subprocess.DEVNULL}
        bash = ["bash", "-euo", "pipefail", "-c", command]
        super().__init__(bash, cwd=root, env=environment, terminal=True, **keyboard)

    @property
    def stays(self) -> bool:
        return "ready" in self.block.attributes

    @property
    def shown(self) -> str:
        """What the terminal shows: no colours, and of a line that was overwritten only the last state."""
        return OVERWRITTEN.sub("", re.sub(r"\r+\n", "\n", INVISIBLE.sub("", self.output)))

    @property
    def code(self) -> int | None:
        """Its exit code as bash counts: 128 and the signal's number for a program that a signal ended."""
        code = self.exit_code
        return 128 - code if code is not None and code < 0 else code

    def ended(self) -> bool:
        self.gone = self.gone or (self.exit_code is not None and not self.survivors())
        return self.gone

    def complaint(self, problem: str, expected: str = "", block: Block | None = None) -> ReadmeError:
        self.excused = True
        lines = self.shown.rstrip().split("\n")
        seen = f"--- seen (last {TAIL_LINES} of {len(lines)} lines)\n" + "\n".join(lines[-TAIL_LINES:])
        wanted = f"--- expected\n{expected}\n" if expected else ""
        return ReadmeError(f"{(block or self.block).place}: {problem}\n--- command\n{self.command}\n{wanted}{seen}")


@dataclass
class Run:
    """One pass through a document: its ports, its terminals and the blocks that were skipped."""

    root: Path
    ports: dict[str, str]
    environment: dict[str, str]
    terminals: list[Terminal] = field(default_factory=list)
    names: dict[str, Terminal] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def local(self, text: str) -> str:
        """`text` with the documented default ports replaced by this run's own."""
        return PORT.sub(lambda match: match[1] + self.ports[match[2]], text)

    def wait(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Wait until the condition holds; False when the deadline (monotonic seconds) passed first."""
        with suppress(ProgramFailed):
            return until(condition, deadline - time.monotonic())
        return False

    def run(self, block: Block) -> Terminal:
        """Run a bash block in a terminal of its own, to its end or until it is ready."""
        for key, number in (("stop", signal.SIGINT), ("kill", signal.SIGKILL)):
            for name in block.attributes.get(key, "").split():
                self.stop(self.named(name, block, running=True), number)
        name = block.attributes.get("name", "")
        if name in self.names and not self.names[name].ended():
            raise ReadmeError(f"{block.place}: {name!r} still runs since {self.names[name].block.place}")
        terminal = Terminal(block, self.local(block.text), self.root, self.environment)
        self.terminals.append(terminal)
        if name:
            self.names[name] = terminal
        deadline = time.monotonic() + block.seconds
        if terminal.stays:
            ready = self.local(block.attributes["ready"])
            self.expect(terminal, lambda: ready in terminal.shown, "was ready", ready, deadline)
        if "type" in block.attributes:
            self.type(terminal, deadline)
        if not terminal.stays:
            if not self.wait(lambda: terminal.code is not None, deadline):
                raise terminal.complaint(f"did not end within {block.seconds:g} seconds")
            self.wait(lambda: not terminal.may_print(), time.monotonic() + LAST_OUTPUT_SECONDS)
            self.check_exit(terminal)
        return terminal

    def expect(self, terminal: Terminal, seen: Callable[[], bool], what: str, text: str, deadline: float) -> None:
        """Wait until `seen`; fail at once when the program ends before it."""
        self.wait(lambda: seen() or (terminal.code is not None and not terminal.may_print()), deadline)
        if not seen():
            late = f"not within {terminal.block.seconds:g} seconds"
            why = late if terminal.code is None else f"ended before with exit code {terminal.code}"
            raise terminal.complaint(f"waited until it {what}: {why}", text)

    def type(self, terminal: Terminal, deadline: float) -> None:
        prompt = self.local(terminal.block.attributes.get("prompt", "> "))
        typed_at = 0
        for piece in self.local(terminal.block.attributes["type"]).split(";"):
            line = piece.strip()
            self.expect(
                terminal,
                lambda at=typed_at: len(terminal.output) > at and terminal.shown.endswith(prompt),
                f"asked for {line!r}",
                prompt,
                deadline,
            )
            typed_at = len(terminal.output)
            terminal.send(KEYS.get(line, f"{line}\n".encode()))

    def stop(self, terminal: Terminal, number: signal.Signals) -> None:
        """Press Ctrl-C (SIGINT), or kill: the program and all that it started must end in time."""
        if number == signal.SIGINT:
            terminal.react()
        if not terminal.ended():
            terminal.signal(number, group=True)
        if not self.wait(terminal.ended, time.monotonic() + STOP_SECONDS):
            left = "; ".join(terminal.survivors())
            raise terminal.complaint(f"still runs {STOP_SECONDS:g} seconds after {number.name}: {left}")
        self.wait(lambda: not terminal.may_print(), time.monotonic() + LAST_OUTPUT_SECONDS)
        terminal.excused |= number == signal.SIGKILL
        if not terminal.excused:
            self.check_exit(terminal)

    def check_exit(self, terminal: Terminal) -> None:
        wanted = terminal.block.attributes.get("exit", "0 or 130" if terminal.stays else "0")
        if str(terminal.code) not in wanted.split(" or "):
            raise terminal.complaint(f"ended with exit code {terminal.code}, expected {wanted}")

    def named(self, name: str, block: Block, *, running: bool) -> Terminal:
        if name not in self.names:
            raise ReadmeError(f"{block.place}: no program above has the name {name!r}")
        code = self.names[name].code
        if running and code is not None:
            raise self.names[name].complaint(f"{name!r} has ended already with exit code {code}", block=block)
        return self.names[name]

    def compare(self, block: Block, terminal: Terminal) -> None:
        """A text block must be a run of lines of what the terminal printed; a program that stays has time for it."""
        expected = self.local(block.text)
        deadline = time.monotonic() + block.seconds
        self.wait(lambda: shows(terminal.shown, expected) or not (terminal.stays and terminal.may_print()), deadline)
        if not shows(terminal.shown, expected):
            raise terminal.complaint("this is not what the command printed", expected, block)

    def end(self) -> list[str]:
        """End all that still runs, the newest first; return what did not end as it should."""
        complaints = []
        for terminal in reversed(self.terminals):
            # What bash starts with & ignores Ctrl-C, so what is not a program that stays begins with SIGTERM.
            polite = terminal.stays and not terminal.excused
            if polite or not terminal.ended():
                for number in [signal.SIGINT] * polite + [signal.SIGTERM, signal.SIGKILL]:
                    try:
                        self.stop(terminal, number)
                        break
                    except ReadmeError as error:
                        complaints.append(str(error))
            terminal.end(0)
        return complaints


def environment_for(ports: dict[str, str]) -> dict[str, str]:
    """The environment of a reader who has set nothing, but with this run's own ports and no pager."""
    foreign = ("IRIS_", "KAFKA_", "UVICORN_", "MAKE", "MFLAGS", "FORCE_COLOR", "BASH_ENV")
    scripts = sysconfig.get_path("scripts")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | {
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        JVM_OPTIONS: " ".join(java_cache.java_flags()),
        "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{ports['9092']}",
        "UVICORN_PORT": ports["8000"],
        "IRIS_REST_URL": f"http://127.0.0.1:{ports['8000']}",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "PYTHONUNBUFFERED": "1",
        "COLUMNS": str(COLUMNS),
        "PAGER": "cat",
        "GIT_PAGER": "cat",
    }


def run_document(root: Path, name: str, slow: bool = True) -> list[str]:
    """Run the document `name` at the root of a copy of the repository; return a line for each block that was skipped.

    `slow`: with the blocks that are.

    Raises ReadmeError at the first block that does not do what the document says, after ending all that runs.
    """
    blocks = read_blocks(root / name, name)
    free = free_ports(len(DEFAULT_PORTS))
    ports = {default: str(port) for default, port in zip(DEFAULT_PORTS, free, strict=True)}
    run = Run(root, ports, environment_for(ports))
    problems = []
    try:
        last: Terminal | None = None
        for block in blocks:
            if reason := block.attributes.get("skip") or (not slow and block.attributes.get("slow")):
                run.skipped.append(f"{block.place}: skipped: {reason}")
                last = None if block.language == "bash" else last
            elif block.language == "bash":
                last = run.run(block)
            elif "of" in block.attributes:
                run.compare(block, run.named(block.attributes["of"], block, running=False))
            elif last:
                run.compare(block, last)
    except ReadmeError as error:
        problems.append(str(error))
    finally:
        problems += run.end()
    if problems:
        raise ReadmeError("\n\n".join(problems))
    return run.skipped
