"""Run every bash block of a README as a reader would, and compare what it prints with what the README shows.

The words after `bash` or `text` in a block's first line are attributes; a rendered page does not show them.

    bash   exit=2          the exit code expected (default 0)
           timeout=120     the block's deadline in seconds (default 60)
           skip="reason"   not run; the reason is listed
           ready="text"    the program stays: wait for this text, leave it running to the end of the document
           name=worker     the name of a program that stays
           stop=worker     first press Ctrl-C there; it must end with exit code 0 or 130 (or its own `exit=`)
           kill=worker     first send SIGKILL to it and to all that it started
           type="5.1; q"   type these lines, one after each prompt; the pieces ^C and ^D press these keys
           prompt="> "     what the output ends with before a line is typed
    text   of=worker       what this named program printed (default: the bash block above); also `timeout=`, `skip=`

In a text block `...` stands for anything, and the whole may be any run of lines of the output.
"""

import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import termios
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from markdown_it import MarkdownIt

BLOCK_SECONDS = 60.0
STOP_SECONDS = 10.0  # from a signal to the end of the program and all that it started
LAST_OUTPUT_SECONDS = 0.3  # for what a block printed last, when a program that it left behind keeps the terminal open
REACTION_SECONDS = 0.2  # a person's, from output to Ctrl-C; a signal just before a program waits would not wake it
COLUMNS = 120
TAIL_LINES = 40
DEFAULT_PORTS = ("9092", "8000", "8001")
PORT = re.compile(rf"""(port["']?[\s=:]\s*|:)({"|".join(DEFAULT_PORTS)})\b""", re.IGNORECASE)
ATTRIBUTES = {
    "bash": {"exit", "timeout", "skip", "ready", "name", "stop", "kill", "type", "prompt"},
    "text": {"of", "timeout", "skip"},
}
NEEDS = {"name": "ready", "prompt": "type"}
SHELL = re.compile(r"\W*(bash|sh|shell|shellsession|console|terminal|zsh)\b", re.IGNORECASE)
KEYS = {"^C": b"\x03", "^D": b"\x04"}
INVISIBLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
OVERWRITTEN = re.compile(r"^[^\n]*\r(?=[^\r\n])", re.MULTILINE)
# Keys reach a program as signals only on its controlling terminal. Python ignores two signals, bash must not.
TAKE_TERMINAL = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "[signal.signal(number, signal.SIG_DFL) for number in (signal.SIGPIPE, signal.SIGXFSZ)]; "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)


class ReadmeError(AssertionError):
    """A document that does not do what it says; the message tells where, what was expected and what was seen."""


@dataclass
class Block:
    """A fenced block: its place (`document:line`), language, text and attributes."""

    place: str
    language: str
    text: str
    attributes: dict[str, str]

    @property
    def seconds(self) -> float:
        return float(self.attributes.get("timeout", BLOCK_SECONDS))


def repository_files(root: Path) -> list[str]:
    """The files that belong to the repository: committed, or new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, encoding="utf-8").stdout
    return sorted({name for name in listing.split("\0") if name and (root / name).is_file()})


def copy_repository(root: Path, target: Path) -> None:
    """Copy the repository's files with their times, and link `.venv` to the environment that runs the tests."""
    for name in repository_files(root):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target / name, follow_symlinks=False)
    (target / ".venv").symlink_to(sys.prefix)


def read_blocks(document: Path, name: str) -> list[Block]:
    """The bash and text blocks of a document in their order; raise ReadmeError for what would never be checked."""
    blocks = []
    for token in MarkdownIt().parse(document.read_text(encoding="utf-8")):
        if token.type != "fence" or token.map is None:
            continue
        place = f"{name}:{token.map[0] + 1}"
        language = (token.info.split() or [""])[0]
        if SHELL.match(language) and language != "bash":
            raise ReadmeError(f"{place}: use bash, not {language}: only bash blocks are run")
        if language not in ATTRIBUTES:
            continue
        try:
            pairs = [word.partition("=") for word in shlex.split(token.info)[1:]]
        except ValueError as error:
            raise ReadmeError(f"{place}: {error}: {token.info}") from error
        block = Block(place, language, token.content.strip("\n"), {key: value for key, _, value in pairs})
        check_attributes(block)
        blocks.append(block)
    return blocks


def check_attributes(block: Block) -> None:
    """Raise ReadmeError for a misspelt, empty or lonely attribute, and for an empty text block."""
    for key, value in block.attributes.items():
        if key not in ATTRIBUTES[block.language]:
            raise ReadmeError(f"{block.place}: a {block.language} block has no attribute {key!r}")
        if not value and key != "type":
            raise ReadmeError(f"{block.place}: {key}= needs a value")
        if key in NEEDS and NEEDS[key] not in block.attributes:
            raise ReadmeError(f"{block.place}: {key}= needs {NEEDS[key]}=")
        if key in {"exit", "timeout"} and not re.fullmatch(r"\d+(\.\d+)?" if key == "timeout" else r"\d+", value):
            raise ReadmeError(f"{block.place}: {key}={value} is not a number")
    if block.language == "text" and not block.text.strip():
        raise ReadmeError(f"{block.place}: an empty text block shows nothing")


def shows(output: str, expected: str) -> bool:
    """Whether `expected`, where `...` stands for anything, is a run of lines of `output`; ends of lines are trimmed.

    >>> shows("one\\ntwo  \\nthree", "t...\\nthree"), shows("one", "on")
    (True, False)
    """
    seen, wanted = ("\n" + "\n".join(map(str.rstrip, text.split("\n"))) + "\n" for text in (output, expected))
    position = 0
    for piece in wanted.split("..."):
        found = seen.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def running(group: int) -> list[str]:
    """The commands of a process group that still run; a zombie, which only waits to be collected, does not."""
    commands = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                commands.append(shlex.join(process.cmdline()))
    return commands


class Terminal:
    """A terminal of its own for one bash block: what it prints is kept, keys can be pressed when it is typed into."""

    def __init__(self, block: Block, command: str, root: Path, environment: dict[str, str]) -> None:
        self.block, self.command, self.printed = block, command, b""
        self.printed_at = time.monotonic()
        self.open = True  # something may still print
        self.gone = False  # the program and all that it started; the group's number may then be another's
        self.excused = False  # its exit code is not looked at: it was killed, or a failure has told of it
        typed = "type" in block.attributes
        take = [sys.executable, "-ISc", TAKE_TERMINAL] if typed else []
        self.screen, side = os.openpty()
        try:
            termios.tcsetwinsize(side, (TAIL_LINES, COLUMNS))
            self.process = subprocess.Popen(
                [*take, "bash", "-euo", "pipefail", "-c", command],
                cwd=root,
                env=environment,
                stdin=side if typed else subprocess.DEVNULL,
                stdout=side,
                stderr=side,
                start_new_session=True,
            )
        except BaseException:
            os.close(self.screen)
            raise
        finally:
            os.close(side)

    @property
    def stays(self) -> bool:
        return "ready" in self.block.attributes

    @property
    def output(self) -> str:
        """What the terminal shows: no colours, and of a line that was overwritten only the last state."""
        text = INVISIBLE.sub("", self.printed.decode("utf-8", errors="replace"))
        return OVERWRITTEN.sub("", re.sub(r"\r+\n", "\n", text))

    @property
    def exit_code(self) -> int | None:
        """As bash counts it: 128 and the signal's number for a program that a signal ended."""
        code = self.process.poll()
        return 128 - code if code is not None and code < 0 else code

    def ended(self) -> bool:
        self.gone = self.gone or (self.exit_code is not None and not running(self.process.pid))
        return self.gone

    def send(self, number: signal.Signals) -> None:
        if not self.ended():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def read(self) -> None:
        try:
            piece = os.read(self.screen, 65536)
        except OSError:  # Linux reports the end of a terminal as an error
            piece = b""
        self.printed += piece
        self.printed_at = time.monotonic()
        self.open = bool(piece)

    def failure(self, problem: str, expected: str = "", block: Block | None = None) -> ReadmeError:
        self.excused = True
        lines = self.output.rstrip().split("\n")
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
        """Read all terminals until the condition holds; False when the deadline (monotonic seconds) passed first."""
        while not condition():
            if time.monotonic() > deadline:
                return False
            screens = {terminal.screen: terminal for terminal in self.terminals if terminal.open}
            for screen in select.select(screens, [], [], 0.05)[0]:
                screens[screen].read()
        return True

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
            self.expect(terminal, lambda: ready in terminal.output, "was ready", ready, deadline)
        if "type" in block.attributes:
            self.type(terminal, deadline)
        if not terminal.stays:
            if not self.wait(lambda: terminal.exit_code is not None, deadline):
                raise terminal.failure(f"did not end within {block.seconds:g} seconds")
            self.wait(lambda: not terminal.open, time.monotonic() + LAST_OUTPUT_SECONDS)
            self.check_exit(terminal)
        return terminal

    def expect(self, terminal: Terminal, seen: Callable[[], bool], what: str, text: str, deadline: float) -> None:
        """Wait until `seen`; fail at once when the program ends before it."""
        self.wait(lambda: seen() or (terminal.exit_code is not None and not terminal.open), deadline)
        if not seen():
            late = f"not within {terminal.block.seconds:g} seconds"
            why = late if terminal.exit_code is None else f"ended before with exit code {terminal.exit_code}"
            raise terminal.failure(f"waited until it {what}: {why}", text)

    def type(self, terminal: Terminal, deadline: float) -> None:
        prompt = self.local(terminal.block.attributes.get("prompt", "> "))
        typed_at = 0
        for piece in self.local(terminal.block.attributes["type"]).split(";"):
            line = piece.strip()
            self.expect(
                terminal,
                lambda at=typed_at: len(terminal.printed) > at and terminal.output.endswith(prompt),
                f"asked for {line!r}",
                prompt,
                deadline,
            )
            if line == "^C":
                self.react(terminal)
            typed_at = len(terminal.printed)
            with suppress(OSError):  # it ended after its prompt: the next wait, or its exit code, tells
                os.write(terminal.screen, KEYS.get(line, f"{line}\n".encode()))

    def react(self, terminal: Terminal) -> None:
        """Wait as long after the last output as a person would."""
        self.wait(lambda: not terminal.open, terminal.printed_at + REACTION_SECONDS)

    def stop(self, terminal: Terminal, number: signal.Signals) -> None:
        """Press Ctrl-C (SIGINT), or kill: the program and all that it started must end in time."""
        if number == signal.SIGINT:
            self.react(terminal)
        terminal.send(number)
        if not self.wait(terminal.ended, time.monotonic() + STOP_SECONDS):
            left = "; ".join(running(terminal.process.pid))
            raise terminal.failure(f"still runs {STOP_SECONDS:g} seconds after {number.name}: {left}")
        self.wait(lambda: not terminal.open, time.monotonic() + LAST_OUTPUT_SECONDS)
        terminal.excused |= number == signal.SIGKILL
        if not terminal.excused:
            self.check_exit(terminal)

    def check_exit(self, terminal: Terminal) -> None:
        wanted = terminal.block.attributes.get("exit", "0 or 130" if terminal.stays else "0")
        if str(terminal.exit_code) not in wanted.split(" or "):
            raise terminal.failure(f"ended with exit code {terminal.exit_code}, expected {wanted}")

    def named(self, name: str, block: Block, *, running: bool) -> Terminal:
        if name not in self.names:
            raise ReadmeError(f"{block.place}: no program above has the name {name!r}")
        code = self.names[name].exit_code
        if running and code is not None:
            raise self.names[name].failure(f"{name!r} has ended already with exit code {code}", block=block)
        return self.names[name]

    def compare(self, block: Block, terminal: Terminal) -> None:
        """A text block must be a run of lines of what the terminal printed; a program that stays has time for it."""
        expected = self.local(block.text)
        deadline = time.monotonic() + block.seconds
        self.wait(lambda: shows(terminal.output, expected) or not (terminal.stays and terminal.open), deadline)
        if not shows(terminal.output, expected):
            raise terminal.failure("this is not what the command printed", expected, block)

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
            terminal.open = False
            os.close(terminal.screen)
        return complaints


def free_ports() -> dict[str, str]:
    """A free port of this machine for each documented default port."""
    with ExitStack() as held:
        sockets = {port: held.enter_context(socket.socket()) for port in DEFAULT_PORTS}
        for one in sockets.values():
            one.bind(("127.0.0.1", 0))
        return {port: str(one.getsockname()[1]) for port, one in sockets.items()}


def environment_for(ports: dict[str, str]) -> dict[str, str]:
    """The environment of a reader who has set nothing, but with this run's own ports and no pager."""
    foreign = ("IRIS_", "KAFKA_", "UVICORN_", "MAKE", "MFLAGS", "FORCE_COLOR", "BASH_ENV")
    scripts = sysconfig.get_path("scripts")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | {
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
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


def run_document(root: Path, name: str) -> list[str]:
    """Run the document `name` at the root of a copy of the repository; return a line for each block that was skipped.

    Raises ReadmeError at the first block that does not do what the document says, after ending all that runs.
    """
    blocks = read_blocks(root / name, name)
    ports = free_ports()
    run = Run(root, ports, environment_for(ports))
    problems = []
    try:
        last: Terminal | None = None
        for block in blocks:
            if "skip" in block.attributes:
                run.skipped.append(f"{block.place}: skipped: {block.attributes['skip']}")
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
