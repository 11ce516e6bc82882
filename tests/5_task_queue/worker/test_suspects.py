"""What is suspected after a crash: offsets and the metadata of commits are all that matters, no Kafka."""

import importlib
from typing import Any

import pytest

suspects: Any = importlib.import_module("5_task_queue.worker.suspects")
END = 10_000  # of each partition
IN_HAND = 600  # tasks, that a worker without suspects promises


class Group:
    """What a consumer group has committed in two partitions; outlives the workers."""

    def __init__(self) -> None:
        self.marks: dict[int, str] = {}
        self.workers = 0

    def worker(self) -> Any:
        """Return the suspects of a new worker that has just been given both partitions."""
        self.workers += 1
        new = suspects.Suspects(f"worker-{self.workers}")
        for number in (0, 1):
            new.found(number, 0, END, self.marks.get(number))
        for number in (0, 1):
            self.marks[number] = new.mark(number, 0, IN_HAND)
        return new


def stretches(one: Any) -> list[tuple[int, int]]:
    """Return size and attempts of the suspects in both partitions."""
    return [(one._stretches[number].size, one._stretches[number].attempts) for number in (0, 1)]


def test_a_worker_that_finds_no_mark_suspects_nothing():
    assert not Group().worker()


def test_suspects_are_taken_in_ever_smaller_numbers_and_only_those_of_the_tested_partition_are_blamed():
    group = Group()
    group.worker()  # dies with many tasks of both partitions in hand, as do all that follow
    found = [stretches(group.worker()) for _ in range(6)]
    tested, other = [one[0] for one in found], [one[1] for one in found]
    few = IN_HAND // suspects.FEWER
    assert tested == [(few, 1), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5)]
    assert other == [(few, 1)] * 6  # nothing of it was in hand


def test_the_other_partition_is_tested_after_the_first():
    group = Group()
    group.worker()
    second = group.worker()
    waiting = stretches(second)[1]
    assert suspects.Mark.from_json(group.marks[1]).waiting == IN_HAND
    second.forget(0)
    assert second.tested == 1
    group.marks = {0: second.mark(0, 0, IN_HAND), 1: second.mark(1, 0, IN_HAND)}
    assert suspects.Mark.from_json(group.marks[1]).waiting == 0
    assert stretches(group.worker())[1] == (max(1, waiting[0] // suspects.FEWER), 1)  # from now on it counts


def test_a_task_that_survives_is_not_blamed_for_the_deaths_of_the_one_before_it():
    group = Group()
    for _ in range(4):
        group.worker()
    one = group.worker()
    assert one.attempts == 3
    one.survived(0, 1)
    assert (one.attempts, bool(one)) == (1, True)
    one.survived(0, END)
    assert one.tested == 1


def test_its_own_mark_and_the_mark_of_a_partition_with_nothing_left_mean_nothing():
    one = suspects.Suspects("me")
    one.found(0, 0, END, one.mark(0, 0, IN_HAND))
    one.found(1, END, END, suspects.Mark(5, 0, "another").to_json())
    assert not one
    one.found(1, END - 1, END, suspects.Mark(50, 0, "another").to_json())
    assert one._stretches[1].until == END


@pytest.mark.parametrize(
    "metadata", [None, "", "hi", "[]", "7", "null", "{}", '{"in_hand": "many"}', '{"in_hand": 1, "attempts": 1}']
)
def test_metadata_that_is_not_a_mark_means_nothing(metadata: str | None):
    assert suspects.Mark.from_json(metadata) is None


def test_a_mark_survives_its_way_through_a_commit():
    mark = suspects.Mark(7, 2, "worker", 30)
    assert suspects.Mark.from_json(mark.to_json()) == mark
