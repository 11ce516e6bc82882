"""Programs that stay when the command that started them has ended: what runs is noted in `.run/up.json`.

A process id alone may have been given to another program meanwhile. So the time at which the process started is noted
as well, and only a process that has both is the one meant.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from common.errors import ProgramError
from common.settings import RUN_DIR

NOTES = RUN_DIR / "up.json"
LOGS = RUN_DIR / "logs"
LOCK = RUN_DIR / "up.lock"  # held by one `up` or `down` at a time
LOCK_SECONDS = 300.0
START_SECONDS = 120.0  # longest wait for a program to be ready
END_SECONDS = 6.0  # from SIGTERM to SIGKILL; the programs promise 3


@dataclass
class Background:
    """One program."""

    name: str
    pid: int
    started: str  # what the system says about the start of the process

    @property
    def log(self) -> Path:
        """Return where its output goes."""
        return LOGS / f"{self.name.replace(' ', '-')}.log"

    def is_running(self) -> bool:
        """Tell whether this very process exists."""
        return started(self.pid) == self.started

    def read_log(self) -> str:
        """Return its output so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, pattern: str) -> str:
        """Return the first line of the log that matches, as soon as it is there.

        Raises:
            ProgramError: the program ended, or the time is over.
        """
        deadline = time.monotonic() + START_SECONDS
        while True:
            running = self.is_running()
            if found := re.search(f"^.*{pattern}.*$", self.read_log(), re.MULTILINE):
                return found[0]
            if not running:
                last = (self.read_log().strip().splitlines() or ["it said nothing"])[-1]
                raise ProgramError(f"The {self.name} did not start: {last}")
            if time.monotonic() > deadline:
                raise ProgramError(f"The {self.name} is not ready after {START_SECONDS:g} s, see {self.log}")
            time.sleep(0.05)


def start(name: str, arguments: list[str]) -> Background:
    """Start `python ...` in a session of its own, its output in a log."""
    log = Background(name, 0, "").log
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    process.returncode = 0  # it is meant to outlive this program: no complaint about that
    return Background(name, process.pid, started(process.pid) or "ended")


def started(pid: int) -> str | None:
    """Return when a process started, None where it does not exist or has ended and only waits to be collected."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # collects it, where it is our own child
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"{fields[19]} ticks after boot"
    command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    state, _, when = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip().partition(" ")
    return when.strip() if state and not state.startswith("Z") else None


def read_notes() -> dict[str, Background]:
    """Return the noted programs that still run, by name, in the order of their start."""
    try:
        noted = [Background(**fields) for fields in json.loads(NOTES.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError):
        raise ProgramError(f"{NOTES} is damaged: end the programs by hand, then delete it.") from None
    return {program.name: program for program in noted if program.is_running()}


def write_notes(programs: Iterable[Background]) -> None:
    """Note what runs."""
    noted = [asdict(program) for program in programs]
    if not noted:
        NOTES.unlink(missing_ok=True)
        return
    new = NOTES.with_suffix(".new")
    new.write_text(json.dumps(noted, indent=2) + "\n", encoding="utf-8")
    new.replace(NOTES)


def end(programs: list[Background]) -> None:
    """End programs with SIGTERM, all at the same time, and with SIGKILL what has not ended in time; say so."""
    for program in programs:
        _signal(program, signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    for program in programs:
        while program.is_running() and time.monotonic() < deadline:
            time.sleep(0.02)
        killed = program.is_running()
        _signal(program, signal.SIGKILL)
        print(f"  {program.name}: {'killed, it did not end by itself' if killed else 'ended'}", flush=True)


def _signal(program: Background, number: signal.Signals) -> None:
    if program.is_running():
        with contextlib.suppress(ProcessLookupError):
            os.kill(program.pid, number)
