"""Finds the answer to a task, among new results and among old ones."""

from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from common.iris_dto import Result
from common.kafka.connection import Connection, base_config, reader_config
from common.kafka.offsets import edges
from common.kafka.topics import RESULTS, partition_count
from common.results.store import ResultStore
from common.settings import load_settings
from common.terminal import show


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
    """Read the topic `results` from its beginning to its end."""
    admin = AdminClient(base_config(connection))
    consumer, found = Consumer(reader_config(connection)), None
    try:
        for number, (low, high) in edges(admin, RESULTS, range(partition_count(admin, RESULTS))).items():
            consumer.assign([TopicPartition(RESULTS, number, low)])
            while low < high:
                message = consumer.poll(1.0)
                if message is None:
                    break  # the rest are transaction markers, which are not messages
                result = own_result(message, task_id)
                if result and result.y:
                    return result
                found = result or found
                low = (message.offset() or 0) + 1
    finally:
        consumer.close()
    return found
