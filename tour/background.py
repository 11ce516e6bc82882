"""Programs that stay when the command that started them has ended: what runs is noted in `.run/up.json`.

A process id alone may have been given to another program meanwhile. So the time at which the process started is noted
as well, and only a process that has both is the one meant.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import psutil

from common.errors import ProgramError
from common.programs import Program
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

    def is_running(self) -> bool:
        """Return whether this very process exists."""
        return started(self.pid) == self.started


def start(name: str, arguments: list[str]) -> tuple[Background, Program]:
    """Start `python ...`, its output in a log."""
    LOGS.mkdir(parents=True, exist_ok=True)
    program = Program(["python", *arguments], name=name, log=LOGS / f"{name.replace(' ', '-')}.log")
    return Background(name, program.pid, started(program.pid) or "ended"), program


def started(pid: int) -> str | None:
    """Return when a process started, None if it does not exist, or has ended and only waits to be collected."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        boot = psutil.boot_time() if psutil.LINUX else 0.0  # Linux counts from there: setting the clock shifts both
        if process.status() != psutil.STATUS_ZOMBIE:
            return f"{process.create_time() - boot:.2f}"
    return None


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
        print(f"  {program.name}: {'killed, as it did not end by itself' if killed else 'ended'}", flush=True)


def _signal(program: Background, number: signal.Signals) -> None:
    if program.is_running():
        with contextlib.suppress(ProcessLookupError):
            os.kill(program.pid, number)
