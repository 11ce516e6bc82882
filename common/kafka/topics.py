"""The topics: their names, how long and how large, and how they are created."""

import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,  # pyright: ignore[reportPrivateImportUsage]
    ConfigEntry,  # pyright: ignore[reportPrivateImportUsage]
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    NewPartitions,  # pyright: ignore[reportPrivateImportUsage]
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from common.errors import ProgramError

from .connection import ANSWER_SECONDS, DEAD_LETTER_MAX_BYTES, MESSAGE_MAX_BYTES
from .names import named
from .refusals import raise_if_forbidden

TASKS = named("tasks")
RESULTS = named("results")
DEAD_LETTER = named("tasks.dead-letter")
# Only stage 5 makes these two, with a partition each: ids of tasks that nobody wants any more, and what workers do
CANCELLED, EVENTS = named("tasks.cancelled"), named("tasks.events")
STAGE_5 = (CANCELLED, EVENTS)
# On a task: after how many milliseconds nobody waits for its result. Older clients say it as Unix time in milliseconds.
TIMEOUT_HEADER, DEADLINE_HEADER = "timeout-ms", "deadline-ms"
REQUEST_HEADER = "request-id"  # on a task: the HTTP request that it came with
# A message carries the time at which the broker has appended it: one clock for all, whoever sends.
TIMESTAMPS = {"message.timestamp.type": "LogAppendTime"}

ADMIN_SECONDS = 30.0  # longest wait for the broker to make a topic
FASTER = (KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.INVALID_PARTITIONS)  # another program has just done it
UNHEARD = (KafkaError._TRANSPORT, KafkaError._TIMED_OUT)  # the connection has ended before the answer
DAY_MS = 24 * 60 * 60 * 1000
RETENTION_MS = {TASKS: 7 * DAY_MS, RESULTS: DAY_MS, DEAD_LETTER: 28 * DAY_MS, CANCELLED: 7 * DAY_MS, EVENTS: DAY_MS}


def create_topics(admin: AdminClient, partitions: int = 1, also: Iterable[str] = ()) -> dict[str, int]:
    """Create the three topics, or grow `tasks` and `results` to this many partitions; never shrink or change others.

    `also`: others to create, with one partition each.

    Returns: the number of partitions of each topic that was created or grown.

    Raises:
        ProgramError: the broker refuses; the message says why.
    """
    wanted = {TASKS: partitions, RESULTS: partitions, DEAD_LETTER: 1} | dict.fromkeys(also, 1)
    existing = _counts(admin)
    new = [new_topic(name, count) for name, count in wanted.items() if name not in existing]
    small = [NewPartitions(name, count) for name, count in wanted.items() if existing.get(name, count) < count]
    futures = admin.create_topics(new, operation_timeout=ADMIN_SECONDS) if new else {}
    futures |= admin.create_partitions(small, operation_timeout=ADMIN_SECONDS) if small else {}
    done = {}
    for name, future in futures.items():
        try:
            future.result(timeout=ADMIN_SECONDS)
            done[name] = wanted[name]
        except KafkaException as error:
            if error.args[0].code() not in FASTER + UNHEARD:
                raise_if_forbidden(error.args[0], f"to make the topic {name}, and it is not there")
                raise ProgramError(f"Kafka does not make the topic {name}: {error.args[0].str()}") from None
    deadline = time.monotonic() + ADMIN_SECONDS
    while any(_counts(admin).get(name, 0) < wanted[name] for name in futures):  # brokers learn of it one by one
        if time.monotonic() > deadline:
            raise ProgramError(f"Kafka has not made its topics within {ADMIN_SECONDS:g} s.")
        time.sleep(0.05)
    return done


def _counts(admin: AdminClient) -> dict[str, int]:
    """Return how many partitions each topic has."""
    return {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=ANSWER_SECONDS).topics.items()}


def use_broker_clock(admin: AdminClient, topic: str) -> str:
    """Have messages carry the time at which the broker appends them; return why not, an empty string if they do."""
    changes = [ConfigEntry(*item, incremental_operation=AlterConfigOpType.SET) for item in TIMESTAMPS.items()]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes)
    try:
        admin.incremental_alter_configs([resource])[resource].result(timeout=ADMIN_SECONDS)
    except KafkaException as error:
        return error.args[0].str()
    return ""


def new_topic(name: str, partitions: int) -> NewTopic:
    """Describe a topic. Its copies are left to the broker: 1 on one broker, 3 on three."""
    size = DEAD_LETTER_MAX_BYTES if name == DEAD_LETTER else MESSAGE_MAX_BYTES
    return NewTopic(
        name,
        num_partitions=partitions,
        replication_factor=-1,
        config={"retention.ms": str(RETENTION_MS[name]), "max.message.bytes": str(size)} | TIMESTAMPS,
    )


def partition_count(client: Any, topic: str, seconds: float = ANSWER_SECONDS) -> int:
    """Return how many partitions a topic has, 0 if it does not exist; wait this long at most for the answer.

    Raises:
        ProgramError: it may not be seen.
    """
    found = client.list_topics(topic, timeout=seconds).topics[topic]
    raise_if_forbidden(found.error, f"the topic {topic}")
    return len(found.partitions)
