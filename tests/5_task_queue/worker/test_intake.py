"""What a worker takes after a crash, with a stand-in for the consumer: which partitions, which marks it leaves."""

import importlib
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, TopicPartition

from common.kafka.stopping import Stop
from common.kafka.topics import TASKS

at_least_once: Any = importlib.import_module("5_task_queue.worker.at_least_once")
batch_size: Any = importlib.import_module("5_task_queue.worker.batch_size")
intake: Any = importlib.import_module("5_task_queue.worker.intake")
suspects: Any = importlib.import_module("5_task_queue.worker.suspects")
WAITING = 10_000  # tasks in each partition


class Committed:
    """What a consumer group has committed; outlives the workers."""

    def __init__(self) -> None:
        self.places: dict[int, TopicPartition] = {}
        self.paused: set[int] = set()

    def committed(self, wanted: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [self.places.get(p.partition, TopicPartition(TASKS, p.partition, OFFSET_INVALID)) for p in wanted]

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self.places |= {place.partition: place for place in offsets}

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.paused.clear()

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None: ...

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {place.partition for place in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {place.partition for place in partitions}

    def poll(self, seconds: float) -> None:
        return None


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Committed:
    monkeypatch.setattr(intake, "edges", lambda admin, topic, numbers: dict.fromkeys(numbers, (0, WAITING)))
    return Committed()


def worker(group: Committed) -> Any:
    """Return the intake of a new worker that has just been given both partitions and is about to take from them."""
    consumer: Any = group
    new = intake.Intake(consumer, None, Stop(signals=()), 1000)
    new.assigned([TopicPartition(TASKS, number) for number in (0, 1)])
    new.take_batch(0)
    return new


def mark(group: Committed, number: int) -> Any:
    return suspects.Mark.from_json(group.places[number].metadata)


def test_after_a_crash_one_partition_is_tested_and_the_others_wait(group: Committed):
    first = worker(group)  # dies, as do those that follow
    assert not first.suspects and not group.paused
    sizes = []
    for _ in range(3):
        after = worker(group)
        assert (after.suspects.tested, group.paused) == (0, {1})
        assert (mark(group, 0).waiting, mark(group, 1).waiting > 0) == (0, True)
        sizes.append(after.suspects.size)
    assert sizes[0] > 1 and sizes[1:] == [1, 1]


def test_the_other_partition_is_tested_when_the_first_has_been_quiet(group: Committed, monkeypatch: pytest.MonkeyPatch):
    worker(group)
    second = worker(group)
    waiting = mark(group, 1).waiting
    monkeypatch.setattr(intake, "QUIET_SECONDS", -1.0)
    second.take_batch(0)
    assert (second.suspects.tested, group.paused) == (1, {0})
    assert mark(group, 1).waiting == waiting > 0
    monkeypatch.setattr(intake, "QUIET_SECONDS", 3600.0)
    second.take_batch(0)
    assert mark(group, 1).waiting == 0


@pytest.mark.parametrize("max_batch", [1, 7, 1000])
def test_a_mark_covers_all_that_can_be_in_hand(group: Committed, max_batch: int):
    new = intake.Intake(group, None, Stop(signals=()), max_batch)
    new.assigned([TopicPartition(TASKS, 0)])
    new.size.worked(1, 1e-9)
    next_batch = new.size.next
    one_after_it = min(max_batch, batch_size.GROWTH * next_batch)
    assert mark(group, 0).in_hand >= (at_least_once.FEW - 1) + next_batch + one_after_it  # few wait for their commit


def test_partitions_that_leave_in_order_leave_no_mark_and_others_keep_it(group: Committed):
    one = worker(group)
    one.revoked([TopicPartition(TASKS, 0)])
    one.rewind()  # what is in hand was not committed
    one.revoked([TopicPartition(TASKS, 1)])
    assert (mark(group, 0), mark(group, 1) is None) == (None, False)
    assert not worker(group).suspects._stretches.get(0)


def test_a_lost_partition_is_not_committed(group: Committed):
    one = worker(group)
    before = dict(group.places)
    one.lost([TopicPartition(TASKS, 0), TopicPartition(TASKS, 1)])
    assert group.places == before and one.partitions == []


def test_what_stands_in_for_a_consumer_here_has_only_what_a_consumer_has():
    assert {name for name in vars(Committed) if not name.startswith("_")} <= set(dir(Consumer))
