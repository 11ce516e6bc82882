"""Stage 5's client: each gets its own results, in time or later, and never another's."""

import importlib
import json
import re
import statistics
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Producer

from common.iris_dto import EXPECTED, SPECIES, Measurement
from common.kafka.connection import Connection
from common.kafka.topics import RESULTS, TASKS, TIMEOUT_HEADER
from common.terminal import PROMPT
from tests.helpers import (
    CTRL_C,
    LINE,
    STOP_SECONDS,
    VIRGINICA,
    WAIT_SECONDS,
    Program,
    X,
    headers_of,
    messages,
    produce,
    until,
)

WORKER = "5_task_queue.iris_classifier_task_queue_worker"
CLIENT = "5_task_queue.iris_classifier_cli_client_task_queue"
PERSISTER = "4_message_queue.iris_classifier_mq_persister"
results: Any = importlib.import_module("5_task_queue.client.results")
Start = Callable[..., Program]


def test_each_client_gets_its_own_results_in_its_own_order(topics, program: Start, kafka_env: dict[str, str]):
    servers = topics(partitions=3)
    lines = {"setosa": LINE, "versicolor": "5.9 3.0 4.2 1.5", "virginica": VIRGINICA}
    workers = [program(WORKER, env=kafka_env) for _ in range(2)]
    asked = [[SPECIES[(i + number) % 3] for i in range(8)] for number in range(3)]
    clients = [program(CLIENT, env=kafka_env, stdin="\n".join(lines[one] for one in wanted)) for wanted in asked]
    for client, wanted in zip(clients, asked, strict=True):
        assert client.wait() == 0
        assert [line.split()[0] for line in client.output.splitlines()] == wanted
        assert client.errors == ""
    tasks = messages(servers, TASKS, 24)
    ids = [json.loads(m.value() or b"")["task_id"] for m in tasks]
    assert [(m.key() or b"").decode() for m in tasks] == ids
    assert all(uuid.UUID(task_id).version == 4 for task_id in ids) and len(set(ids)) == 24
    results = messages(servers, RESULTS, 24)
    assert sorted((m.key() or b"").decode() for m in results) == sorted(ids)
    assert all(worker.exit_code is None for worker in workers)


def test_results_that_are_not_its_own_or_none_at_all_are_passed_over(topics, program: Start, kafka_env: dict[str, str]):
    servers = topics(partitions=2)
    one = program(CLIENT, env=kafka_env, terminal=True)
    one.wait_for(PROMPT)
    one.send_line(LINE)
    (task,) = messages(servers, TASKS, 1)
    task_id = json.loads(task.value() or b"")["task_id"]
    assert headers_of(task)[TIMEOUT_HEADER] == "30000"
    y = {"iris_type": 2}
    noise = [
        *(None, b"", b"\xff", b"hi", task_id, f'"{task_id}"', b"x" * 1_000_000),
        json.dumps({"task_id": str(uuid.uuid4()), "y": y}),
        json.dumps({"task_id": task_id[:-1], "y": y}),
        json.dumps({"task_id": None, "X": task_id, "y": y}),
        json.dumps({"task_id": task_id}),
        json.dumps({"task_id": task_id, "y": {"iris_type": "0"}}),
        json.dumps({"X": X, "y": y}),  # stage 4's
    ]
    produce(servers, RESULTS, noise)
    produce(servers, RESULTS, [json.dumps({"task_id": task_id, "y": {"iris_type": 1}, "more": 1})])
    assert one.wait_for_line("versicolor") == "versicolor"
    one.wait_for(PROMPT)

    one.send_line(LINE)
    second = json.loads(messages(servers, TASKS, 2)[-1].value() or b"")["task_id"]
    tasks = {json.loads(m.value() or b"")["task_id"] for m in messages(servers, TASKS, 2)}
    (second,) = tasks - {task_id}
    produce(
        servers, RESULTS, [json.dumps({"task_id": second, "error": {"code": "too-slow", "message": "It took long."}})]
    )
    assert one.wait_for_line("error: ") == "error: It took long."
    one.wait_for(PROMPT)
    one.send(CTRL_C)
    assert one.wait(STOP_SECONDS) == 0
    assert "virginica" not in one.output


def test_a_task_that_no_worker_does_is_named_and_its_answer_is_found_later(
    topics, program: Start, kafka_env: dict[str, str]
):
    servers = topics(partitions=2)
    one = program(CLIENT, "--timeout", "0.5", env=kafka_env, stdin=f"{LINE}\nnothing\n")
    assert one.wait() == 0
    late, wrong = one.output.splitlines()
    found = re.fullmatch(r"No answer within 0\.5 s\. Is a worker running\? Ask again with --task-id (\S+)", late)
    assert found and uuid.UUID(found[1]).version == 4
    assert wrong.endswith("got 1.")

    # Still none: the same measurement can be sent again with the same id.
    again = program(CLIENT, "--task-id", found[1], "--timeout", "30", env=kafka_env)
    again.wait_for_line("No answer yet.")
    worker = program(WORKER, env=kafka_env)
    worker.wait_for_line("holds partitions")
    again.send_line(LINE)
    answer = again.wait_for_line("setosa (")
    again.end_input()
    assert again.wait() == 0

    # From the topic.
    for task_id, expected in [(found[1], answer), (str(uuid.uuid4()), "No answer yet.")]:
        later = program(CLIENT, "--task-id", task_id, env=kafka_env, stdin="")
        assert later.wait() == 0
        assert later.output.startswith(expected)

    # From the persister's store, when the topic has forgotten it.
    persister = program(PERSISTER, env=kafka_env)
    persister.wait_for_line("stored ")
    persister.terminate()
    worker.terminate()
    assert persister.wait(STOP_SECONDS) == 0
    assert worker.wait(STOP_SECONDS) == 0
    topics(partitions=2)
    stored = program(CLIENT, "--task-id", found[1], env=kafka_env)
    assert stored.wait() == 0
    assert (stored.output, stored.errors) == (answer + "\n", "")
    assert servers


def test_wrong_input_is_explained_and_not_sent(topics, program: Start, kafka_env: dict[str, str]):
    topics()
    lines = ["5.1 3.5 1.4", "5.1 3.5 1.4 -0.2", "5.1 1e999 1.4 0.2", "x" * 1_000_000, "q"]
    one = program(CLIENT, env=kafka_env, stdin="\n".join(lines))
    assert one.wait() == 0
    assert one.output.splitlines() == [
        "Expected 4 numbers (sepal_length, sepal_width, petal_length, petal_width in cm), got 3.",
        f"petal_width: -0.2 is not {EXPECTED}.",
        f"sepal_width: inf is not {EXPECTED}.",
        "Expected 4 numbers (sepal_length, sepal_width, petal_length, petal_width in cm), got 1.",
    ]
    assert one.errors == ""


def test_control_c_ends_the_wait_for_an_answer(topics, program: Start, kafka_env: dict[str, str]):
    servers = topics()
    one = program(CLIENT, env=kafka_env, terminal=True)
    one.wait_for(PROMPT)
    one.send_line(LINE)
    until(lambda: messages(servers, TASKS, 1), what="sent")
    one.send(CTRL_C)
    assert one.wait(STOP_SECONDS) in (0, 130)


def test_an_answer_in_a_partition_that_was_added_while_it_waits_is_found(
    topics, program: Start, kafka_env: dict[str, str]
):
    servers = topics(partitions=1)
    one = program(CLIENT, env=kafka_env)
    one.send_line(LINE)
    (task,) = messages(servers, TASKS, 1)
    task_id = json.loads(task.value() or b"")["task_id"]
    setup = program("5_task_queue.kafka_setup", "--partitions", 3, env=kafka_env)
    assert setup.wait() == 0
    answer = json.dumps({"task_id": task_id, "y": {"iris_type": 1, "species": "versicolor"}})
    producer = Producer({"bootstrap.servers": servers, "log_level": 0})
    producer.produce(RESULTS, answer, partition=2)
    assert producer.flush(WAIT_SECONDS) == 0
    one.wait_for_line("versicolor")


def test_a_task_that_comes_too_late_says_so(topics, program: Start, kafka_env: dict[str, str]):
    servers = topics()
    one = program(CLIENT, "--timeout", 4, env=kafka_env)
    one.send_line(LINE)
    (task,) = messages(servers, TASKS, 1)
    task_id = json.loads(task.value() or b"")["task_id"]
    error = {"code": "deadline-passed", "message": "Not started: its time was over 60.0 s before its turn came."}
    produce(servers, RESULTS, [json.dumps({"task_id": task_id, "error": error})])
    line = one.wait_for_line("No answer")
    assert line.startswith("No answer within 4 s. A worker says: Not started: its time was over 60.0 s before its turn")
    assert line.endswith(f"Ask again with --task-id {task_id}")


def test_an_old_answer_is_looked_for_in_one_partition_and_not_for_ever(
    topics, kafka_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    servers = topics(partitions=4)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    monkeypatch.setattr(results, "LATEST", 3)
    ids = [str(uuid.UUID(int=number)) for number in range(48)]
    y = {"iris_type": 1, "species": "versicolor"}
    produce(servers, RESULTS, [json.dumps({"task_id": one, "y": y}) for one in ids], ids)
    found = [one for one in ids if results._published(one, Connection())]
    assert len(found) == 12  # the latest three of each partition
    assert set(found) <= set(ids[24:])
    assert results._published(str(uuid.uuid4()), Connection()) is None


@pytest.mark.slow
def test_an_idle_clients_next_answer_does_not_wait_for_results_of_others(
    topics, program: Start, kafka_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    servers = topics(partitions=2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    program(WORKER, env=kafka_env).wait_for_line("holds partitions")
    module: Any = importlib.import_module(CLIENT)
    client = module.TaskClient()

    def seconds_after(foreign: int) -> float:
        """Return how long an answer takes to a client that was idle while so many results of others came."""
        produce(servers, RESULTS, [b"{}"] * foreign, settings={"queue.buffering.max.messages": 1_000_000})
        client._results._read -= 10 * module.IDLE_SECONDS  # as if it had rested
        began = time.monotonic()
        client.position()
        client.predict(Measurement(**X), str(uuid.uuid4()), WAIT_SECONDS)
        return time.monotonic() - began

    with closing(client):
        seconds_after(0)
        usual = statistics.median(seconds_after(0) for _ in range(5))
        idle = statistics.median(seconds_after(150_000) for _ in range(5))  # more than its queue takes
    assert idle < usual + 0.5  # a client that waits for room in its queue waits for a second
