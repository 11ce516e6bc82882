"""Stage 5's worker with one thing changed or left out, to measure what it is worth. No file is edited.

Run: python -m benchmarks.changed_worker "no idempotence" --delivery at-least-once
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import common.kafka.connection as kafka_clients
from common.kafka.connection import run_with_kafka

WORKER = "5_task_queue.iris_classifier_task_queue_worker"
ROOM = "5_task_queue.worker"
ANSWER = (
    b'{"task_id":"%s","X":{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2},"y":{"iris_type":0,'
    b'"species":"setosa","probabilities":{"setosa":0.981,"versicolor":0.019,"virginica":1.4e-7}}}'
)

Settings = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """What is different from the programs as they are."""

    what: str
    worker_producer: Settings = field(default_factory=dict)
    worker_consumer: Settings = field(default_factory=dict)
    client_producer: Settings = field(default_factory=dict)
    client_reader: Settings = field(default_factory=dict)
    idle_worker: bool = False  # answers without validating, predicting and encoding
    idle_client: bool = False  # sends bytes that are ready, compares keys, reads no answer
    commit_alone: bool = False  # no commit waits for more tasks


NAGLE = {"socket.nagle.disable": False}
AS_IT_IS = Change("")
CHANGES: dict[str, Change] = {
    "worker without its work": Change("no validation, no model, no encoding: it sends a constant", idle_worker=True),
    "client without its work": Change("no validation, no deadline: it sends bytes, compares keys", idle_client=True),
    "neither's work": Change("both of it", idle_worker=True, idle_client=True),
    "commit per task": Change("no commit waits 20 ms for more tasks", commit_alone=True),
    "linger.ms=5": Change("the client's producer waits for company", client_producer={"linger.ms": 5}),
    "no idempotence": Change(
        "a retry may double a message",
        worker_producer={"enable.idempotence": False},
        client_producer={"enable.idempotence": False},
    ),
    "read_uncommitted": Change(
        "the client sees aborted results as well", client_reader={"isolation.level": "read_uncommitted"}
    ),
    "fetch.wait.max.ms=10": Change(
        "empty fetches are repeated 100 times a second",
        worker_consumer={"fetch.wait.max.ms": 10},
        client_reader={"fetch.wait.max.ms": 10},
    ),
    "classic group": Change(
        "the group protocol before KIP-848",
        worker_consumer={"group.protocol": "classic", "partition.assignment.strategy": "cooperative-sticky"},
    ),
    "Nagle's algorithm": Change("socket.nagle.disable=false", NAGLE, NAGLE, NAGLE, NAGLE),
}


def overlay(original: Callable[..., Settings], more: Settings) -> Callable[..., Settings]:
    """Return a function of settings that gives the same ones, with `more` over them."""
    return lambda *arguments, **named: original(*arguments, **named) | more


def answer_without_work(messages: list[Any], _: object) -> Any:
    """Answer as the worker's handler does, with a constant."""
    replies = importlib.import_module(f"{ROOM}.replies").Replies
    return replies([(message.key(), ANSWER % message.key()) for message in messages])


def changed_queue(change: Change) -> type:
    """Return the queue of the worker's loop, with a change."""
    queue: Any = importlib.import_module(f"{ROOM}.task_queue").TaskQueue
    delivery: Any = importlib.import_module(f"{ROOM}.at_least_once").AtLeastOnce

    class CommitAlone(delivery):
        patience = 0.0

    class ChangedQueue(queue):
        def make_consumer(self, config: Settings) -> Any:
            return super().make_consumer(config | change.worker_consumer)

        def make_delivery(self) -> Any:
            if change.commit_alone:
                return CommitAlone(self.consumer, self.stop, self.connection, self.options.max_batch)
            return super().make_delivery()

    return ChangedQueue


def main() -> int:
    """Run the worker with the change that the first argument names; the others are the worker's."""
    change = CHANGES.get(sys.argv[1], AS_IT_IS)
    kafka_clients.producer_config = overlay(kafka_clients.producer_config, change.worker_producer)
    worker: Any = importlib.import_module(WORKER)
    if change.idle_worker:
        worker.handle = answer_without_work
    return worker.main(sys.argv[2:], changed_queue(change))


if __name__ == "__main__":
    run_with_kafka(main)
