"""What a worker leaves when it dies or loses partitions, with a stand-in for Kafka: the next one goes on from there."""

import importlib
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from common.iris_model import IrisModel
from common.kafka.topics import DEAD_LETTER, RESULTS, TASKS
from tests.helpers import until

WORKER: Any = importlib.import_module("5_task_queue.iris_classifier_task_queue_worker")
at_least_once: Any = importlib.import_module("5_task_queue.worker.at_least_once")
exactly_once: Any = importlib.import_module("5_task_queue.worker.exactly_once")
intake: Any = importlib.import_module("5_task_queue.worker.intake")
task_queue: Any = importlib.import_module("5_task_queue.worker.task_queue")
DELIVERIES = ["at-least-once", "exactly-once"]
POISON_CM = 66.6
TASKS_SENT = 700  # in partition 0


class Killed(BaseException):
    """The worker dies: nobody catches this, nothing is committed after it."""


class Broker:
    """Tasks, what the group has committed of them, and what readers see. Outlives the workers."""

    def __init__(self, poisons: Sequence[int] = ()) -> None:
        self.tasks = [_task(i, i in poisons) for i in range(TASKS_SENT)]
        self.committed: dict[int, TopicPartition] = {}
        self.produced: dict[str, list[str]] = {RESULTS: [], DEAD_LETTER: []}
        self.stop = StandInStop()
        self.refused = 0  # transactions that it has still to refuse

    def commit(self, offsets: list[TopicPartition]) -> None:
        self.committed |= {where.partition: where for where in offsets}
        self.stop.requested = self.done

    @property
    def done(self) -> bool:
        return 0 in self.committed and self.committed[0].offset == len(self.tasks)


def _task(i: int, poison: bool) -> Message:
    X = {"sepal_length": POISON_CM if poison else 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
    value = json.dumps({"task_id": f"task-{i}", "X": X}).encode()
    return Message(topic=TASKS, partition=0, offset=i, key=f"task-{i}".encode(), value=value)  # type: ignore[call-arg]


class StandInStop:
    """Asked to end when everything is done."""

    requested = False

    def seconds_since(self) -> float:
        return 0.0

    def wait(self, seconds: float) -> bool:
        return self.requested


class Consumer:
    """Holds partition 0, and at first partition 1, in which there is nothing."""

    def __init__(self, broker: Broker, config: object) -> None:
        self.broker, self.position, self.revoke_at = broker, 0, -1
        self.on_revoke: Any = None

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.on_revoke = on_revoke
        on_assign(self, [TopicPartition(TASKS, 0), TopicPartition(TASKS, 1)])

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.position = partitions[0].offset

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None: ...

    def committed(self, wanted: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [self.broker.committed.get(w.partition, TopicPartition(TASKS, w.partition)) for w in wanted]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self.broker.commit(offsets)

    def seek(self, where: TopicPartition) -> None:
        if where.partition == 0:
            self.position = where.offset

    def consume(self, most: int, timeout: float) -> list[Message]:
        found = self.broker.tasks[self.position : self.position + most]
        self.position += len(found)
        return found

    def poll(self, timeout: float) -> Message | None:
        return next(iter(self.consume(1, timeout)), None)

    def resume(self, partitions: list[TopicPartition]) -> None: ...

    pause = resume

    def consumer_group_metadata(self) -> None: ...

    def close(self) -> None: ...


class LeavingConsumer(Consumer):
    """Gives its partitions back when it is closed, as the real one does."""

    def close(self) -> None:
        self.on_revoke(self, [TopicPartition(TASKS, 0), TopicPartition(TASKS, 1)])


class RevokingConsumer(Consumer):
    """Loses partition 1 at the third poll, while what came with the second is in a transaction that is refused."""

    polls = 0

    def poll(self, timeout: float) -> Message | None:
        self.polls += 1
        if self.polls == 2:
            until(lambda: self.broker.produced[RESULTS], what="the first transaction")
            self.broker.refused = 1
        if self.polls == 3:
            self.on_revoke(self, [TopicPartition(TASKS, 1)])
        return super().poll(timeout)


class Producer:
    """Shows at once what it produces, or in a transaction when that is committed."""

    def __init__(self, broker: Broker, config: dict[str, Any]) -> None:
        self.broker, self.transactional = broker, "transactional.id" in config
        self.open: list[tuple[str, str]] = []
        self.offsets: list[TopicPartition] = []

    def produce(self, topic: str, value: bytes, key: str | bytes, headers: object = None, **_: object) -> None:
        self.open.append((topic, key if isinstance(key, str) else key.decode()))
        if not self.transactional:
            self.show()

    def show(self) -> None:
        for topic, key in self.open:
            self.broker.produced[topic].append(key)
        self.open.clear()

    def flush(self, timeout: float) -> int:
        return 0

    def init_transactions(self, timeout: float) -> None: ...

    def begin_transaction(self) -> None:
        assert not self.open

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], member: object, timeout: float) -> None:
        self.offsets = offsets

    def commit_transaction(self, timeout: float) -> None:
        if self.broker.refused:
            self.broker.refused -= 1
            raise KafkaException(KafkaError(KafkaError._STATE, "refused", False, False, True))  # type: ignore[call-arg]
        self.broker.commit(self.offsets)
        self.show()

    def abort_transaction(self, timeout: float) -> None:
        self.open.clear()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, model: IrisModel):
    """Run a new worker until everything is done, or until it dies of a poison."""
    predict_proba = IrisModel.predict_proba

    death: list[type[BaseException]] = [Killed]

    def deadly(self: IrisModel, X: Any) -> Any:
        if (np.asarray(X)[:, 0] == POISON_CM).any():
            raise death[0]
        return predict_proba(self, X)

    monkeypatch.setattr(IrisModel, "predict_proba", deadly)
    monkeypatch.setattr(WORKER, "load_model", lambda: model)
    monkeypatch.setattr(task_queue, "connect", lambda: None)
    monkeypatch.setattr(task_queue, "create_topics", lambda admin, also: None)
    idle = SimpleNamespace(wait_until_read=lambda: None, without=lambda messages, replies: messages)
    monkeypatch.setattr(task_queue, "CancelledTasks", lambda admin, stop: idle)
    monkeypatch.setattr(task_queue, "Taken", lambda name, stop: SimpleNamespace(note=lambda *_: None))
    monkeypatch.setattr(task_queue, "take_slot", lambda slot: (0, SimpleNamespace(release=lambda: None)))
    monkeypatch.setattr(task_queue, "transactional_id", lambda group, slot: f"{group}-{slot}")
    monkeypatch.setattr(at_least_once, "PATIENCE_SECONDS", 3600.0)  # as if nothing ever took time

    def run(
        broker: Broker, how: str, consumer: type[Consumer] = Consumer, dies_of: type[BaseException] = Killed
    ) -> None:
        broker.stop, death[0] = StandInStop(), dies_of

        class Queue(task_queue.TaskQueue):
            def make_consumer(self, config: object) -> Any:
                return consumer(broker, config)

        monkeypatch.setattr(task_queue, "Stop", lambda: broker.stop)
        for module in (at_least_once, exactly_once):
            monkeypatch.setattr(module, "Producer", partial(Producer, broker))
        monkeypatch.setattr(intake, "edges", lambda admin, topic, numbers: {0: (0, len(broker.tasks)), 1: (0, 0)})
        assert WORKER.main(["--delivery", how], queue=Queue) == 0

    return run


@pytest.mark.parametrize("how", DELIVERIES)
@pytest.mark.parametrize(
    "poisons", [[300], [300, 301], [300, 302], [300, 310], [300, 325], [0], [0, 1], [699], [698, 699], [100, 600]]
)
def test_each_poison_is_buried_after_three_deaths_alone_and_nothing_else_is(poisons: list[int], how: str, work: Any):
    broker, deaths = Broker(poisons), 0
    while not broker.done:
        try:
            work(broker, how)
        except Killed:
            deaths += 1
            assert deaths <= 6 * len(poisons), "the workers die without end"
    assert broker.produced[DEAD_LETTER] == [f"task-{i}" for i in poisons]
    assert set(broker.produced[RESULTS]) == {f"task-{i}" for i in range(TASKS_SENT)}
    assert deaths >= 3 * len(poisons)
    if how == "exactly-once":
        assert len(broker.produced[RESULTS]) == TASKS_SENT


def test_a_transaction_that_fails_as_a_partition_leaves_is_done_again_for_the_ones_that_stay(work: Any):
    broker = Broker()
    work(broker, "exactly-once", RevokingConsumer)
    assert broker.refused == 0
    assert sorted(broker.produced[RESULTS]) == sorted(f"task-{i}" for i in range(TASKS_SENT))


@pytest.mark.parametrize("how", DELIVERIES)
def test_a_task_that_ends_its_worker_with_an_error_is_found_as_well(how: str, work: Any):
    broker, starts = Broker([300]), 0
    while not broker.done:
        starts += 1
        assert starts < 12, "the workers end without end"
        with suppress(SystemError):  # a bug that the worker does not blame on the task
            work(broker, how, LeavingConsumer, SystemError)
    assert broker.produced[DEAD_LETTER] == ["task-300"]


@pytest.mark.parametrize("how", DELIVERIES)
def test_a_task_at_which_the_model_fails_is_a_dead_letter_at_once(how: str, work: Any):
    broker = Broker([300, 301])
    work(broker, how, LeavingConsumer, ValueError)
    assert broker.produced[DEAD_LETTER] == ["task-300", "task-301"]
    assert set(broker.produced[RESULTS]) == {f"task-{i}" for i in range(TASKS_SENT)}


def test_transactions_that_fail_again_and_again_are_told_once_and_tried_with_pauses(
    work: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    broker, pauses = Broker(), list[float]()
    broker.refused = 6
    monkeypatch.setattr(StandInStop, "wait", lambda self, seconds: pauses.append(seconds))
    work(broker, "exactly-once")
    assert sorted(broker.produced[RESULTS]) == sorted(f"task-{i}" for i in range(TASKS_SENT))
    assert capsys.readouterr().err == "Transactions fail (refused). Their tasks are taken again.\n"
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6]
