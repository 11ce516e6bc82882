"""The state of the queue, and a health test that looks at progress."""

import importlib
import json
import uuid
from collections.abc import Callable

import pytest

from common.kafka.topics import TASKS
from tests.helpers import Program, X, committed, produce, until

MODULE = "5_task_queue.queue_status"
WORKER = "5_task_queue.iris_classifier_task_queue_worker"
status = importlib.import_module(MODULE)
P = status.Partition


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


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_seconds_must_be_a_time(program: Callable[..., Program], env: dict[str, str], seconds: str):
    one = program(MODULE, "--check", f"--seconds={seconds}", env=env)
    assert one.wait() == 2
    assert one.errors == f"--seconds: {seconds} is not a number above 0 and at most 3600. Try --help.\n"


def test_without_kafka_it_says_so_in_one_line(program: Callable[..., Program], env: dict[str, str]):
    one = program(MODULE, "--check", env=env | {"KAFKA_BOOTSTRAP_SERVERS": "localhost:1"})
    assert one.wait() == 1
    assert one.errors == "No Kafka answers at localhost:1. Start one with: python -m common.embedded_kafka\n"
