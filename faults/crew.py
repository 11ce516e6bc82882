"""Programs of one kind, started again whenever they die: a supervisor, as systemd or Kubernetes would be."""

import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from common.programs import Program, ProgramFailed

LEAVE_SECONDS = 3.0  # SIGTERM to the end of the process
LATE_SECONDS = 2.3  # not gone by then: it ends itself soon, as by a crash
STUCK_SECONDS = 10.0  # then it is killed

Arguments = Callable[[int], list[str]]


class Crew:
    """Keeps `size` programs running. `arguments(i)` is asked at each start of member i."""

    def __init__(
        self, module: str, size: int, arguments: Arguments, env: Mapping[str, str], folder: Path, group: int | None
    ) -> None:
        """`group` is the Unix group to run as: a network of their own."""
        self.kills = 0  # members that died of SIGKILL
        self.problems: list[str] = []
        self.slow: list[str] = []  # what took too long
        self.members: dict[int, Program] = {}
        self.restart = True
        self._module, self._size, self._arguments, self._env, self._folder, self._group = (
            module,
            size,
            arguments,
            env,
            folder,
            group,
        )
        self._starts = 0
        for i in range(size):
            self.start(i)

    def start(self, i: int) -> None:
        """Start member i."""
        log = self._folder / f"{self._module.rpartition('.')[2]}-{self._starts}.log"
        command = ["python", "-W", "error", "-m", self._module, *self._arguments(i)]
        self.members[i] = Program(command, name=log.stem, env=self._env, log=log, dies_with_us=True, group=self._group)
        self._starts += 1

    def tend(self) -> None:
        """Count who has died, and start it again. To be called again and again."""
        for i, member in list(self.members.items()):
            if member.is_running():
                continue
            if member.exit_code == -signal.SIGKILL:
                self.kills += 1
            else:
                self.problems.append(str(member.failure("ended by itself")))
            del self.members[i]
            if self.restart:
                self.start(i)

    def is_ready(self) -> bool:
        """Return whether all members have said that they are."""
        return len(self.members) == self._size and all(map(is_ready, self.members.values()))

    def kill(self, i: int) -> None:
        """SIGKILL from outside; counted and started again at the next tend()."""
        self.members[i].kill()

    def leave(self, *numbers: int, excused: bool = False) -> None:
        """SIGTERM to these members, or to all; see that each leaves in time and in order, unless it is excused."""
        self.tend()
        leaving = [self.members.pop(i) for i in numbers or list(self.members) if i in self.members]
        in_use = [member for member in leaving if is_ready(member)]  # before that there is nothing to leave
        began = time.monotonic()
        for member in leaving:
            member.terminate()
            member.resume()
        for member in leaving:
            _wait(member, began + LATE_SECONDS)
            if member.is_running():
                member.signal(signal.SIGUSR1)  # it prints where it is
                _wait(member, began + STUCK_SECONDS)
            if member.is_running():
                member.kill()
            seconds = time.monotonic() - began
            if member.exit_code == -signal.SIGKILL and seconds < LEAVE_SECONDS:  # its own switch was faster
                self.kills += 1
            elif not excused and member in in_use and (seconds > LEAVE_SECONDS or member.exit_code):
                self.slow.append(f"{member.name}: {seconds:.1f} s to leave on SIGTERM, exit code {member.exit_code}")

    def replace_all(self) -> None:
        """Let all leave, with others in their places. One that is still armed may kill itself; no harm."""
        for i in list(self.members):
            self.leave(i)
        for i in range(self._size):
            if i not in self.members:
                self.start(i)

    def end(self) -> None:
        """Leave nothing running, whatever happened."""
        for member in self.members.values():
            member.kill()
        self.members.clear()


def is_ready(member: Program) -> bool:
    """Return whether a program has said that it is ready."""
    return "is ready" in member.output


def is_frozen(member: Program) -> bool:
    """Return whether SIGSTOP has stopped a program."""
    return member.is_running() and member.ps.status() == psutil.STATUS_STOPPED


def _wait(member: Program, deadline: float) -> None:
    with contextlib.suppress(ProgramFailed):
        member.wait(max(0.1, deadline - time.monotonic()))
