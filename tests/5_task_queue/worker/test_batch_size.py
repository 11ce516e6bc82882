"""How many tasks a worker takes: no more than half a second of work, and never more than it has promised."""

import importlib
from typing import Any

import pytest

batch_size: Any = importlib.import_module("5_task_queue.worker.batch_size")


def test_the_first_batch_is_a_single_task_and_a_fast_model_gets_many():
    size = batch_size.BatchSize(10_000)
    assert size.next == 1
    sizes = []
    for _ in range(6):
        tasks = size.next
        size.taken(tasks)
        size.worked(tasks, tasks * 1e-6)
        sizes.append(size.next)
    assert sizes == [100, 400, 1600, 6400, 10_000, 10_000]


def test_a_slow_model_gets_half_a_second_of_work():
    size = batch_size.BatchSize(10_000)
    for _ in range(30):
        size.taken(100)
        size.worked(10, 10 * 0.05)
    assert size.next == 10
    size.worked(1, 100.0)
    assert size.next == 1


@pytest.mark.parametrize("most", [1, 7, 1000])
@pytest.mark.parametrize("before", [0, 1, 50, 1000])
def test_two_batches_are_never_more_than_was_promised(most: int, before: int):
    size = batch_size.BatchSize(most)
    size.worked(1, 1e-9)
    size.taken(min(most, before))
    promised, first = size.next_two, size.next
    size.taken(first)
    assert first + size.next <= promised
