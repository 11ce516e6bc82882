"""Finds the answer to a task, among new results and among old ones."""

import time
import zlib
from contextlib import closing

from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from common.iris_dto import Result
from common.kafka.connection import Connection, base_config, check_reader, reader_config
from common.kafka.offsets import at_end, edges, place
from common.kafka.topics import RESULTS, partition_count
from common.results.store import ResultStore
from common.settings import load_settings
from common.terminal import show

LATEST = 100_000  # results of one partition in which an old answer is looked for
LOOK_UP_SECONDS = 5.0  # longest time for it


def own_result(message: Message | None, task_id: str) -> Result | None:
    """Return the result in a message if it belongs to this task."""
    if message is None or message.error() or task_id.encode() not in (message.value() or b""):
        return None
    try:
        result = Result.model_validate_json(message.value() or b"")
    except ValidationError:
        return None
    return result if result.task_id == task_id else None


def show_result(result: Result) -> str:
    """Return what a person sees of a result: the iris type, or why there is none."""
    if result.y:
        return show(result.y)
    return f"error: {result.error.message or result.error.code}" if result.error else ""


def show_existing(task_id: str, connection: Connection) -> bool:
    """Show the answer that a task has by now, or say that it has none; return whether it has one."""
    result = find_result(task_id, connection)
    if result:
        print(show_result(result))
    else:
        print("No answer yet. Type the measurement again to send it again with the same id.", flush=True)
    return result is not None


def find_result(task_id: str, connection: Connection) -> Result | None:
    """Return the answer that a task has by now: from the persister's store, or else from the topic `results`.

    A prediction is preferred to an error, which may belong to an earlier try with the same id.
    """
    stored = _stored(task_id)
    if stored and stored.y:
        return stored
    return _published(task_id, connection) or stored


def _stored(task_id: str) -> Result | None:
    database = load_settings().database
    if not database.exists():
        return None
    with ResultStore(database) as store:
        value = store.find(task_id)
    return Result.model_validate_json(value) if value else None


def _published(task_id: str, connection: Connection) -> Result | None:
    """Look among the latest results of the partition that an id belongs to: its CRC-32 says which.

    That is how librdkafka's producers choose it, as many partitions as there are now. What is older, or was sent when
    there were fewer partitions, only the store can know: nobody wants to wait until the whole topic has been read.
    """
    admin = AdminClient(base_config(connection))
    count = partition_count(admin, RESULTS)
    number = zlib.crc32(task_id.encode()) % count if count else 0
    low, high = edges(admin, RESULTS, [number])[number] if count else (0, 0)
    found = None
    with closing(Consumer(reader_config(connection) | {"enable.partition.eof": True})) as consumer:
        consumer.assign([TopicPartition(RESULTS, number, max(low, high - LATEST))])
        deadline = time.monotonic() + LOOK_UP_SECONDS
        ended = low == high
        while not ended and time.monotonic() < deadline:
            for message in consumer.consume(5000, 0.1):
                if message.error():
                    check_reader(message)
                    ended = ended or at_end(message)
                    continue
                ended = ended or place(message)[1] >= high - 1
                result = own_result(message, task_id) if message.key() == task_id.encode() else None
                if result and result.y:
                    return result
                found = result or found
    return found
