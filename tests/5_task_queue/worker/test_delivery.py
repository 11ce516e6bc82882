"""When a worker commits what it has delivered: real producers; a stand-in for the consumer notes each commit."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from common.kafka_clients import RESULTS, TASKS, Connection, Stop
from tests.helpers import count, until

delivery: Any = importlib.import_module("5_task_queue.worker.delivery")
replies: Any = importlib.import_module("5_task_queue.worker.replies")


class Commits:
    """Notes offsets, and how many results were in Kafka when they were committed."""

    def __init__(self, servers: str) -> None:
        self.made: list[tuple[dict[int, int], int]] = []
        self._servers = servers

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self.made.append(({where.partition: where.offset for where in offsets}, count(self._servers, RESULTS)))


@pytest.fixture
def start(
    topics: Callable[..., str], kafka_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], tuple[Any, Commits]]:
    """Return a delivery for batches of at most so many tasks, and what it commits."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_env["KAFKA_BOOTSTRAP_SERVERS"])
    servers = topics()

    def make(max_batch: int) -> tuple[Any, Commits]:
        commits = Commits(servers)
        return delivery.AtLeastOnce(commits, Stop(signals=()), Connection(), max_batch), commits

    return make


def do(worker: Any, partition: int, offset: int, tasks: int = 1) -> None:
    """Deliver the results of some tasks."""
    worker.deliver(replies.Replies([(f"task-{partition}-{offset}-{i}", b"{}") for i in range(tasks)]))
    worker.then_commit([TopicPartition(TASKS, partition, offset)], tasks)


def test_a_few_tasks_one_after_the_other_share_a_commit_that_comes_after_their_delivery(
    start: Callable[[int], tuple[Any, Commits]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(delivery, "PATIENCE_SECONDS", 3600.0)
    worker, commits = start(1000)
    for partition, offset in ((0, 7), (1, 3), (0, 8), (0, 9)):
        do(worker, partition, offset)
        assert worker.pending and worker.patience > 0
    assert commits.made == []
    offsets = worker.finish()
    assert commits.made == [({0: 9, 1: 3}, 4)]
    assert sorted((where.partition, where.offset) for where in offsets) == [(0, 9), (1, 3)]
    assert not worker.pending and worker.finish() == []


@pytest.mark.parametrize(
    ("max_batch", "batches"), [(1000, [1] * 20), (1000, [19, 1]), (1000, [500]), (7, [1] * 7), (1, [1])]
)
def test_no_more_wait_for_their_commit_than_few_or_a_batch(
    max_batch: int, batches: list[int], start: Callable[[int], tuple[Any, Commits]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(delivery, "PATIENCE_SECONDS", 3600.0)
    worker, _ = start(max_batch)
    *first, last = batches
    for i, tasks in enumerate(first):
        do(worker, 0, i, tasks)
        assert worker.patience > 0
    do(worker, 0, len(first), last)
    assert worker.patience == 0
    worker.finish()


def test_a_lone_task_is_committed_soon(start: Callable[[int], tuple[Any, Commits]]):
    worker, commits = start(1000)
    do(worker, 0, 1)
    assert worker.patience <= delivery.PATIENCE_SECONDS
    until(lambda: worker.patience == 0, 5, "out of patience")
    worker.finish()
    assert commits.made == [({0: 1}, 1)]
