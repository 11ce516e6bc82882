"""The state of the queue, and a health test that looks at progress."""

import importlib
import json
import re
import time
import uuid
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from common.kafka.topics import RETENTION_MS, TASKS
from tests.helpers import WAIT_SECONDS, Program, X, admin_of, committed, count, produce, set_topic, until

MODULE = "5_task_queue.queue_status"
WORKER = "5_task_queue.iris_classifier_task_queue_worker"
progress = importlib.import_module("common.kafka.progress")
status = importlib.import_module(MODULE)
P = progress.Partition


def send(servers: str, count: int) -> None:
    ids = [str(uuid.UUID(int=number)) for number in range(count)]
    produce(servers, TASKS, [json.dumps({"task_id": one, "X": X}) for one in ids], ids)


def done(servers: str) -> int:
    return committed(servers, status.GROUP, TASKS)


@pytest.mark.parametrize(
    ("first", "now", "found"),
    [
        (P(0, 0, 9, 9, "a"), P(0, 0, 9, 9, "a"), []),
        (P(0, 0, 9, 9, None), P(0, 0, 9, 9, None), []),
        (P(0, 0, 9, 3, "a"), P(0, 0, 90, 4, "a"), []),
        (P(0, 0, 9, 3, "a"), P(0, 0, 9, 9, "b"), []),
        (P(0, 0, 9, 9, "a"), P(0, 0, 10, 9, "a"), []),  # has just come
        (P(0, 9, 9, 3, None), P(0, 9, 9, 3, None), []),  # deleted by age: nothing waits
        (P(0, 0, 9, 3, "a"), P(0, 0, 9, 3, "a"), ["partition 0 is deaf: 6 tasks wait, none done in 5.0 s, held by a"]),
        (
            P(0, 0, 9, 3, "a"),
            P(0, 0, 9, 3, None),
            ["partition 0 is deaf: 6 tasks wait, none done in 5.0 s, nobody holds it now"],
        ),
        (P(0, 4, 9, None, None), P(0, 4, 9, None, None), ["partition 0: 5 tasks wait and no worker holds it"]),
        (P(0, 0, 9, 9, None), P(0, 0, 10, 9, None), ["partition 0: 1 tasks wait and no worker holds it"]),
    ],
)
def test_a_partition_is_judged_by_its_progress(first: object, now: object, found: list[str]):
    assert status.problems([first], [now], 5.0) == found


def test_with_no_topic_there_is_nothing_to_do(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str]
):
    topics(create=False)
    one = program(MODULE, "--check", env=kafka_env)
    assert (one.wait(), one.output.splitlines()[-1]) == (0, "healthy: none waits")


def test_from_no_worker_to_a_deaf_one_to_a_healthy_one(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str]
):
    servers = topics(partitions=2)
    send(servers, 50)

    table = program(MODULE, env=kafka_env)
    assert table.wait() == 0
    assert table.output.splitlines()[0].split() == ["partition", "end", "committed", "lag", "held", "by"]
    assert table.output.splitlines()[-1].split() == ["all", "50", "0", "50", "0", "workers"]
    unheld = program(MODULE, "--check", "--seconds", 1, env=kafka_env)
    assert unheld.wait() == 1
    assert "partition 0: " in unheld.output and " tasks wait and no worker holds it" in unheld.output

    worker = program(WORKER, env=kafka_env)
    until(lambda: done(servers) == 50, what="tasks are done")
    idle = program(MODULE, "--check", env=kafka_env)
    assert (idle.wait(), idle.output.splitlines()[-1]) == (0, "healthy: none waits")
    held = idle.output.splitlines()[1].split()
    assert held[:4] == ["0", held[1], held[1], "0"] and held[-1] == "127.0.0.1"

    worker.terminate()
    assert worker.wait() == 0
    deaf_worker = program(WORKER, env=kafka_env | {"IRIS_SIMULATED_CPU_SECONDS": "50"})  # a member that answers nobody
    deaf_worker.wait_for("holds partitions 0, 1")
    send(servers, 50)
    deaf = program(MODULE, "--check", "--seconds", 1, env=kafka_env)
    assert deaf.wait() == 1
    assert "partition 1 is deaf: " in deaf.output and ", held by " in deaf.output
    assert deaf.output.splitlines()[-1] == "unhealthy"

    check = program(MODULE, "--check", "--seconds", 30, env=kafka_env)
    deaf_worker.terminate()
    program(WORKER, env=kafka_env)
    assert check.wait() == 0
    assert check.output.splitlines()[-1].startswith("healthy: ")


def test_a_worker_is_judged_by_its_own_partitions_and_must_be_in_the_group(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str]
):
    servers = topics(partitions=2)
    deaf = program(WORKER, env=kafka_env | {"IRIS_WORKER_NAME": "deaf", "IRIS_SIMULATED_CPU_SECONDS": "50"})
    deaf.wait_for("holds partitions 0, 1")
    good = program(WORKER, env=kafka_env | {"IRIS_WORKER_NAME": "good"})
    good.wait_for(re.compile(r"worker good holds partitions \d\n"))
    send(servers, 50)
    until(lambda: done(servers) > 0, what="the good worker has done its own")
    checks = {
        name: program(MODULE, "--check", "--worker", name, "--seconds", seconds, env=kafka_env)
        for name, seconds in (("good", 30), ("deaf", 1), ("absent", 1))
    }
    assert {name: one.wait() for name, one in checks.items()} == {"good": 0, "deaf": 1, "absent": 1}
    assert checks["good"].output.splitlines()[-1] == "healthy: none waits"
    assert " is deaf: " in checks["deaf"].output and "held by worker-deaf " in checks["deaf"].output
    assert "worker absent is not in the group iris-task-queue-workers" in checks["absent"].output
    spare = [program(WORKER, env=kafka_env | {"IRIS_WORKER_NAME": f"spare-{n}"}) for n in range(2)]
    for one in spare:
        one.wait_for("is ready")
    idle = program(MODULE, "--check", "--worker", "spare-1", "--seconds", 30, env=kafka_env)
    assert (idle.wait(), idle.output.splitlines()[-1]) == (0, "healthy: none waits")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_seconds_must_be_a_time(program: Callable[..., Program], env: dict[str, str], seconds: str):
    one = program(MODULE, "--check", f"--seconds={seconds}", env=env)
    assert one.wait() == 2
    assert one.errors == f"--seconds: {seconds} is not a number above 0 and at most 3600. Try --help.\n"


def test_without_kafka_it_says_so_in_one_line(program: Callable[..., Program], env: dict[str, str]):
    one = program(MODULE, "--check", env=env | {"KAFKA_BOOTSTRAP_SERVERS": "localhost:1"})
    assert one.wait() == 1
    assert one.errors == "No Kafka answers at localhost:1. Start one with: python -m common.embedded_kafka\n"


def test_what_a_transaction_leaves_behind_is_not_a_task_that_waits(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str]
):
    servers = topics(partitions=2)
    program(WORKER, env=kafka_env)
    producer = Producer({"bootstrap.servers": servers, "transactional.id": "a-sender", "log_level": 0})
    producer.init_transactions(WAIT_SECONDS)
    for abort in (False, True):  # each leaves a mark, and one that is undone a message that nobody may read
        producer.begin_transaction()
        for number in range(2):
            producer.produce(TASKS, json.dumps({"task_id": f"{abort}-{number}", "X": X}), partition=number)
        assert producer.flush(WAIT_SECONDS) == 0
        producer.abort_transaction(WAIT_SECONDS) if abort else producer.commit_transaction(WAIT_SECONDS)
    until(lambda: count(servers, TASKS) == 8, what="all marks written")
    until(lambda: done(servers) == 2, what="the committed tasks are done")
    check = program(MODULE, "--check", env=kafka_env)
    assert (check.wait(), check.output.splitlines()[-1]) == (0, "healthy: none waits")
    assert check.output.splitlines()[-2].split() == ["all", "8", "2", "0", "1", "worker"]


def test_another_group_has_a_state_of_its_own(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str]
):
    servers = topics(partitions=1)
    worker = program(WORKER, env=kafka_env)
    send(servers, 3)
    until(lambda: done(servers) == 3, what="tasks are done")
    other = program(MODULE, "--check", "--seconds", "0.5", "--group", "iris-mq-workers", env=kafka_env)
    assert (other.wait(), other.output.splitlines()[-1]) == (1, "unhealthy")
    assert "partition 0: 3 tasks wait and no worker holds it" in other.output
    assert worker.exit_code is None


def test_a_sender_of_rubbish_makes_the_queue_unhealthy(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str]
):
    servers = topics(partitions=1)
    produce(servers, TASKS, [b"rubbish"] * 150)
    program(WORKER, env=kafka_env)
    until(lambda: done(servers) == 150, what="all refused")
    check = program(MODULE, "--check", env=kafka_env)
    assert check.wait() == 1
    assert "most of what arrives is not a task: 150 dead letters and 150 messages in a minute" in check.output


def test_tasks_that_will_soon_be_deleted_and_senders_clocks_are_warned_of(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str]
):
    servers = topics(partitions=1)
    admin = admin_of(servers)
    set_topic(admin, TASKS, {"message.timestamp.type": "CreateTime"})
    old_ms = int((time.time() - 0.9 * RETENTION_MS[TASKS] / 1000) * 1000)
    producer = Producer({"bootstrap.servers": servers, "log_level": 0})
    producer.produce(TASKS, json.dumps({"task_id": "old", "X": X}), timestamp=old_ms)
    assert producer.flush(WAIT_SECONDS) == 0
    table = program(MODULE, env=kafka_env)
    assert table.wait() == 0
    warned, clocks = table.output.splitlines()[-2:]
    assert warned == "partition 0: its oldest task will be deleted by age in 16.8 hours"
    assert clocks.startswith("time limits count by the senders' clocks")
    setup = program("5_task_queue.kafka_setup", "--partitions", "1", env=kafka_env)
    assert setup.wait() == 0
    again = program(MODULE, env=kafka_env)
    assert again.wait() == 0
    assert again.output.splitlines()[-1] == warned
