"""When a worker commits what it has delivered: real producers; a stand-in for the consumer notes each commit."""

import importlib
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from common.kafka.connection import Connection
from common.kafka.stopping import Stop
from common.kafka.topics import RESULTS, TASKS
from tests.helpers import count, until

at_least_once: Any = importlib.import_module("5_task_queue.worker.at_least_once")
TakeAgainError: Any = importlib.import_module("5_task_queue.worker.delivery").TakeAgainError
PATIENCE_SECONDS = at_least_once.PATIENCE_SECONDS  # that workers have
task_queue: Any = importlib.import_module("5_task_queue.worker.task_queue")
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
    # Results leave when they are flushed, and not before: so nothing arrives by itself ahead of a commit.
    settings, long = at_least_once.producer_config, {"linger.ms": 600_000}
    monkeypatch.setattr(at_least_once, "producer_config", lambda connection: settings(connection) | long)
    monkeypatch.setattr(at_least_once, "IN_BATCHES", at_least_once.IN_BATCHES | long)
    monkeypatch.setattr(at_least_once, "PATIENCE_SECONDS", 3600.0)

    def make(max_batch: int) -> tuple[Any, Commits]:
        commits = Commits(servers)
        return at_least_once.AtLeastOnce(commits, Stop(signals=()), Connection(), max_batch), commits

    return make


def do(worker: Any, partition: int, offset: int, tasks: int = 1) -> None:
    """Deliver the results of some tasks."""
    worker.send(replies.Replies([(f"task-{partition}-{offset}-{i}", b"{}") for i in range(tasks)]))
    worker.commit_when_delivered([TopicPartition(TASKS, partition, offset)], tasks)


def test_a_few_tasks_one_after_the_other_share_a_commit_that_comes_after_their_delivery(
    start: Callable[[int], tuple[Any, Commits]],
):
    worker, commits = start(1000)
    for offset in (7, 17):  # a second time as the first
        for partition, more in ((0, 0), (1, 0), (0, 1), (0, 2)):
            do(worker, partition, offset + more)
            assert worker.pending and worker.patience > 0
        made = len(commits.made)
        offsets = worker.finish()
        assert len(commits.made) == made + 1
        assert sorted((where.partition, where.offset) for where in offsets) == [(0, offset + 2), (1, offset)]
        assert not worker.pending and worker.finish() == []
    assert commits.made == [({0: 9, 1: 7}, 4), ({0: 19, 1: 17}, 8)]


@pytest.mark.parametrize(
    ("max_batch", "batches"),
    [(1000, [1] * 20), (1000, [19, 1]), (1000, [500]), (1000, [5, 500]), (7, [1] * 7), (1, [1])],
)
def test_what_waits_for_its_commit_is_less_than_few_and_than_a_batch(
    max_batch: int, batches: list[int], start: Callable[[int], tuple[Any, Commits]]
):
    worker, commits = start(max_batch)
    *first, last = batches
    for i, tasks in enumerate(first):
        do(worker, 0, i, tasks)
        assert worker.patience > 0
    do(worker, 0, len(first), last)
    assert worker.patience == 0
    worker.finish()
    assert commits.made == [({0: len(first)}, sum(batches))]


def test_a_lone_task_is_committed_soon(start: Callable[[int], tuple[Any, Commits]], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(at_least_once, "PATIENCE_SECONDS", PATIENCE_SECONDS)
    worker, commits = start(1000)
    began = time.monotonic()
    do(worker, 0, 1)
    until(lambda: worker.patience == 0, 5, "out of patience")
    assert time.monotonic() - began >= PATIENCE_SECONDS
    worker.finish()
    assert commits.made == [({0: 1}, 1)]


def test_what_has_not_arrived_is_not_committed(
    start: Callable[[int], tuple[Any, Commits]], monkeypatch: pytest.MonkeyPatch
):
    worker, commits = start(1000)
    do(worker, 0, 1)
    with monkeypatch.context() as without_kafka:
        without_kafka.setattr(at_least_once, "wait_until_delivered", lambda stop, *producers: False)
        with pytest.raises(TakeAgainError):
            worker.finish()
    assert worker.finish() == [] and commits.made == []


def test_a_commit_that_kafka_refuses_is_made_again_unless_a_later_one_makes_it_needless(
    start: Callable[[int], tuple[Any, Commits]],
):
    worker, commits = start(1000)
    do(worker, 0, 5)
    do(worker, 1, 7)
    first = worker.finish()
    do(worker, 1, 8)
    worker.finish()
    worker.commit_again(first)
    assert worker.pending
    assert [(where.partition, where.offset) for where in worker.finish()] == [(0, 5)]
    assert [made for made, _ in commits.made] == [{0: 5, 1: 7}, {1: 8}, {0: 5}]


def test_nothing_is_committed_in_a_partition_that_was_lost(start: Callable[[int], tuple[Any, Commits]]):
    worker, commits = start(1000)
    do(worker, 0, 5)
    do(worker, 1, 7)
    worker.forget([0])
    worker.commit_again([TopicPartition(TASKS, 0, 5)])
    worker.finish()
    assert [made for made, _ in commits.made] == [{1: 7}]


def test_a_refused_commit_is_not_made_again_in_a_partition_that_was_given_back(
    start: Callable[[int], tuple[Any, Commits]],
):
    worker, commits = start(1000)
    queue = task_queue.TaskQueue(task_queue.Options())
    queue.delivery, queue.tally = worker, SimpleNamespace(partitions=lambda numbers: None)
    queue.intake = SimpleNamespace(revoked=lambda partitions: None, partitions=[])
    do(worker, 0, 5)
    do(worker, 1, 7)
    first = worker.finish()  # the commit is on its way while the group takes partition 0 away
    queue._revoked(None, [TopicPartition(TASKS, 0)])
    queue._commit_answered(KafkaError(KafkaError.STALE_MEMBER_EPOCH), first)
    assert [(where.partition, where.offset) for where in worker.finish()] == [(1, 7)]  # 0 may be far ahead by now
    assert [made for made, _ in commits.made] == [{0: 5, 1: 7}, {1: 7}]
