"""What can be in the stream: poison, junk, messages that are too large, the same task twice, tasks in a hurry."""

# pyright: reportPrivateImportUsage=false

import json
import time

from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from common.iris_dto import Measurement
from common.kafka.connection import producer_config
from common.kafka.topics import DEAD_LETTER, TASKS

from .fault_worker import POISON_CM
from .trial import Trial

LARGE = "x" * 900_000  # Kafka takes up to 1 MB
UNPACKED = b"x" * 2_000_000  # some kilobytes when it is compressed
SMALL_BYTES = 10_000
POISON_MS = 600_000  # three deaths may take longer than others wait, and a task that is too late kills nobody
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
        trial.load.task(task_id, POISON, POISON_MS)
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


def compressed(trial: Trial, times: int) -> None:
    """Messages that are larger than Kafka's limit as soon as somebody unpacks them."""
    trial.flow()
    config = producer_config() | {"bootstrap.servers": trial.rig.servers, "compression.type": "gzip"}
    sender = Producer(config | {"message.max.bytes": 10 * len(UNPACKED)})
    for _ in range(times):
        key = _refused_later(trial)
        sender.produce(TASKS, UNPACKED, key=key)
        sender.flush(10)
        trial.pause(1)
        trial.keeps_up()


def no_room(trial: Trial, times: int) -> None:
    """Dead letters that their own topic does not take."""
    resource = ConfigResource(ResourceType.TOPIC, DEAD_LETTER)
    before = trial.rig.topics.admin.describe_configs([resource])[resource].result(10)["max.message.bytes"].value
    _limit_dead_letters(trial, str(SMALL_BYTES))
    trial.flow()
    for _ in range(times):
        trial.load.raw(_refused_later(trial), LARGE.encode())
        trial.pause(1)
        trial.keeps_up()
    trial.drain()
    _limit_dead_letters(trial, before)


def _limit_dead_letters(trial: Trial, size: str | None) -> None:
    entry = ConfigEntry("max.message.bytes", size, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, DEAD_LETTER, incremental_configs=[entry])
    trial.rig.topics.admin.incremental_alter_configs([resource])[resource].result(10)


def _refused_later(trial: Trial) -> str:
    """Return the key of a message that will be answered with an error."""
    key = trial.load.new_id()
    trial.expected_errors[key] = "invalid"
    trial.load.sent[key], trial.load.messages[key] = time.monotonic(), 1
    trial.struck()
    return key


def junk(trial: Trial, times: int) -> None:
    """As many messages that are no tasks as good ones, for so many seconds: the good ones do not notice."""
    trial.flow()
    for n in range(4 * times):
        for _ in range(int(trial.load.rate / 4)):
            key = trial.load.new_id()
            trial.expected_errors[key] = "invalid"
            trial.load.raw(key, INVALID[n % 4])
        trial.struck()
        trial.pause(0.25)
    trial.keeps_up()


def in_a_hurry(trial: Trial, times: int) -> None:
    """Tasks whose senders wait for 0.3 s to 30 s, while all workers die: some are too late, none is called so early."""
    trial.load.choose_timeout_ms = lambda: trial.rng.choice([300, 1000, 3000, 30_000])
    trial.flow(workers=2)
    for _ in range(times):
        trial.pause(trial.rng.uniform(1.0, 2.0))
        trial.struck()
        for i in (0, 1):
            trial.workers.kill(i)
        trial.keeps_up()
