"""What the tests of several stages share: real programs as a person starts them, and Kafka as a bystander sees it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Condition, Thread
from typing import Any, BinaryIO

import psutil
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient  # pyright: ignore[reportPrivateImportUsage]

from common.kafka.connection import MESSAGE_MAX_BYTES
from common.settings import ROOT

WAIT_SECONDS = 40.0  # for anything that takes a second or two on an idle machine
STOP_SECONDS = 3.0  # every program promises to end within this time
END_SECONDS = 15.0  # for a program that a test leaves behind; afterwards it is killed, and the test fails
TRACEBACK = "Traceback (most recent call last)"
# Keys reach a program as signals only on its controlling terminal.
ON_A_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
REACTION_SECONDS = 0.2  # a person's, from what is shown to Ctrl-C
CTRL_C, CTRL_D = b"\x03", b"\x04"

ROW = [5.1, 3.5, 1.4, 0.2]  # cm: a setosa
X = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}  # the same
LINE = "5.1 3.5 1.4 0.2"  # the same
VIRGINICA = "6.3 3.3 6.0 2.5"


def until(condition: Callable[[], Any], seconds: float = WAIT_SECONDS, what: str = "") -> Any:
    """Return the condition's first true value; fail when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return value


class Program:
    """A real program in a process group of its own; what it prints is kept.

    Args:
        command: its words; a program of ours is `[sys.executable, "-m", module, ...]`.
        environment: all its variables.
        stdin: piped into it, and then the end of input; None leaves the pipe open for `send_line()`.
        terminal: a person sits at it: a terminal of its own in place of pipes, all output in `output`.
    """

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        stdin: str | bytes | None = None,
        terminal: bool = False,
    ) -> None:
        self.name = " ".join(command[2:])
        self._printed = {"output": b"", "errors": b""}
        self._looked_at = {"output": 0, "errors": 0}  # where wait_for() goes on
        self._news = Condition()
        self._screen: int | None = None
        self.may_show_traceback = False  # where a test breaks it on purpose
        if terminal:
            self._screen, side = os.openpty()
            command = [sys.executable, "-ISc", ON_A_TERMINAL, *command]
            ends: dict[str, Any] = {"stdin": side, "stdout": side, "stderr": side}
        else:
            ends = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, bufsize=0, start_new_session=True, **ends)
        if self._screen is not None:
            os.close(side)  # pyright: ignore[reportPossiblyUnboundVariable]
            readers = [Thread(target=self._read, args=(self._screen, "output"), daemon=True)]
        else:
            pipes: list[tuple[Any, str]] = [(self.process.stdout, "output"), (self.process.stderr, "errors")]
            readers = [Thread(target=self._read, args=(pipe.fileno(), name), daemon=True) for pipe, name in pipes]
        self._readers = readers
        for reader in readers:
            reader.start()
        if stdin is not None:
            self._feeder = Thread(target=self._feed, args=(stdin,), daemon=True)
            self._feeder.start()

    def _read(self, end: int, name: str) -> None:
        while True:
            try:
                piece = os.read(end, 65536)
            except OSError:  # Linux reports the end of a terminal as an error
                piece = b""
            with self._news:
                self._printed[name] += piece
                self._news.notify_all()
            if not piece:
                return

    def _feed(self, text: str | bytes) -> None:
        with suppress(BrokenPipeError):
            self.send(text if isinstance(text, bytes) else text.encode("utf-8"))
        self.end_input()

    @property
    def output(self) -> str:
        """What it has printed so far; on a terminal, error output included."""
        return self._printed["output"].decode("utf-8", errors="replace").replace("\r\n", "\n")

    @property
    def errors(self) -> str:
        """What it has printed to the error output so far."""
        return self._printed["errors"].decode("utf-8", errors="replace")

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        return self.process.poll()

    def wait_for(self, text: str, seconds: float = WAIT_SECONDS) -> str:
        """Return what was printed up to and including `text`, since the last call that found something there."""
        wanted, deadline = text.encode("utf-8"), time.monotonic() + seconds
        with self._news:
            while True:
                for name, printed in self._printed.items():
                    began = self._looked_at[name]
                    place = printed.find(wanted, began)
                    if place >= 0:
                        self._looked_at[name] = place + len(wanted)
                        return printed[began : place + len(wanted)].decode("utf-8", errors="replace")
                ended = not any(reader.is_alive() for reader in self._readers)
                left = deadline - time.monotonic()
                assert left > 0 and not ended, f"no {text!r} {'before its end' if ended else 'in time'}\n{self.told()}"
                self._news.wait(min(left, 0.2))

    def wait_for_line(self, text: str, seconds: float = WAIT_SECONDS) -> str:
        """Return the next line with `text` in it, whole."""
        before = self.wait_for(text, seconds).rpartition("\n")[2]
        return (before + self.wait_for("\n", seconds)).strip()

    def send(self, data: bytes) -> None:
        """Type, or write into the pipe."""
        if self._screen is not None:
            if data == CTRL_C:  # a signal between the prompt and the wait for input would wake nobody
                time.sleep(REACTION_SECONDS)
            os.write(self._screen, data)
            return
        pipe: Any = self.process.stdin
        while data:
            data = data[pipe.write(data) :]

    def send_line(self, line: str) -> None:
        self.send(line.encode("utf-8") + b"\n")

    def end_input(self) -> None:
        """Close the pipe: the end of the input."""
        if self.process.stdin:
            with suppress(BrokenPipeError):
                self.process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, with SIGKILL."""
        self.signal(signal.SIGKILL)
        self.process.wait(END_SECONDS)

    def wait(self, seconds: float = WAIT_SECONDS) -> int:
        """Return its exit code when it has ended and everything that it printed is here."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {seconds:g} s\n{self.told()}") from None
        for reader in self._readers:
            reader.join(END_SECONDS)
        return code

    def told(self) -> str:
        """Return what a failure shows of it."""
        code = f"(exit code {self.exit_code})"
        return f"--- {self.name} {code}\n{self.output[-2000:]}\n--- its error output\n{self.errors[-2000:]}"

    def leave(self) -> str:
        """End it, in order where possible, and return what is wrong with how it ended; nothing where all is well."""
        self.terminate()
        wrong = ""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        if left := running(self.pid):
            wrong = f"left behind: {left}"
            self.signal(signal.SIGKILL)
            self.process.wait(END_SECONDS)
        for reader in self._readers:
            reader.join(END_SECONDS)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            close(pipe)
        if self._screen is not None:
            os.close(self._screen)
        if TRACEBACK in self.output + self.errors and not self.may_show_traceback:
            wrong += "\nshowed a traceback to its user"
        return f"{wrong}\n{self.told()}" if wrong else ""


def close(pipe: BinaryIO | Any) -> None:
    if pipe:
        with suppress(BrokenPipeError):
            pipe.close()


def running(group: int) -> list[str]:
    """Return the commands of a process group that still run; a zombie, which waits to be collected, does not."""
    commands = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                commands.append(" ".join(process.cmdline()))
    return commands


# --- Kafka ------------------------------------------------------------------------------------------------------------


def produce(
    servers: str,
    topic: str,
    values: Iterable[bytes | str | None],
    keys: Iterable[bytes | str | None] | None = None,
    headers: dict[str, str | bytes | None] | None = None,
) -> None:
    """Send messages, and wait until Kafka has them."""
    failures: list[object] = []
    settings = {"bootstrap.servers": servers, "enable.idempotence": True, "log_level": 0, "linger.ms": 5}
    producer = Producer(settings | {"message.max.bytes": MESSAGE_MAX_BYTES})
    values = list(values)
    for key, value in zip(keys or [None] * len(values), values, strict=True):
        producer.produce(
            topic, value, key, headers=headers, on_delivery=lambda error, _: failures.append(error) if error else None
        )
        producer.poll(0)
    assert producer.flush(WAIT_SECONDS) == 0
    assert not failures


def messages(servers: str, topic: str, enough: Callable[[list[Message]], bool] | int, seconds: float = WAIT_SECONDS):
    """Return what a topic holds, in the order of each partition, as soon as it is enough: a number, or a condition."""
    satisfied = enough if callable(enough) else lambda found: len(found) >= enough
    settings = {"bootstrap.servers": servers, "group.id": "bystander", "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer(settings | {"fetch.queue.backoff.ms": 10})
    found: list[Message] = []
    deadline = time.monotonic() + seconds
    try:
        partitions = consumer.list_topics(topic, timeout=WAIT_SECONDS).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        while not satisfied(found):
            assert time.monotonic() < deadline, f"{len(found)} messages in {topic} after {seconds:g} s"
            found += [message for message in consumer.consume(5000, 0.1) if not message.error()]
    finally:
        consumer.close()
    return found


def count(servers: str, topic: str) -> int:
    """Return how many offsets a topic has given out: its messages, where no transaction left marks."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bystander", "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=WAIT_SECONDS).topics[topic].partitions
        return sum(
            consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=WAIT_SECONDS)[1]
            for number in partitions
        )
    finally:
        consumer.close()


def committed(servers: str, group: str, topic: str) -> int:
    """Return the sum of a group's committed offsets: how many messages of a topic it has done with."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=WAIT_SECONDS).topics[topic].partitions
        wanted = [TopicPartition(topic, number) for number in partitions]
        return sum(max(0, where.offset) for where in consumer.committed(wanted, timeout=WAIT_SECONDS))
    except KafkaException:
        return 0
    finally:
        consumer.close()


def headers_of(message: Message) -> dict[str, str]:
    return {name: (value or b"").decode("utf-8") for name, value in message.headers() or []}  # pyright: ignore[reportAttributeAccessIssue]


def admin_of(servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": servers, "log_level": 0})
