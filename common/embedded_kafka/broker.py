"""One broker: a Java process on a folder of its own, which stays when the process ends."""

import contextlib
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path

from common.programs import Program, end_all

from .fencing import controller_properties, has_fenced, metadata_bytes, was_killed
from .jars import KafkaStartError, one_line
from .probe import Context

FENCING_SECONDS = 15.0  # a broker that has been fenced already, and was killed then, is not fenced again
STOP_SECONDS = 2.0  # a broker that takes longer to stop is killed; what it acknowledged is safe
LOOK_SECONDS = 0.03


class Broker:
    """One broker, and its process while it has one.

    Args:
        number: its id.
        door: the port where it is asked whether it is ready, and how to speak to it.
        folder: has its settings, its log and its data.
        java: the command that runs Kafka on a file of settings; that file's name is added.
        alone: it is the only one of its cluster.
        group: the Unix group to run as.
    """

    def __init__(
        self,
        number: int,
        door: tuple[int, Context],
        folder: Path,
        java: list[str],
        alone: bool,
        group: int | None = None,
    ) -> None:
        self.number, self.door, self.folder = number, door, folder
        self.log = folder / "kafka.log"
        log4j = f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}"
        self._command = [java[0], log4j, *java[1:], "kafka.Kafka"]
        self._alone, self._group = alone, group
        self.process: Program | None = None

    def is_running(self) -> bool:
        """Return whether its process exists."""
        return self.process is not None and self.process.is_running()

    def start(self) -> None:
        """Start its process; it needs a second or two until it answers."""
        if self._alone and was_killed(self.folder / "data"):
            self._fence()
        self._launch(self.folder / "server.properties")

    def stop(self) -> None:
        """Stop it with SIGTERM, with SIGKILL if it takes longer than STOP_SECONDS."""
        stop_all([self])

    def wait_until(self, check: Callable[[int, Context], bool], deadline: float) -> None:
        """Wait until `check(*door)` holds; while Kafka does not answer, it may raise what probe.py raises.

        Raises:
            KafkaStartError: the broker has ended, or the deadline (on the monotonic clock) has passed.
        """
        while True:
            with contextlib.suppress(OSError, struct.error):
                if check(*self.door):
                    return
            if not self.is_running():
                raise KafkaStartError(f"Broker {self.number} ended: {self.last_words()} (log: {self.log})")
            if time.monotonic() > deadline:
                raise KafkaStartError(f"Broker {self.number} did not answer in time (log: {self.log})")
            time.sleep(LOOK_SECONDS)

    def last_words(self) -> str:
        """Return its last error: from its log, or from what Java printed before there was a log."""
        error = r"^\S+ \S+ ERROR (?:.*\n[\w.$]+(?:Exception|Error): )?(.*)"  # the exception below it says more
        for path, pattern in ((self.log, error), (self.folder / "jvm.log", "(.+)")):
            text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            if found := re.findall(pattern, text, re.MULTILINE):
                return one_line(found[-1])
        return f"exit code {self.process.exit_code if self.process else None}"

    def _launch(self, properties: Path) -> None:
        # A broker that outlived a killed Python would hold its port and its data.
        log = self.folder / "jvm.log"
        self.process = Program([*self._command, properties], log=log, dies_with_us=True, group=self._group)
        (self.folder / "pid").write_text(str(self.process.pid), encoding="utf-8")

    def _fence(self) -> None:
        """Have its former self declared dead, see fencing.py."""
        properties = self.folder / "controller.properties"
        settings = (self.folder / "server.properties").read_text(encoding="utf-8")
        properties.write_text(controller_properties(settings), encoding="utf-8")
        self.log.unlink(missing_ok=True)
        self._launch(properties)
        deadline = time.monotonic() + FENCING_SECONDS

        def until(condition: Callable[[], bool]) -> None:
            while self.is_running() and time.monotonic() < deadline and not condition():
                time.sleep(LOOK_SECONDS)

        until(lambda: has_fenced(self.log))
        for _ in range(2):  # what it writes next may be older than what it has just declared; what comes then is not
            written = metadata_bytes(self.folder / "data")
            until(lambda written=written: metadata_bytes(self.folder / "data") > written)
        self.stop()


def stop_all(brokers: list[Broker]) -> None:
    """Stop brokers, all at the same time; one that is paused, too."""
    end_all([broker.process for broker in brokers if broker.process], STOP_SECONDS)
