"""What the measurements share: a broker of their own, a backlog of tasks, programs to watch, figures to keep."""

# pyright: reportPrivateImportUsage=false

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, NamedTuple

import psutil
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from common.embedded_kafka import EmbeddedKafka
from common.embedded_kafka.jars import KAFKA
from common.iris_dto import Measurement, Task
from common.kafka.topics import TASKS, create_topics

ROOT = Path(__file__).resolve().parents[1]
RESULTS_DIR = Path(__file__).parent / "results"
LIBRARIES = ("scikit-learn", "numpy", "pydantic", "msgspec", "confluent-kafka", "fastapi", "uvicorn")
ADMIN_SECONDS = 30.0  # longest wait for an answer of the broker
LOOK_SECONDS = 0.02  # between two looks at how far a program has come
STOP_SECONDS = 15.0  # longest wait for a program to end after SIGTERM


# --- the broker and what is in it -------------------------------------------------------------------------------------


class Kafka:
    """The broker of a measurement, and what is asked of it."""

    def __init__(self, servers: str, pids: Iterable[int] = ()) -> None:
        self.servers = servers
        self._processes = [psutil.Process(pid) for pid in pids]
        self.admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})

    def cpu(self) -> float:
        """Return the processor time that the brokers have used, in seconds."""
        return sum(sum(process.cpu_times()[:2]) for process in self._processes)

    def committed(self, group: str, topic: str = TASKS, since: dict[int, int] | None = None) -> int:
        """Return how many messages of a topic a group has done: its committed offsets, summed up.

        `since` has the offset per partition from which to count, where that is not 0.
        """
        request = ConsumerGroupTopicPartitions(group)
        try:
            future = self.admin.list_consumer_group_offsets([request], request_timeout=ADMIN_SECONDS)[group]
            found = future.result(timeout=ADMIN_SECONDS).topic_partitions or []
        except KafkaException:  # nobody has joined the group yet
            return 0
        since = since or {}
        return sum(max(0, w.offset - since.get(w.partition, 0)) for w in found if w.topic == topic)

    def end(self, topic: str) -> int:
        """Return how many messages have been written to a topic, transaction markers included."""
        return sum(self.ends(topic).values())

    def ends(self, topic: str) -> dict[int, int]:
        """Return per partition the offset behind its last message."""
        partitions = self.admin.list_topics(topic, timeout=ADMIN_SECONDS).topics[topic].partitions
        request: dict[TopicPartition, Any] = {
            TopicPartition(topic, number): OffsetSpec.latest() for number in partitions
        }
        futures = self.admin.list_offsets(request, request_timeout=ADMIN_SECONDS)
        return {where.partition: future.result(timeout=ADMIN_SECONDS).offset for where, future in futures.items()}

    def empty(self, topic: str) -> None:
        """Delete what is in a topic."""
        before = [TopicPartition(topic, number, end) for number, end in self.ends(topic).items()]
        for future in self.admin.delete_records(before, operation_timeout=ADMIN_SECONDS).values():
            future.result(timeout=ADMIN_SECONDS)

    def forget(self, group: str) -> None:
        """Make a group begin anew: delete its committed offsets. Its members must have ended."""
        deadline = time.monotonic() + ADMIN_SECONDS
        while time.monotonic() < deadline:
            try:
                future = self.admin.delete_consumer_groups([group], request_timeout=ADMIN_SECONDS)[group]
                future.result(timeout=ADMIN_SECONDS)
                return
            except KafkaException as error:
                if error.args[0].name() == "GROUP_ID_NOT_FOUND":
                    return
                time.sleep(0.2)  # a member that was killed is in the group until its session ends
        raise TimeoutError(f"The group {group} still has members.")

    def messages(self, topic: str) -> int:
        """Count the messages of a topic by reading it: transaction markers and aborted messages are none."""
        settings = {"group.id": "bench-count", "enable.auto.commit": False, "enable.partition.eof": True}
        consumer = Consumer({"bootstrap.servers": self.servers, "isolation.level": "read_committed"} | settings)
        try:
            left = set(self.ends(topic))
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in left])
            count, deadline = 0, time.monotonic() + ADMIN_SECONDS
            while left and time.monotonic() < deadline:
                for message in consumer.consume(10_000, 0.1):
                    count += not message.error()
                    if message.error():
                        left.discard(message.partition() or 0)
            return count
        finally:
            consumer.close()

    def set_group(self, group: str, settings: dict[str, str]) -> None:
        """Change settings that the broker keeps for a consumer group."""
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result(timeout=ADMIN_SECONDS)

    def create_topics(self, partitions: int) -> None:
        """Create the stage's topics, or grow them."""
        create_topics(self.admin, partitions)

    def new_topic(self, topic: str, partitions: int) -> None:
        """Create a topic of a reference."""
        self.admin.create_topics([NewTopic(topic, partitions, -1)])[topic].result(timeout=ADMIN_SECONDS)


@contextmanager
def kafka(brokers: int = 1, partitions: int = 4) -> Iterator[Kafka]:
    """Start a broker or a cluster of our own, with the stage's topics, and point the stages' settings at it."""
    before = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    with EmbeddedKafka(brokers) as embedded:
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = embedded.bootstrap_servers
        try:
            broker = Kafka(embedded.bootstrap_servers, [embedded.pid(i) for i in embedded.ids])
            broker.create_topics(partitions)
            yield broker
        finally:
            os.environ.pop("KAFKA_BOOTSTRAP_SERVERS", None)
            if before is not None:
                os.environ["KAFKA_BOOTSTRAP_SERVERS"] = before


def measurements(count: int) -> Iterator[Measurement]:
    """Yield measurements in cm that are near those of the real flowers, the same ones every time."""
    flowers = [
        Measurement(
            sepal_length=round(4.6 + i % 23 * 0.1, 1),
            sepal_width=round(2.4 + i % 14 * 0.1, 1),
            petal_length=round(1.2 + i % 47 * 0.1, 1),
            petal_width=round(0.2 + i % 22 * 0.1, 1),
        )
        for i in range(1000)
    ]
    for i in range(count):
        yield flowers[i % len(flowers)]


def tasks(count: int) -> Iterator[tuple[str, bytes]]:
    """Yield task ids and task messages as the stage's client makes them."""
    for measurement in measurements(count):
        task_id = str(uuid.uuid4())
        yield task_id, Task(task_id=task_id, X=measurement).model_dump_json().encode("utf-8")


def fill(servers: str, topic: str, messages: Iterable[tuple[str, bytes]]) -> int:
    """Write messages (key, value) to a topic, and return how many."""
    producer = Producer(
        {"bootstrap.servers": servers, "linger.ms": 20, "batch.size": 1_000_000, "delivery.report.only.error": True}
    )
    count = 0
    for count, (key, value) in enumerate(messages, 1):  # noqa: B007
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.05)
    if producer.flush(120):
        raise TimeoutError(f"The broker does not take the messages for {topic}.")
    return count


# --- programs ---------------------------------------------------------------------------------------------------------


class Program:
    """A child process that is measured: its processor time, its greatest memory. What it prints goes to a file."""

    def __init__(
        self,
        module: str,
        *arguments: object,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.started = time.perf_counter()
        # Files, not pipes: a pipe that nobody reads fills up. They are gone when the program is forgotten.
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | (settings or {}),
            stdin=stdin,
            stdout=self._output if stdout is None else stdout,
            stderr=self._errors,
            text=True,
        )
        self.peak_mb = 0.0
        self._said: tuple[str, str] | None = None  # once it has ended
        self._watched = psutil.Process(self.process.pid)

    def printed(self) -> str:
        """Return what it has printed so far."""
        return self._said[0] if self._said else _read(self._output)

    @property
    def running(self) -> bool:
        """Tell whether it has not ended."""
        return self.process.poll() is None

    def look(self) -> float:
        """Take note of its memory; return the processor time that it has used, in seconds."""
        try:
            status = Path(f"/proc/{self.process.pid}/status")
            if status.exists():  # Linux knows the peak; elsewhere it is the greatest that we have seen
                peak = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM")), "VmHWM: 0")
                self.peak_mb = max(self.peak_mb, int(peak.split()[1]) / 1024)
            else:
                self.peak_mb = max(self.peak_mb, self._watched.memory_info().rss / 2**20)
            used = self._watched.cpu_times()
            return used.user + used.system
        except (psutil.Error, OSError):
            return 0.0

    def end(self) -> str:
        """Ask it to end, wait, and return what it has printed."""
        if self.running:
            self.look()
            self.process.send_signal(signal.SIGTERM)
        return self.wait(STOP_SECONDS)

    def wait(self, seconds: float) -> str:
        """Wait until it ends, and return what it has printed.

        Raises:
            RuntimeError: it has failed.
            TimeoutError: it has not ended in time, and has been killed.
        """
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"{self.process.args} has not ended in {seconds:g} s.") from None
        said = self._forget_files()
        if self.process.returncode not in (0, -signal.SIGTERM, -signal.SIGKILL):
            raise RuntimeError(f"{self.process.args}: {' '.join(said)}")
        return said[0]

    def kill(self) -> None:
        """End it at once, with SIGKILL."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)
        self._forget_files()

    def _forget_files(self) -> tuple[str, str]:
        if self._said is None:
            self._said = _read(self._output), _read(self._errors)
            self._output.close()
            self._errors.close()
        return self._said


def _read(file: IO[str]) -> str:
    """Return a file's text without moving its position, which the child shares."""
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode("utf-8", errors="replace")


def wait_for_text(programs: Sequence[Program], enough: Callable[[list[str]], bool], seconds: float = 60.0) -> None:
    """Wait until what the programs have printed so far, one text each, is enough."""
    deadline = time.monotonic() + seconds
    while not enough([program.printed() for program in programs]):
        if time.monotonic() > deadline or not all(program.running for program in programs):
            said = "\n".join(program.end() for program in programs)
            raise TimeoutError(f"Not ready after {seconds:g} s: {programs[0].process.args}\n{said}")
        time.sleep(0.02)


def wait_for_line(program: Program, text: str, seconds: float = 60.0) -> float:
    """Wait until a program has printed this text; return the seconds since its start."""
    wait_for_text([program], lambda texts: text in texts[0], seconds)
    return time.perf_counter() - program.started


@dataclass
class Measured:
    """The work of a program in its steady window."""

    rate: float  # tasks per second
    cpu_us: float  # processor time per task, microseconds
    broker_us: float  # the brokers' processor time per task, microseconds; 0 where it was not asked for
    peak_mb: float  # greatest memory
    tasks: int  # done within the window
    seconds: float  # length of the window


class _Look(NamedTuple):
    """What was seen at a moment: seconds on the clock, tasks done, processor time of the program and the brokers."""

    time: float
    done: int
    cpu: float
    brokers: float

    def to(self, end: "_Look", peak_mb: float) -> Measured:
        """Return what was done from this look to a later one."""
        work, seconds = end.done - self.done, end.time - self.time
        used, brokers = end.cpu - self.cpu, end.brokers - self.brokers
        return Measured(work / seconds, 1e6 * used / work, 1e6 * brokers / work, peak_mb, work, seconds)


def watch(
    program: Program, done: Callable[[], int], total: int, seconds: float, broker: Kafka | None = None
) -> Measured:
    """Follow a program's work and measure its steady window, the same way for every program.

    `done()` tells how many tasks are finished. The window opens when 10 % of the total are, or a second after the
    first; it closes at 90 %, or after so many seconds. It opens and closes as a batch is finished, never within one.
    Where all is done in one batch, the window is that batch.
    """
    begin = time.perf_counter()
    opened: _Look | None = None
    last = _Look(begin, 0, program.look(), broker.cpu() if broker else 0.0)
    while (now := time.perf_counter()) < begin + seconds + 60 and program.running:
        count = done()
        look = _Look((now + time.perf_counter()) / 2, count, program.look(), broker.cpu() if broker else 0.0)
        if count > last.done:
            if not last.done:
                begin = look.time  # of the first batch
            if opened is None and (count >= total * 0.1 or look.time - begin > 1):
                opened = look if count < total * 0.9 else last
            if opened and look.done > opened.done and (count >= total * 0.9 or look.time - opened.time > seconds):
                return opened.to(look, program.peak_mb)
            last = look
        elif count == last.done:
            last = look if not count else last  # nothing finished yet: the first batch begins later
            if opened and last.done > opened.done and look.time - opened.time > seconds:
                return opened.to(last, program.peak_mb)
        time.sleep(LOOK_SECONDS)
    raise TimeoutError(f"No work done: {program.process.args}\n{program.end()}")


# --- figures ----------------------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures; nothing that names the machine."""
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "kafka": KAFKA.rpartition(":")[2],
        "libraries": libraries,
    }


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return median, least and greatest of repeated measurements, and how many there were."""
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
        "repeats": len(values),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share (0 to 1) of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def save(module: str, argv: Sequence[str] | None, figures: dict[str, Any], folder: Path | None = None) -> Path:
    """Write a measurement's JSON, with the command that made it and the machine that it was made on."""
    path = (folder or RESULTS_DIR) / f"{module}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    words = list(sys.argv[1:] if argv is None else argv)
    while "--out" in words:  # a folder of the reader's machine
        at = words.index("--out")
        del words[at : at + 2]
    record = {"command": " ".join([f"python -m benchmarks.{module}", *words]), "machine": machine()} | figures
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"Written: {path.name}", flush=True)
    return path


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, str) else number(cell) for cell in row))
    console = Console()
    console.width = max(console.width, 110)  # piped, it would be 80
    console.print(table)


def number(value: object) -> str:
    """Return a number with as many digits as a reader needs: 687 000, 12.3, 0.41."""
    if value is None:
        return "-"
    if not isinstance(value, int | float):
        return str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"
