"""Stage 5's worker with one thing changed or left out, to measure what it is worth. No file is edited.

Run: python -m benchmarks.changed_worker "no idempotence" --delivery at-least-once
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import common.kafka.connection as kafka_clients
from common.terminal import run

WORKER = "5_task_queue.iris_classifier_task_queue_worker"
DELIVERY = "5_task_queue.worker.at_least_once"
REPLIES = "5_task_queue.worker.replies"
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
    in_worker: Callable[[], None] = lambda: None
    bare_client: bool = False  # sends bytes that are ready, compares keys, reads no answer


def answer_without_looking() -> None:
    """Have the worker answer without validating, predicting and encoding."""
    replies: Any = importlib.import_module(REPLIES).Replies

    def handle(messages: list[Any], model: object) -> Any:
        return replies([(message.key(), ANSWER % message.key()) for message in messages])

    importlib.import_module(WORKER).handle = handle  # pyright: ignore[reportAttributeAccessIssue]


def commit_every_batch() -> None:
    """Have no commit wait for more tasks."""
    importlib.import_module(DELIVERY).PATIENCE_SECONDS = 0.0  # pyright: ignore[reportAttributeAccessIssue]


NAGLE = {"socket.nagle.disable": False}
AS_IT_IS = Change("")
CHANGES: dict[str, Change] = {
    "worker without its work": Change(
        "no validation, no model, no encoding: it sends a constant", in_worker=answer_without_looking
    ),
    "client without its work": Change("no validation, no deadline: it sends bytes, compares keys", bare_client=True),
    "neither's work": Change("both of it", in_worker=answer_without_looking, bare_client=True),
    "commit per task": Change("no commit waits 20 ms for more tasks", in_worker=commit_every_batch),
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


def main() -> int:
    """Run the worker with the change that the first argument names; the others are the worker's."""
    change = CHANGES.get(sys.argv[1], AS_IT_IS)
    kafka_clients.producer_config = overlay(kafka_clients.producer_config, change.worker_producer)
    kafka_clients.consumer_config = overlay(kafka_clients.consumer_config, change.worker_consumer)
    change.in_worker()
    return importlib.import_module(WORKER).main(sys.argv[2:])


if __name__ == "__main__":
    run(main)
