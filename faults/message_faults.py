"""What can be in the stream: poison, invalid messages, messages that are too large, the same task twice."""

import json

from common.iris_dto import Measurement

from .fault_worker import POISON_CM
from .trial import Trial

LARGE = "x" * 900_000  # Kafka takes up to 1 MB
SETOSA = Measurement(sepal_length=5.1, sepal_width=3.5, petal_length=1.4, petal_width=0.2)
POISON = SETOSA.model_copy(update={"sepal_length": POISON_CM})
INVALID = (
    *(b"", b"\xff\xfe", b"{", b"[1,2]", b'{"task_id": 5}'),
    LARGE.encode(),
    json.dumps({"X": LARGE}).encode(),
)


def poison(trial: Trial, times: int) -> None:
    """A task kills whoever predicts it: it ends as a dead letter after three deaths, with an error for its sender."""
    trial.load.rate = 150
    trial.flow(workers=2)
    for _ in range(times):
        task_id = trial.load.new_id()
        trial.expected_errors[task_id] = "killed-its-worker"
        trial.struck()
        trial.load.task(task_id, POISON)
        trial.until(lambda task_id=task_id: task_id in trial.observer.errors, 240, "the poison task a dead letter")
    trial.outcome.also["workers died"] = trial.workers.kills


def no_tasks(trial: Trial, times: int) -> None:
    """Undecodable, invalid and oversize messages between the tasks, and tasks of nearly 1 MB."""
    trial.flow()
    for _ in range(times):
        for value in INVALID:
            key = trial.load.new_id()
            trial.expected_errors[key] = "invalid"
            trial.struck()
            trial.load.raw(key, value)
        task_id = trial.load.new_id()
        large_task = {"task_id": task_id, "X": SETOSA.model_dump(), "comment": LARGE}
        trial.load.raw(task_id, json.dumps(large_task).encode())
        trial.pause(0.5)


def duplicates(trial: Trial, times: int) -> None:
    """Each task submitted twice: two tasks to Kafka, one row in the store."""
    trial.flow()
    for _ in range(times):
        trial.struck()
        trial.load.send(50, copies=2)
        trial.pause(0.1)
    trial.drain()
    twice = [task_id for task_id, count in trial.load.messages.items() if count > 1]
    trial.outcome.also["ids submitted twice"] = len(twice)
    stores = trial.rows().values()
    trial.outcome.also["of these with two results and one row"] = sum(
        trial.observer.count[task_id] == 2 and all(rows[task_id] == 1 for rows in stores) for task_id in twice
    )
