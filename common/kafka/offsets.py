"""Where messages stand: offsets and partitions."""

from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]
)

from .connection import ANSWER_SECONDS, base_config
from .topics import partition_count


def edges(admin: AdminClient, topic: str, numbers: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Return, per partition, the offset of its first message and the one after its last.

    A consumer could answer as well, but only after its open fetch: half a second per partition.

    Raises:
        KafkaException: Kafka does not answer in time.
    """
    wanted = [TopicPartition(topic, number) for number in numbers]
    try:
        return _edges(admin, wanted)
    except KafkaException:  # the client may have outdated leaders, and does not refresh them by itself
        admin.list_topics(timeout=ANSWER_SECONDS)
        return _edges(admin, wanted)


def _edges(admin: AdminClient, wanted: list[TopicPartition]) -> dict[int, tuple[int, int]]:
    answers = [
        admin.list_offsets(dict.fromkeys(wanted, spec), request_timeout=ANSWER_SECONDS)  # pyright: ignore
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
    ]
    low, high = ({where.partition: f.result().offset for where, f in futures.items()} for futures in answers)
    return {number: (low[number], high[number]) for number in low}


def assign_at_end(consumer: Consumer, topic: str, admin: AdminClient | None = None) -> None:
    """Position a reader after the last message of every partition; it is in place when this returns.

    A reader that merely subscribes at `latest` finds its position some time later, and misses what comes before.
    """
    admin = AdminClient(base_config()) if admin is None else admin  # a client with an empty queue is falsy
    ends = edges(admin, topic, range(partition_count(admin, topic)))
    consumer.assign([TopicPartition(topic, number, high) for number, (_, high) in ends.items()])


def place(message: Message) -> tuple[int, int]:
    """Return partition and offset, which every message that was consumed has."""
    return message.partition(), message.offset()  # pyright: ignore[reportReturnType]


def next_offsets(messages: list[Message]) -> dict[int, int]:
    """Return, per partition, the offset after the last of these messages, which are in order within a partition."""
    last = dict(zip(map(Message.partition, messages), map(Message.offset, messages), strict=True))
    return {number: offset + 1 for number, offset in last.items()}  # pyright: ignore
