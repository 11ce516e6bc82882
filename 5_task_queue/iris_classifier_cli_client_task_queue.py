"""Stage 5, the client: stage 4's prompt, and each client gets its own results. It reads input, validates and shows.

Unlike stage 4, the client of the message queue:
- a task is signed with an id, a UUID4, and the result with this id is the answer to it;
- so it can wait for its own answer, with a deadline, and after giving up ask again with the same id.

Run: python -m 5_task_queue.iris_classifier_cli_client_task_queue
"""

import time
import uuid
from typing import Self

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from common.iris_dto import InvalidMeasurement, Measurement, Result, Task, validate
from common.kafka.connection import Connection, base_config, connect, producer_config, reader_config, run_with_kafka
from common.kafka.offsets import assign_at_end, edges
from common.kafka.topics import DEADLINE_HEADER, RESULTS, TASKS, create_topics, partition_count
from common.results.store import ResultStore
from common.settings import load_settings
from common.terminal import ArgumentParser, read_lines, show

TOO_LATE = "deadline-passed"  # a worker's error for a task that nobody waits for any more


class NoAnswer(Exception):
    """No answer in time; the message is a line for the person who asked."""


class TaskClient:
    """Sends tasks and finds their results."""

    def __init__(self, connection: Connection | None = None) -> None:
        self._partitions = 0
        self._admin = AdminClient(base_config(connection))
        self._producer = Producer(producer_config(connection))
        self._consumer = Consumer(reader_config(connection))

    def position(self) -> None:
        """Start reading results here, unless it reads them already. Called before sending, no answer can be missed."""
        partitions = partition_count(self._admin, RESULTS)
        if partitions != self._partitions:  # the first time, and where partitions have been added
            assign_at_end(self._consumer, RESULTS, self._admin)
            self._partitions = partitions

    def predict(self, measurement: Measurement, task_id: str, timeout_seconds: float) -> Result:
        """Send a task and wait for the result that carries its id.

        Raises:
            NoAnswer: none came in time.
        """
        deadline = time.monotonic() + timeout_seconds
        deadline_ms = int((time.time() + timeout_seconds) * 1000)
        value = Task(task_id=task_id, X=measurement).model_dump_json()
        self._producer.produce(TASKS, value, key=task_id, headers={DEADLINE_HEADER: str(deadline_ms)})
        while (left := deadline - time.monotonic()) > 0:
            self._producer.poll(0)
            result = to_result(self._consumer.poll(min(left, 0.5)), task_id)
            if result and not (result.error and result.error.code == TOO_LATE):  # of an earlier try with this id
                return result
        self._producer.purge()
        raise NoAnswer(
            f"No answer within {timeout_seconds:g} s. Is a worker running? Ask again with --task-id {task_id}"
        )

    def find(self, task_id: str) -> Result | None:
        """Return the answer that exists already, in the persister's store or else in the topic `results`.

        A prediction is preferred to an error, which may be of an earlier try with the same id.
        """
        found = None
        database = load_settings().database
        if database.exists():
            with ResultStore(database) as store:
                value = store.find(task_id)
            found = Result.model_validate_json(value) if value else None
            if found and found.y:
                return found
        numbers = range(partition_count(self._admin, RESULTS))
        for number, (low, high) in edges(self._admin, RESULTS, numbers).items():
            self._consumer.assign([TopicPartition(RESULTS, number, low)])
            while low < high:
                message = self._consumer.poll(1.0)
                if message is None:
                    break  # the rest are transaction markers, which are no messages
                result = to_result(message, task_id)
                if result and result.y:
                    return result
                found = result or found
                low = (message.offset() or 0) + 1
        self._partitions = 0  # it no longer reads where position() has left it
        return found

    def close(self) -> None:
        """Close both connections."""
        self._producer.flush(0)
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def to_result(message: Message | None, task_id: str) -> Result | None:
    """Return the result in a message if it is this task's."""
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


def main(argv: list[str] | None = None) -> int:
    """Send one task per line and show its own result, until `q`."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers", "database")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="longest wait for an answer, seconds")
    parser.add_argument("--task-id", metavar="ID", help="ask again: show the answer that this task has by now")
    args = parser.parse_args(argv)

    connection = Connection()
    create_topics(connect())
    task_id = args.task_id
    with TaskClient(connection) as client:
        if task_id:
            result = client.find(task_id)
            if result:
                print(show_result(result))
                return 0
            print("No answer yet. Type the measurement again to send it again with the same id.", flush=True)
        for words in read_lines():  # 2. read input
            try:
                measurement = validate(words)  # 3. validate
                client.position()
                result = client.predict(measurement, task_id or str(uuid.uuid4()), args.timeout)  # 4. predict: a worker
            except (InvalidMeasurement, NoAnswer) as error:
                print(error, flush=True)
                continue
            except KafkaException as error:
                print(f"Kafka does not answer ({error.args[0].str()}). Try again in a moment.", flush=True)
                continue
            connection.answered()
            task_id = None
            print(show_result(result), flush=True)  # 5. show
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
