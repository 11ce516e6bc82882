"""What the measurements share: a broker of their own, and a backlog of tasks in it."""

# pyright: reportPrivateImportUsage=false

import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from unittest import mock

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
    ResourceType,
)

from common.embedded_kafka import EmbeddedKafka
from common.iris_dto import Measurement, Task
from common.kafka.connection import reader_config
from common.kafka.offsets import edges
from common.kafka.topics import TASKS, create_topics, partition_count
from common.programs import until

ADMIN_SECONDS = 30.0  # longest wait for an answer of the broker


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
        found = edges(self.admin, topic, range(partition_count(self.admin, topic)))
        return {number: high for number, (_, high) in found.items()}

    def empty(self, topic: str) -> None:
        """Delete what is in a topic."""
        before = [TopicPartition(topic, number, end) for number, end in self.ends(topic).items()]
        for future in self.admin.delete_records(before, operation_timeout=ADMIN_SECONDS).values():
            future.result(timeout=ADMIN_SECONDS)

    def forget(self, group: str) -> None:
        """Make a group begin anew: delete its committed offsets. Its members must have ended."""
        until(lambda: self._forgotten(group), ADMIN_SECONDS, f"no member left in {group}")

    def _forgotten(self, group: str) -> bool:
        try:
            future = self.admin.delete_consumer_groups([group], request_timeout=ADMIN_SECONDS)[group]
            future.result(timeout=ADMIN_SECONDS)
        except KafkaException as error:  # a member that was killed is in the group until its session ends
            return error.args[0].name() == "GROUP_ID_NOT_FOUND"
        return True

    def messages(self, topic: str) -> int:
        """Count the messages of a topic by reading it: transaction markers and aborted messages are none."""
        config = reader_config() | {"bootstrap.servers": self.servers, "enable.partition.eof": True}
        with closing(Consumer(config)) as consumer:
            left = set(self.ends(topic))
            consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in left])
            count, deadline = 0, time.monotonic() + ADMIN_SECONDS
            while left and time.monotonic() < deadline:
                for message in consumer.consume(10_000, 0.1):
                    count += not message.error()
                    if message.error():
                        left.discard(message.partition() or 0)
            return count

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
    with (
        EmbeddedKafka(brokers) as embedded,
        mock.patch.dict(os.environ, {"KAFKA_BOOTSTRAP_SERVERS": embedded.bootstrap_servers}),
    ):
        broker = Kafka(embedded.bootstrap_servers, [embedded.pid(i) for i in embedded.ids])
        broker.create_topics(partitions)
        broker.forget("nobody's")  # makes Kafka find who keeps the groups: the first commit need not wait for it
        yield broker


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
