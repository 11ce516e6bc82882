"""Stage 5, the client: stage 4's prompt, and each client gets its own results. It reads input, validates and shows.

Unlike stage 4, the client of the message queue:
- a task is signed with an id, a UUID4, and the result with this id is the answer to it;
- so it can wait for its own answer, with a deadline, and after giving up ask again with the same id.

Run: python -m 5_task_queue.iris_classifier_cli_client_task_queue
"""

import time
import uuid
from contextlib import closing

from confluent_kafka import Consumer, KafkaException, Producer

from common.iris_dto import InvalidMeasurement, Measurement, Result, Task, validate
from common.kafka.connection import Connection, connect, producer_config, reader_config, run_with_kafka
from common.kafka.delivery import ends_after, raise_if_refused
from common.kafka.offsets import Tail
from common.kafka.refusals import raise_if_forbidden
from common.kafka.topics import RESULTS, TASKS, create_topics
from common.terminal import ArgumentParser, read_lines

from .client.results import own_result, show_existing, show_result

TOO_LATE = "deadline-passed"  # a worker's error for a task that nobody waits for any more
IDLE_SECONDS = 1.0  # after which results that have come meanwhile are passed over instead of read


class NoAnswer(Exception):
    """No answer in time; the message is a line for the person who asked."""


class TaskClient:
    """Sends tasks and finds their results."""

    def __init__(self, connection: Connection | None = None) -> None:
        self._producer = Producer(producer_config(connection))
        self._results = Tail(Consumer(reader_config(connection)), RESULTS, connect())

    def position(self) -> None:
        """Read results from here on. Called before anything is sent: no answer can be missed."""
        self._results.go_to_end(IDLE_SECONDS)

    def predict(self, measurement: Measurement, task_id: str, timeout_seconds: float) -> Result:
        """Send a task and wait for the result that carries its id.

        Raises:
            NoAnswer: none came in time.
        """
        deadline, why = time.monotonic() + timeout_seconds, "Is a worker running?"
        value = Task(task_id=task_id, X=measurement).model_dump_json()
        self._producer.produce(TASKS, value, task_id, headers=ends_after(timeout_seconds), on_delivery=raise_if_refused)
        while (left := deadline - time.monotonic()) > 0:
            self._producer.poll(0)
            result = own_result(self._results.poll(min(left, 0.5)), task_id)
            if result and result.error and result.error.code == TOO_LATE:  # perhaps of an earlier try with this id
                why = f"A worker says: {result.error.message}"
            elif result:
                return result
        self._producer.purge()
        raise NoAnswer(f"No answer within {timeout_seconds:g} s. {why} Ask again with --task-id {task_id}")

    def close(self) -> None:
        """Close both connections."""
        self._producer.flush(0)
        self._results.close()


def main(argv: list[str] | None = None) -> int:
    """Send one task per line and show its own result, until `q`."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers", "database")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="longest wait for an answer, seconds")
    parser.add_argument("--task-id", metavar="ID", help="ask again: show the answer that this task has by now")
    args = parser.parse_args(argv)

    create_topics(connect())
    connection = Connection()
    task_id = args.task_id
    if task_id and show_existing(task_id, connection):
        return 0
    with closing(TaskClient(connection)) as client:
        for words in read_lines():  # 2. read input
            try:
                measurement = validate(words)  # 3. validate
                client.position()
                result = client.predict(measurement, task_id or str(uuid.uuid4()), args.timeout)  # 4. predict: a worker
            except (InvalidMeasurement, NoAnswer) as error:
                print(error, flush=True)
                continue
            except KafkaException as error:
                raise_if_forbidden(error.args[0])
                print(f"Kafka does not answer ({error.args[0].str()}). Try again in a moment.", flush=True)
                continue
            connection.answered()
            task_id = None
            print(show_result(result), flush=True)  # 5. show
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
