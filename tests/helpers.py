"""What the tests of several stages share: real programs as a person starts them, and Kafka as a bystander sees it."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,  # pyright: ignore[reportPrivateImportUsage]
    AlterConfigOpType,  # pyright: ignore[reportPrivateImportUsage]
    ConfigEntry,  # pyright: ignore[reportPrivateImportUsage]
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from common import programs
from common.kafka.connection import MESSAGE_MAX_BYTES
from common.programs import CTRL_C, CTRL_D, until

__all__ = ["CTRL_C", "CTRL_D", "until"]

WAIT_SECONDS = 40.0  # for anything that takes a second or two on an idle machine
STOP_SECONDS = 3.0  # every program promises to end within this time
END_SECONDS = 15.0  # for a program that a test leaves behind; afterwards it is killed, and the test fails
TRACEBACK = "Traceback (most recent call last)"

ROW = [5.1, 3.5, 1.4, 0.2]  # cm: a setosa
X = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}  # the same
LINE = "5.1 3.5 1.4 0.2"  # the same
VIRGINICA = "6.3 3.3 6.0 2.5"


class Program(programs.Program):
    """A real program, as a test starts it.

    Args:
        command: its words; a program of ours is `[sys.executable, "-m", module, ...]`.
        environment: all its variables.
        stdin: typed into it, and then the end of the input; None leaves it open for `send_line()`.
        terminal: a person sits at it: a terminal of its own in place of pipes, all output in `output`.
    """

    wait_seconds = WAIT_SECONDS
    last_lines = 40
    may_show_traceback = False  # where a test breaks it on purpose

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        stdin: str | bytes | None = None,
        terminal: bool = False,
    ) -> None:
        super().__init__(command, env=environment, input=stdin, terminal=terminal)

    def leave(self) -> str:
        """End it, in order where possible; return what is wrong with how it ended, an empty string if nothing."""
        self.terminate()
        with suppress(programs.ProgramFailed):
            self.wait(END_SECONDS)
        survivors = self.survivors()
        self.end(0)
        wrong = [f"left behind: {survivors}"] if survivors else []
        if TRACEBACK in self.output + self.errors and not self.may_show_traceback:
            wrong.append("showed a traceback to its user")
        return str(self.failure(", ".join(wrong))) if wrong else ""


# --- Kafka ------------------------------------------------------------------------------------------------------------


def produce(
    servers: str,
    topic: str,
    values: Iterable[bytes | str | None],
    keys: Iterable[bytes | str | None] | None = None,
    headers: dict[str, str | bytes | None] | None = None,
    settings: dict[str, Any] | None = None,
) -> None:
    """Send messages, and wait until Kafka has them; `settings` go over those of the producer."""
    failures: list[object] = []
    usual = {"bootstrap.servers": servers, "enable.idempotence": True, "log_level": 0, "linger.ms": 5}
    producer = Producer(usual | {"message.max.bytes": MESSAGE_MAX_BYTES} | (settings or {}))
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


def set_topic(admin: AdminClient, topic: str, settings: dict[str, str]) -> None:
    """Change settings of a topic."""
    changes = [ConfigEntry(*item, incremental_operation=AlterConfigOpType.SET) for item in settings.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes)
    admin.incremental_alter_configs([resource])[resource].result(timeout=WAIT_SECONDS)
