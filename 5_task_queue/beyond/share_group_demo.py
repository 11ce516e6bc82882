"""Shows how fairly a share group hands out tasks: 4 workers, 1 partition, 200 tasks, sent and taken in three ways.

Kafka hands out what a producer sent together, a batch, to one worker, however few tasks that worker asked for.
So it is fair only where each task is a batch of its own and each worker asks for one task at a time.

Run: python -m 5_task_queue.beyond.share_group_demo
"""

import os
import uuid
from contextlib import ExitStack, suppress
from typing import NamedTuple

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # pyright: ignore[reportPrivateImportUsage]

from common.errors import ProgramError
from common.iris_dto import Measurement, Task
from common.kafka.connection import Config, connect, producer_config, run_with_kafka
from common.kafka.topics import ADMIN_SECONDS, create_topics
from common.programs import Program, until
from common.terminal import ArgumentParser

WORKERS = 4
WAIT_SECONDS = 60.0  # longest wait for Kafka to take the tasks
TASK_SECONDS = 0.01  # of CPU time per task, as a model that has something to do
ONE_BATCH: Config = {"linger.ms": 500, "batch.num.messages": 10_000}
OWN_BATCHES: Config = {"batch.num.messages": 1}


class Way(NamedTuple):
    """A way to send, and how many tasks a worker asks for."""

    name: str
    sender: Config
    max_tasks: int


WAYS = [
    Way("one batch, each worker asks for 1", ONE_BATCH, 1),
    Way("a batch per task, each worker asks for 500", OWN_BATCHES, 500),
    Way("a batch per task, each worker asks for 1", OWN_BATCHES, 1),
]


class Worker(Program):
    """A share group worker in a process of its own."""

    def __init__(self, topic: str, max_tasks: int) -> None:
        module = f"{__package__}.share_group_worker"
        command = ["python", "-m", module, "--topic", topic, "--group", topic, "--max-tasks", max_tasks]
        super().__init__(command, env=os.environ | {"IRIS_SIMULATED_CPU_SECONDS": str(TASK_SECONDS)})

    @property
    def done(self) -> int:
        """How many tasks it says that it has done: `did 17 tasks, at most 3 at once`."""
        return int(next((line.split()[1] for line in reversed(self.lines) if line.startswith("did ")), 0))


def send(producer: Producer, topic: str, count: int) -> None:
    """Send tasks, and wait until Kafka has them."""
    measurement = Measurement(sepal_length=5.1, sepal_width=3.5, petal_length=1.4, petal_width=0.2)
    for _ in range(count):
        task_id = str(uuid.uuid4())
        producer.produce(topic, Task(task_id=task_id, X=measurement).model_dump_json(), task_id)
    if producer.flush(WAIT_SECONDS):
        raise ProgramError("Kafka does not take the tasks.")


def all_done(workers: list[Worker], count: int) -> None:
    """Wait until the workers have done so many tasks."""
    until(lambda: sum(worker.done for worker in workers) >= count, what="all tasks are done", programs=workers)


def measure(admin: AdminClient, way: Way, tasks: int) -> list[int]:
    """Return how many tasks each worker did, the busiest first."""
    topic = f"share-demo-{uuid.uuid4()}"
    admin.create_topics([NewTopic(topic, 1, -1)], operation_timeout=ADMIN_SECONDS)[topic].result(ADMIN_SECONDS)
    try:
        with ExitStack() as stack:
            workers = [stack.enter_context(Worker(topic, way.max_tasks)) for _ in range(WORKERS)]
            until(lambda: all(worker.lines for worker in workers), what="all workers are ready", programs=workers)
            warm_up = Producer(producer_config() | OWN_BATCHES)
            sent = 0
            while not all(worker.done for worker in workers):  # a few at a time, until each has joined and had one
                send(warm_up, topic, 2 * WORKERS)
                sent += 2 * WORKERS
                all_done(workers, sent)
            before = [worker.done for worker in workers]
            send(Producer(producer_config() | way.sender), topic, tasks)
            all_done(workers, sent + tasks)
            return sorted((worker.done - b for worker, b in zip(workers, before, strict=True)), reverse=True)
    finally:
        with suppress(KafkaException):  # a busy broker takes its time, and has heard it
            admin.delete_topics([topic])[topic].result(ADMIN_SECONDS)


def main(argv: list[str] | None = None) -> int:
    """Try each way and print who did how much."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers", "model_path")
    parser.add_argument("--tasks", type=int, default=200, metavar="N", help="how many to send (default: 200)")
    args = parser.parse_args(argv)
    if not 1 <= args.tasks <= 10_000:
        parser.error(f"--tasks: {args.tasks} is not a number from 1 to 10000")
    admin = connect()
    create_topics(admin)
    print(f"{args.tasks} tasks, {WORKERS} workers, 1 partition: tasks per worker", flush=True)
    for way in WAYS:
        shares = measure(admin, way, args.tasks)
        print(f"{way.name + ':':<44}{'  '.join(f'{share:>4}' for share in shares)}", flush=True)
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
