"""Shows how fairly a share group hands out tasks: 4 workers, 1 partition, 200 tasks, sent and taken in three ways.

Kafka hands out what a producer sent together, a batch, to one worker, however few tasks that worker asked for.
So it is fair only where each task is a batch of its own and each worker asks for one task at a time.

Run: python -m 5_task_queue.beyond.share_group_demo
"""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from threading import Thread
from typing import NamedTuple, Self

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # pyright: ignore[reportPrivateImportUsage]

from common.errors import ProgramError
from common.iris_dto import Measurement, Task
from common.kafka.connection import Config, connect, producer_config, run_with_kafka
from common.kafka.topics import ADMIN_SECONDS, create_topics
from common.terminal import ArgumentParser

WORKERS = 4
WAIT_SECONDS = 60.0
STOP_SECONDS = 5.0
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


class Worker:
    """A share group worker in a process of its own; `done` follows what it prints."""

    def __init__(self, topic: str, max_tasks: int) -> None:
        module = f"{__package__}.share_group_worker"
        command = [sys.executable, "-m", module, "--topic", topic, "--group", topic, "--max-tasks", str(max_tasks)]
        environment = os.environ | {"IRIS_SIMULATED_CPU_SECONDS": str(TASK_SECONDS)}
        self.ready, self.done, self.most = False, 0, 0
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.ready = True
            words = line.split()
            if words[0] == "did":  # "did 17 tasks, at most 3 at once"
                self.done, self.most = int(words[1]), int(words[5])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
        if self._process.stdout:
            self._process.stdout.close()


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until it holds, at most WAIT_SECONDS."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise ProgramError(f"Not within {WAIT_SECONDS:g} s: {what}.")
        time.sleep(0.02)


def send(producer: Producer, topic: str, count: int) -> None:
    """Send tasks, and wait until Kafka has them."""
    measurement = Measurement(sepal_length=5.1, sepal_width=3.5, petal_length=1.4, petal_width=0.2)
    for _ in range(count):
        task_id = str(uuid.uuid4())
        producer.produce(topic, Task(task_id=task_id, X=measurement).model_dump_json(), task_id)
    if producer.flush(WAIT_SECONDS):
        raise ProgramError("Kafka does not take the tasks.")


def measure(admin: AdminClient, way: Way, tasks: int) -> list[int]:
    """Return how many tasks each worker did, the busiest first."""
    topic = f"share-demo-{uuid.uuid4()}"
    admin.create_topics([NewTopic(topic, 1, -1)], operation_timeout=ADMIN_SECONDS)[topic].result(ADMIN_SECONDS)
    try:
        with ExitStack() as stack:
            workers = [stack.enter_context(Worker(topic, way.max_tasks)) for _ in range(WORKERS)]
            until(lambda: all(worker.ready for worker in workers), "all workers are ready")
            warm_up = Producer(producer_config() | OWN_BATCHES)
            sent = 0
            while not all(worker.done for worker in workers):  # a few at a time, until each has joined and had one
                send(warm_up, topic, 2 * WORKERS)
                sent += 2 * WORKERS
                now = sent
                until(lambda now=now: sum(worker.done for worker in workers) >= now, "the first tasks are done")
            before = [worker.done for worker in workers]
            send(Producer(producer_config() | way.sender), topic, tasks)
            until(lambda: sum(worker.done for worker in workers) >= sent + tasks, "all tasks are done")
            return sorted((worker.done - b for worker, b in zip(workers, before, strict=True)), reverse=True)
    finally:
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
