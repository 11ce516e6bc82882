"""Where messages stand: offsets and partitions."""

import math
import time
from collections.abc import Iterable
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]
)

from .connection import ANSWER_SECONDS, base_config, check_reader
from .topics import partition_count

LOOK_SECONDS = 1.0  # from one look for new partitions to the next


def edges(admin: AdminClient, topic: str, numbers: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Return, per partition, the offset of its first message and the one after its last.

    A consumer could answer as well, but only after its open fetch: half a second per partition.

    Raises:
        KafkaException: Kafka does not answer in time.
    """
    wanted = [TopicPartition(topic, number) for number in numbers]
    try:
        return _edges(admin, wanted)
    except KafkaException as error:
        if error.args[0].code() == KafkaError._TIMED_OUT:  # a client whose broker was away may wait for ever
            return _edges(AdminClient(base_config()), wanted)
        admin.list_topics(timeout=ANSWER_SECONDS)  # it may have outdated leaders, and does not refresh them by itself
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


class Tail:
    """Reads what comes into a topic from now on, in partitions that are added meanwhile as well."""

    def __init__(self, consumer: Consumer, topic: str, admin: AdminClient) -> None:
        self._consumer, self._topic, self._admin = consumer, topic, admin
        self._next: dict[int, int] = {}  # per partition the offset of the next message
        self._looked = self._read = -math.inf  # for new partitions; for a message. On the monotonic clock

    def go_to_end(self, idle_seconds: float = 0.0) -> None:
        """Pass over what is there already, unless the topic has been read until `idle_seconds` ago.

        Raises:
            KafkaException: Kafka does not answer in time.
        """
        count = partition_count(self._admin, self._topic)
        if time.monotonic() - self._read >= idle_seconds or count != len(self._next):
            ends = edges(self._admin, self._topic, range(count))
            self._go_to({number: high for number, (_, high) in ends.items()})

    def poll(self, seconds: float) -> Message | None:
        """Return the next message, or None if there is none in time. Raises ProgramError if it may not read."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._add_new(seconds)
        message = self._consumer.poll(seconds)
        self._read = time.monotonic()
        if message is not None and not message.error():
            number, offset = place(message)
            self._next[number] = offset + 1
        elif message is not None:
            check_reader(message)
        return message

    def _add_new(self, seconds: float) -> None:
        """Read partitions that have been added, from their beginning."""
        self._looked = time.monotonic()
        with suppress(KafkaException):  # Kafka is away
            count = partition_count(self._admin, self._topic, seconds)
            if count > len(self._next):
                self._go_to({number: self._next.get(number, 0) for number in range(count)})

    def _go_to(self, places: dict[int, int]) -> None:
        self._next = places
        self._consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in places.items()])

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()


def place(message: Message) -> tuple[int, int]:
    """Return partition and offset, which every message that was consumed has."""
    return message.partition(), message.offset()  # pyright: ignore[reportReturnType]


def at_end(message: Message) -> bool:
    """Return whether this is not a message but the end of a partition (with `enable.partition.eof`)."""
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF


def next_offsets(messages: list[Message]) -> dict[int, int]:
    """Return, per partition, the offset after the last of these messages, which are in order within a partition."""
    last = dict(zip(map(Message.partition, messages), map(Message.offset, messages), strict=True))
    return {number: offset + 1 for number, offset in last.items()}  # pyright: ignore
