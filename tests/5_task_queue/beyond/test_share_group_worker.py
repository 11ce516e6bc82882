"""The share group worker: nothing lost with more workers than partitions, and the fair-distribution trap."""

import importlib
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from confluent_kafka import AcknowledgeType, Message, Producer, ShareConsumer

from common.iris_model import IrisModel
from common.kafka.connection import producer_config
from common.kafka.topics import DEAD_LETTER, RESULTS, TASKS
from tests.helpers import Program, X, admin_of, count, headers_of, messages, produce, until

MODULE = "5_task_queue.beyond.share_group_worker"
worker = importlib.import_module(MODULE)
demo = importlib.import_module("5_task_queue.beyond.share_group_demo")


@pytest.fixture
def group() -> str:
    return f"share-test-{uuid.uuid4()}"


def send(servers: str, count: int) -> list[str]:
    """Send tasks, each 50 in a batch at most, and return their ids."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    for start in range(0, count, 50):
        some = ids[start : start + 50]
        produce(servers, TASKS, [json.dumps({"task_id": one, "X": X}) for one in some], some)
    return ids


def answered(servers: str) -> Callable[[list[Message]], set[str]]:
    def ids(found: list[Message]) -> set[str]:
        return {json.loads(m.value() or b"")["task_id"] for m in found}

    return ids


def test_tasks_sent_before_the_first_worker_are_done_and_a_killed_workers_tasks_by_others(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str], group: str
):
    servers = topics(partitions=1)
    slow = kafka_env | {"IRIS_SIMULATED_CPU_SECONDS": "0.01"}
    ids = set(send(servers, 300))
    workers = [program(MODULE, "--group", group, env=slow) for _ in range(3)]
    messages(servers, RESULTS, 20)  # they are in the middle of it
    workers[0].kill()
    get = answered(servers)
    messages(servers, RESULTS, lambda found: get(found) >= ids)
    for one in workers[1:]:
        one.terminate()
    assert [one.wait() for one in workers[1:]] == [0, 0]


@pytest.mark.slow
def test_a_batch_that_takes_longer_than_a_silent_connection_may_last_is_done_once(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str], group: str
):
    assert producer_config()["connections.max.idle.ms"] < 6000
    servers = topics(partitions=1)
    send(servers, 20)
    workers = [program(MODULE, "--group", group, env=kafka_env | {"IRIS_SIMULATED_CPU_SECONDS": "0.3"}) for _ in (1, 2)]
    until(lambda: sum("did 20 tasks" in one.output for one in workers), what="all tasks done", programs=workers)
    for one in workers:
        one.terminate()
    assert [(one.wait(), one.errors) for one in workers] == [(0, ""), (0, "")]
    assert count(servers, RESULTS) == 20


def test_what_is_no_task_is_a_dead_letter_and_is_not_handed_out_again(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str], group: str
):
    servers = topics(partitions=2)
    produce(servers, TASKS, [b"\xff", None], ["bad", "empty"], {"own": "kept"})
    [good] = send(servers, 1)
    one = program(MODULE, "--group", group, env=kafka_env)
    one.wait_for("did 3 tasks")
    letters = messages(servers, DEAD_LETTER, 2)
    assert {m.key(): m.value() for m in letters} == {b"bad": b"\xff", b"empty": None}
    assert headers_of(letters[0])["own"] == "kept"
    results = {m.key(): json.loads(m.value() or b"") for m in messages(servers, RESULTS, 3)}
    assert results[b"bad"]["error"]["code"] == "invalid"
    assert results[good.encode()]["y"]["species"] == "setosa"
    one.terminate()
    assert one.wait() == 0


@pytest.fixture
def member(
    topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch, group: str
) -> Iterator[tuple[str, ShareConsumer]]:
    """A member of a share group in this process."""
    servers = topics(partitions=1)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    worker.start_at_earliest(admin_of(servers), group)
    consumer = worker.share_consumer(group, 10)
    consumer.subscribe([TASKS])
    yield servers, consumer
    consumer.close()


def test_a_task_that_no_worker_finishes_is_buried_at_its_last_delivery(
    member: tuple[str, ShareConsumer], model: IrisModel
):
    servers, consumer = member
    [task_id] = send(servers, 1)
    for delivery in range(1, worker.MAX_DELIVERIES):
        [message] = until(lambda: worker.take(consumer), what=f"delivery {delivery}")
        assert message.delivery_count() == delivery
        replies, kind = worker.answer(message, model)
        assert (kind, len(replies.dead_letters)) == (AcknowledgeType.ACCEPT, 0)
        consumer.acknowledge(message, AcknowledgeType.RELEASE)  # as if its worker had not come to it
        worker.tell(consumer)
    [message] = until(lambda: worker.take(consumer), what="the last delivery")
    replies, kind = worker.answer(message, model)
    assert kind == AcknowledgeType.REJECT
    [letter] = replies.dead_letters
    assert (letter.reason, letter.attempts) == ("It was handed out 4 times, and no worker has finished it.", 4)
    [(who, value)] = replies.results
    assert (who, json.loads(value)["error"]["code"]) == (task_id, "never-finished")
    consumer.acknowledge(message, kind)
    worker.tell(consumer)


class Ended:
    """A Stop that has been asked for."""

    requested = True

    def seconds_since(self) -> float:
        return 0.0


class NoProducer:
    """Takes nothing and has nothing."""

    def flush(self, seconds: float) -> int:
        return 0


def test_a_worker_that_is_to_end_releases_what_it_has_not_begun(model: IrisModel):
    tasks: list[Any] = [object(), object()]
    assert worker.work(tasks, model, NoProducer(), Ended()) == [AcknowledgeType.RELEASE] * 2


@pytest.mark.parametrize(("sender", "fair"), [(demo.ONE_BATCH, False), (demo.OWN_BATCHES, True)])
def test_one_batch_goes_to_one_worker_and_batches_of_one_to_all(
    topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch, group: str, sender: dict[str, Any], fair: bool
):
    servers, tasks = topics(partitions=1), 100
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.05)
    worker.start_at_earliest(admin_of(servers), group)
    with ExitStack() as stack:
        members = [stack.enter_context(worker.share_consumer(group, 1)) for _ in range(4)]
        for member in members:
            member.subscribe([TASKS])
        shares = [0] * len(members)

        def turn() -> int:
            for number, member in enumerate(members):
                for message in worker.take(member):
                    member.acknowledge(message)
                    shares[number] += 1
                worker.tell(member)
            return sum(shares)

        warm_up = Producer(producer_config() | demo.OWN_BATCHES)
        while not all(shares):  # until each has joined
            before = sum(shares)
            demo.send(warm_up, TASKS, 4)
            until(lambda before=before: turn() == before + 4, what="the first tasks are taken")
        shares[:] = [0] * len(members)
        demo.send(Producer(producer_config() | sender), TASKS, tasks)
        until(lambda: turn() == tasks, what="all tasks are taken")
    assert min(shares) >= 10 if fair else sorted(shares) == [0, 0, 0, tasks]


@pytest.mark.parametrize("arguments", [("--max-tasks", "0"), ("--max-tasks", "1001")])
def test_wrong_arguments_are_one_line(program: Callable[..., Program], env: dict[str, str], arguments: tuple[str, ...]):
    one = program(MODULE, *arguments, env=env)
    assert one.wait() == 2
    assert one.errors == f"--max-tasks: {arguments[1]} is not a number from 1 to 1000. Try --help.\n"


def test_without_kafka_it_says_so_in_one_line(program: Callable[..., Program], env: dict[str, str]):
    one = program(MODULE, env=env | {"KAFKA_BOOTSTRAP_SERVERS": "localhost:1"})
    assert one.wait() == 1
    assert one.errors == "No Kafka answers at localhost:1. Start one with: python -m common.embedded_kafka\n"
