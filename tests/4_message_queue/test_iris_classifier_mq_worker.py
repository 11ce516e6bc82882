"""Stage 4's worker: every task is answered once the worker runs, and what is no task harms nobody."""

import json
import signal
import time
from collections.abc import Callable
from importlib import import_module

import pytest
from confluent_kafka import Message

from common.iris_dto import EXPECTED, validate
from common.iris_model import IrisModel, predict
from common.kafka.topics import DEAD_LETTER, RESULTS, TASKS
from tests.helpers import (
    LINE,
    STOP_SECONDS,
    Program,
    X,
    admin_of,
    committed,
    count,
    headers_of,
    messages,
    produce,
    set_topic,
    until,
)

WORKER = "4_message_queue.iris_classifier_mq_worker"
GROUP = "iris-mq-workers"
TASK = json.dumps({"task_id": "4b8f4d0e-3d53-4bb0-8a0c-f0a5a6ad1f4c", "X": X})
BAD: list[tuple[bytes | None, str]] = [  # no measurement, and why
    (None, "Not JSON."),
    (b"", "Not JSON."),
    (b"\xff\xfe\x00", "Not JSON."),
    (b"hi", "Not JSON."),
    (b"[5.1, 3.5, 1.4, 0.2]", "Expected a JSON object with the fields of the message."),
    (b"{}", f"sepal_length: missing, expected {EXPECTED}."),
    (json.dumps(X | {"petal_width": "0.2"}).encode(), f"petal_width: '0.2' is not {EXPECTED}."),
    (json.dumps(X | {"petal_width": float("nan")}).encode(), f"petal_width: nan is not {EXPECTED}."),
    (json.dumps(X | {"petal_width": float("inf")}).encode(), f"petal_width: inf is not {EXPECTED}."),
    (json.dumps(X | {"petal_width": -0.2}).encode(), f"petal_width: -0.2 is not {EXPECTED}."),
    (json.dumps(X).replace("0.2", "1e999").encode(), f"petal_width: inf is not {EXPECTED}."),
    (
        json.dumps({"task_id": "t", "X": X | {"petal_width": 0}}).encode(),
        f"sepal_length: missing, expected {EXPECTED}.",
    ),
    (b"x" * 1_000_000, "Not JSON."),
    (b"[" * 1_000_000, "Not JSON."),
]
Start = Callable[..., Program]


@pytest.fixture
def handle(model: IrisModel) -> Callable[[list[Message]], list]:
    module = import_module(WORKER)
    return lambda batch: module.handle(batch, model)


def message(value: bytes | None, offset: int = 7) -> Message:
    return Message(topic=TASKS, partition=0, offset=offset, key=None, value=value, headers=[("trace", b"1")])  # type: ignore[call-arg]


def test_a_measurement_becomes_a_result(handle, model: IrisModel):
    (reply,) = handle([message(json.dumps(X | {"colour": "blue"}).encode())])
    assert (reply.topic, reply.headers) == (RESULTS, None)
    assert json.loads(reply.value) == {"X": X, "y": predict(model, validate(LINE.split())).model_dump()}


def test_a_task_of_stage_5_is_nobodys_dead_letter(handle):
    assert handle([message(TASK.encode())]) == []


@pytest.mark.parametrize(("value", "reason"), BAD, ids=range(len(BAD)))
def test_what_is_no_measurement_becomes_a_dead_letter_with_its_story(value: bytes | None, reason: str, handle):
    (reply,) = handle([message(value)])
    assert (reply.topic, reply.value) == (DEAD_LETTER, value)
    story = {name: text.decode() for name, text in reply.headers}
    assert time.strptime(story.pop("dead-letter-time"), "%Y-%m-%dT%H:%M:%SZ")
    assert story == {
        "dead-letter-topic": "tasks",
        "dead-letter-partition": "0",
        "dead-letter-offset": "7",
        "dead-letter-reason": reason,
        "dead-letter-attempts": "1",
        "trace": "1",
    }


def test_tasks_wait_for_a_worker_and_bad_ones_harm_nobody(topics, program: Start, kafka_env: dict[str, str]):
    servers = topics()
    widths = [round(0.1 + i / 100, 2) for i in range(30)]
    good = [json.dumps(X | {"petal_width": width}).encode() for width in widths]
    values: list[bytes | None] = []
    for i, value in enumerate(good):  # a bad one and a task of stage 5 among the good ones
        values += [value, BAD[i][0] if i < len(BAD) else TASK.encode()]
    produce(servers, TASKS, values)  # no worker runs

    one = program(WORKER, env=kafka_env)
    one.wait_for_line(f"Worker is ready. Ctrl-C ends it (process {one.pid}).")
    results = messages(servers, RESULTS, len(good))
    assert [json.loads(m.value() or b"")["X"]["petal_width"] for m in results] == widths
    letters = messages(servers, DEAD_LETTER, len(BAD))
    assert [m.value() or b"" for m in letters] == [value or b"" for value, _ in BAD]
    assert [headers_of(m)["dead-letter-reason"] for m in letters] == [reason for _, reason in BAD]
    assert [headers_of(m)["dead-letter-offset"] for m in letters] == [str(2 * i + 1) for i in range(len(BAD))]

    until(lambda: committed(servers, GROUP, TASKS) >= len(values) - 2, what="committed")
    one.terminate()
    assert one.wait(STOP_SECONDS) == 0
    assert (count(servers, RESULTS), count(servers, DEAD_LETTER)) == (len(good), len(BAD))
    assert one.errors == ""

    # What comes while it is away is not lost, and nothing is done twice.
    produce(servers, TASKS, [good[0], b"hi"])
    again = program(WORKER, env=kafka_env)
    messages(servers, DEAD_LETTER, len(BAD) + 1)
    assert [m.value() for m in messages(servers, RESULTS, len(good) + 1)[len(good) :]] == [results[0].value()]
    again.signal(signal.SIGINT)
    assert again.wait(STOP_SECONDS) == 0
    assert (again.errors, count(servers, RESULTS)) == ("", len(good) + 1)


def test_a_dead_letter_that_its_topic_refuses_leaves_a_stub_and_the_tasks_after_it_are_done(
    topics, program: Start, kafka_env: dict[str, str]
):
    servers = topics()
    set_topic(admin_of(servers), DEAD_LETTER, {"max.message.bytes": "10000"})
    produce(servers, TASKS, [b"x" * 900_000, json.dumps(X)])
    worker = program(WORKER, env=kafka_env)
    messages(servers, RESULTS, 1)
    (letter,) = messages(servers, DEAD_LETTER, 1)
    assert (letter.value(), headers_of(letter)["dead-letter-bytes"]) == (None, "900000")
    assert (worker.exit_code, worker.errors) == (None, "")


def test_a_busy_worker_ends_within_3_seconds_and_the_next_one_does_the_rest(
    topics, program: Start, kafka_env: dict[str, str]
):
    servers = topics(partitions=2)
    env = kafka_env | {"IRIS_SIMULATED_CPU_SECONDS": "0.1"}
    produce(servers, TASKS, [json.dumps(X | {"petal_width": 0.1 + i / 100}) for i in range(30)])
    one = program(WORKER, env=env)
    one.wait_for_line("several partitions")
    one.wait_for_line("done")
    one.terminate()
    assert one.wait(STOP_SECONDS) == 0
    assert one.output.splitlines()[0].startswith("The topic tasks has several partitions")
    assert 0 < count(servers, RESULTS) < 30

    program(WORKER, env=kafka_env)
    messages(servers, RESULTS, 30)
    until(lambda: committed(servers, GROUP, TASKS) == 30, what="committed")
    assert count(servers, RESULTS) == 30  # none was done twice


def test_wrong_arguments_are_one_line(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        import_module(WORKER).main(["--fast"])
    assert end.value.code == 2
    assert capsys.readouterr() == ("", "Unrecognized arguments: --fast. Try --help.\n")
