"""Programs of one kind, started again whenever they die: a supervisor, as systemd or Kubernetes would be."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from common.settings import ROOT

LEAVE_SECONDS = 3.0  # SIGTERM to the end of the process


class Member:
    """One running program."""

    def __init__(self, module: str, arguments: list[str], env: dict[str, str], log: Path) -> None:
        self.log, self.started = log, time.monotonic()
        command = [sys.executable, "-W", "error", "-m", module, *arguments]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": ""} | env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def says(self, text: str) -> bool:
        """Tell whether the program has printed this."""
        return text in self.log.read_text(encoding="utf-8", errors="replace")

    def slot(self) -> int:
        """Return the slot that a worker says it has: `Worker 3 is ready`."""
        return int(self.log.read_text(encoding="utf-8").partition("Worker ")[2].split()[0])

    def is_stopped(self) -> bool:
        """Tell whether the process is frozen by SIGSTOP (Linux)."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        return stat.rpartition(")")[2].split()[0] == "T"

    def last_words(self) -> str:
        """Return the last line that the program printed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1][:300] if lines else ""


class Crew:
    """Keeps `size` programs running. `arguments(i)` is asked at each start of member i."""

    def __init__(
        self, module: str, size: int, arguments: Callable[[int], list[str]], env: dict[str, str], folder: Path
    ) -> None:
        self.kills = 0  # members that died of SIGKILL
        self.starts = 0
        self.problems: list[str] = []
        self.members: dict[int, Member] = {}
        self.arguments, self.restart = arguments, True
        self.size = size
        self._module, self._env, self._folder = module, env, folder
        for i in range(size):
            self.start(i)

    def start(self, i: int) -> Member:
        """Start member i."""
        name = self._module.rpartition(".")[2]
        log = self._folder / f"{name}-{self.starts}.log"
        self.members[i] = Member(self._module, self.arguments(i), self._env, log)
        self.starts += 1
        return self.members[i]

    def tend(self) -> None:
        """Count who has died, and start it again. To be called again and again."""
        for i, member in list(self.members.items()):
            code = member.process.poll()
            if code is None:
                continue
            if code == -signal.SIGKILL:
                self.kills += 1
            else:
                self.problems.append(f"{member.log.stem} ended with {code}: {member.last_words()}")
            del self.members[i]
            if self.restart:
                self.start(i)

    def is_ready(self) -> bool:
        """Tell whether all members have said that they are."""
        return len(self.members) == self.size and all(member.says("is ready") for member in self.members.values())

    def kill(self, i: int) -> None:
        """SIGKILL from outside; counted and started again at the next tend()."""
        self.members[i].process.kill()
        self.members[i].process.wait(10)

    def leave(self, *numbers: int) -> None:
        """SIGTERM to these members, or to all; see that each leaves in time and in order."""
        self.tend()
        leaving = [self.members.pop(i) for i in numbers or list(self.members) if i in self.members]
        began = time.monotonic()
        ready = [member.says("is ready") for member in leaving]  # before that there is nothing to leave
        for member in leaving:
            member.process.terminate()
            member.process.send_signal(signal.SIGCONT)
        for member, was_ready in zip(leaving, ready, strict=True):
            with contextlib.suppress(subprocess.TimeoutExpired):
                member.process.wait(max(0.1, LEAVE_SECONDS - (time.monotonic() - began)))
            if member.process.poll() is None:
                member.process.send_signal(signal.SIGUSR1)  # our wrappers print where they are
            try:
                code = member.process.wait(max(0.1, LEAVE_SECONDS + 7 - (time.monotonic() - began)))
            except subprocess.TimeoutExpired:
                member.process.kill()
                code = member.process.wait(10)
            seconds = time.monotonic() - began
            if code == -signal.SIGKILL and seconds < LEAVE_SECONDS:  # its own switch was faster
                self.kills += 1
            elif was_ready and (seconds > LEAVE_SECONDS or code):
                self.problems.append(f"{member.log.stem} took {seconds:.1f} s to leave on SIGTERM, exit code {code}")

    def replace_all(self) -> None:
        """Let all leave, with others in their places. One that is still armed may kill itself; no harm."""
        for i in list(self.members):
            self.leave(i)
        for i in range(self.size):
            if i not in self.members:
                self.start(i)

    def end(self) -> None:
        """Leave nothing running, whatever happened."""
        for member in self.members.values():
            member.process.kill()
        for member in self.members.values():
            member.process.wait(10)
        self.members.clear()
