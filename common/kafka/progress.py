"""How far a consumer group has come in a topic: what waits in each partition, and who holds it."""

import time
from contextlib import closing
from typing import Any, NamedTuple

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    MemberDescription,  # pyright: ignore[reportPrivateImportUsage]
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from .connection import ANSWER_SECONDS, check_reader, reader_config
from .offsets import edges, place
from .topics import partition_count

HOUR_MS = 3_600_000
NEAR = 0.8  # of the time for which a topic keeps its messages: then it is worth a warning
PEEK_SECONDS = 5.0  # longest wait for the oldest messages


class Partition(NamedTuple):
    """One partition as a group sees it."""

    number: int
    start: int  # offset of the oldest message that Kafka still has
    end: int  # offset that the next message will have
    committed: int | None  # offset of the next message to be done; None before the first is
    member: str | None  # who holds it
    waits: bool = True  # whether a message is behind the committed offset, and not only marks of transactions
    oldest_ms: int | None = None  # when the oldest message that waits was written, Unix time in ms

    @property
    def next(self) -> int:
        """Return the offset at which the group goes on."""
        return max(self.start, self.committed or 0)

    @property
    def lag(self) -> int:
        """Return how many messages wait; marks of transactions among them are counted."""
        return max(0, self.end - self.next) if self.waits else 0


def look(admin: AdminClient, group: str, topic: str) -> list[Partition]:
    """Return the state of each partition; an empty list if there is no such topic."""
    numbers = range(partition_count(admin, topic))
    if not numbers:
        return []
    wanted = [TopicPartition(topic, number) for number in numbers]
    request = ConsumerGroupTopicPartitions(group, wanted)
    asked = admin.list_consumer_group_offsets([request], request_timeout=ANSWER_SECONDS)
    answered = asked[group].result(timeout=ANSWER_SECONDS).topic_partitions or []
    committed = {where.partition: where.offset for where in answered if where.offset >= 0}
    members, found = _members(admin, group, topic), edges(admin, topic, numbers)
    partitions = [Partition(n, *found[n], committed.get(n), members.get(n)) for n in numbers]
    return with_oldest(topic, partitions)


def with_oldest(topic: str, partitions: list[Partition]) -> list[Partition]:
    """Look at the first message behind each committed offset. Where there is none, nothing waits."""
    open_ = {p.number: p for p in partitions if p.lag}
    if not open_:
        return partitions
    found: dict[int, Message | None] = {}
    with closing(Consumer(reader_config() | {"enable.partition.eof": True})) as consumer:
        consumer.assign([TopicPartition(topic, p.number, p.next) for p in open_.values()])
        deadline = time.monotonic() + PEEK_SECONDS
        while found.keys() < open_.keys() and time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is not None:
                check_reader(message)
            if message is not None and (number := message.partition()) in open_:
                found.setdefault(number, None if message.error() else message)
                consumer.pause([TopicPartition(topic, number)])
    return [_with(p, found[p.number]) if p.number in found else p for p in partitions]


def _with(partition: Partition, oldest: Message | None) -> Partition:
    """Add what was found behind the committed offset: a message, or None for the end of the partition."""
    if oldest is None or place(oldest)[1] >= partition.end:
        return partition._replace(waits=False)
    return partition._replace(oldest_ms=oldest.timestamp()[1])


def _members(admin: AdminClient, group: str, topic: str) -> dict[int, str]:
    """Return which member of the group holds which partition."""
    return {
        where.partition: f"{member.client_id} {member.member_id[:8]} at {member.host.lstrip('/')}"
        for member in members(admin, group)
        for where in member.assignment.topic_partitions
        if where.topic == topic
    }


def members(admin: AdminClient, group: str) -> list[MemberDescription]:
    """Return the members of the group; some may hold nothing."""
    try:
        asked = admin.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS)
        return asked[group].result(timeout=ANSWER_SECONDS).members
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:  # nobody has ever been there
            return []
        raise


def written_since(admin: AdminClient, topic: str, since_ms: int) -> int:
    """Return how many messages have been written to a topic since then (Unix time in ms); 0 without a topic."""
    numbers = range(partition_count(admin, topic))
    if not numbers:
        return 0
    spec: Any = OffsetSpec.for_timestamp(since_ms)
    futures = admin.list_offsets(
        {TopicPartition(topic, number): spec for number in numbers}, request_timeout=ANSWER_SECONDS
    )
    first = {where.partition: future.result(timeout=ANSWER_SECONDS).offset for where, future in futures.items()}
    return sum(high - first[number] for number, (_, high) in edges(admin, topic, numbers).items() if first[number] >= 0)


def topic_settings(admin: AdminClient, topic: str) -> dict[str, str]:
    """Return a topic's settings by their name; nothing where Kafka does not let this user see them."""
    resource = ConfigResource(ResourceType.TOPIC, topic)
    try:
        asked: Any = admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)[resource]
        return {name: entry.value for name, entry in asked.result(ANSWER_SECONDS).items()}
    except KafkaException:
        return {}


def hours_left(written_ms: int, settings: dict[str, str]) -> float | None:
    """Return when a message will be deleted by age, in hours; None while most of its time is left, or it is kept."""
    kept_ms, age_ms = int(settings.get("retention.ms", -1)), time.time() * 1000 - written_ms
    return max(0.0, kept_ms - age_ms) / HOUR_MS if 0 < NEAR * kept_ms < age_ms else None
