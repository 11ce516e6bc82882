"""What a worker takes after a crash, without Kafka: committed offsets and their metadata are all that matters."""

import importlib
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, TopicPartition

from common.kafka.stopping import Stop
from common.kafka.topics import TASKS

delivery: Any = importlib.import_module("5_task_queue.worker.delivery")
intake: Any = importlib.import_module("5_task_queue.worker.intake")
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
    new = intake.Intake(consumer, None, 1000, Stop(signals=()))
    new.assigned([TopicPartition(TASKS, number) for number in (0, 1)])
    new.take(0)
    return new


def test_only_the_partition_that_has_its_turn_is_charged_with_a_crash(group: Committed):
    first = worker(group)  # dies with many tasks of both in hand, as do all that follow
    assert not first.suspicions
    sizes = []
    for _ in range(6):
        after = worker(group)
        turn, other = after.suspicions[0], after.suspicions[1]
        sizes.append((turn.size, other.size, turn.attempts, other.attempts))
        assert group.paused == {1}
    many = sizes[0][0]
    assert [turn for turn, *_ in sizes] == [many, 1, 1, 1, 1, 1]  # ever fewer, then one, again and again
    assert {other for _, other, *_ in sizes} == {many}  # as it was: nothing of it was in hand
    assert [charged for *_, charged, _ in sizes] == [1, 1, 2, 3, 4, 5]
    assert {charged for *_, charged in sizes} == {1}


def test_the_other_partition_has_its_turn_after_the_first(group: Committed):
    worker(group)
    second = worker(group)
    waiting = second.suspicions[1]
    second._clear(0)
    assert (list(second.suspicions), group.paused) == ([1], {0})
    before = intake.Mark.from_json(group.places[1].metadata)
    second.take(0)
    after = intake.Mark.from_json(group.places[1].metadata)
    assert (before.waiting, after.waiting) == (waiting.until, 0)
    assert worker(group).suspicions[1].size == max(1, waiting.size // intake.FEWER)  # from now on it is charged


@pytest.mark.parametrize("max_batch", [1, 7, 1000])
def test_a_mark_covers_all_that_can_be_in_hand(group: Committed, max_batch: int):
    new = intake.Intake(group, None, max_batch, Stop(signals=()))
    new.assigned([TopicPartition(TASKS, 0)])
    new.seconds_per_task = 1e-9
    next_batch = new._limit()
    one_after_it = min(max_batch, intake.GROWTH * next_batch)
    in_hand = intake.Mark.from_json(group.places[0].metadata).in_hand
    assert in_hand >= (delivery.FEW - 1) + next_batch + one_after_it  # few wait for their commit


def test_what_stands_in_for_a_consumer_here_has_only_what_a_consumer_has():
    assert {name for name in vars(Committed) if not name.startswith("_")} <= set(dir(Consumer))
