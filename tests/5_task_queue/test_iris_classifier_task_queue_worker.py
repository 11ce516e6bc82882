"""Stage 5's workers: the handler alone, then real workers, killed and stopped, on the real Kafka."""

import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
from confluent_kafka import Message, Producer

from common.embedded_kafka import EmbeddedKafka
from common.iris_dto import EXPECTED, SPECIES, Measurement, Result
from common.iris_model import IrisModel, load_data, predict_many
from common.kafka.topics import DEAD_LETTER, RESULTS, TASKS
from tests.helpers import (
    STOP_SECONDS,
    WAIT_SECONDS,
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

WORKER = "5_task_queue.iris_classifier_task_queue_worker"
GROUP = "iris-task-queue-workers"
DELIVERIES = ["at-least-once", "exactly-once"]
OF_STAGE_4 = json.dumps(X).encode()
Start = Callable[..., Program]


def task(task_id: str, **values: object) -> bytes:
    return json.dumps({"task_id": task_id, "X": X | values}).encode()


def message(value: bytes | None, key: bytes | None, offset: int = 0) -> Message:
    return Message(topic=TASKS, partition=0, offset=offset, key=key, value=value)  # type: ignore[call-arg]


# Key, value and the reason in the dead letter: bad input of every kind.
BAD: list[tuple[bytes | None, bytes | None, str]] = [
    (b"empty", b"", "Not JSON."),
    (b"none", None, "Not JSON."),
    (b"not-utf-8", b"\xff\xfe\x00", "Not JSON."),
    (b"not-json", b"hi", "Not JSON."),
    (b"half", task("half")[:-1], "Not JSON."),
    (b"two", task("a") + b"," + task("b"), "Not JSON."),
    (b"list", b"[]", "Expected a JSON object with the fields of the message."),
    (b"number", b"5.1", "Expected a JSON object with the fields of the message."),
    (b"no-fields", b"{}", "task_id: missing, expected a string of 1 to 128 characters."),
    (b"no-x", b'{"task_id": "t"}', f"X: missing, expected a JSON object with {', '.join(X)}."),
    (b"x-list", b'{"task_id": "t", "X": [1, 2, 3, 4]}', f"X: [1, 2, 3, 4] is not a JSON object with {', '.join(X)}."),
    (b"wrong-count", b'{"task_id": "t", "X": {"sepal_length": 1}}', f"X.sepal_width: missing, expected {EXPECTED}."),
    (b"text", task("t", petal_width="0.2"), f"X.petal_width: '0.2' is not {EXPECTED}."),
    (b"true", task("t", petal_width=True), f"X.petal_width: True is not {EXPECTED}."),
    (b"nan", task("t", petal_width=float("nan")), f"X.petal_width: nan is not {EXPECTED}."),
    (b"infinity", task("t", petal_width=float("-inf")), f"X.petal_width: -inf is not {EXPECTED}."),
    (b"negative", task("t", petal_width=-0.2), f"X.petal_width: -0.2 is not {EXPECTED}."),
    (b"zero", task("t", petal_width=0), f"X.petal_width: 0 is not {EXPECTED}."),
    (b"huge", task("t").replace(b"0.2", b"1e999"), f"X.petal_width: inf is not {EXPECTED}."),
    (b"long-id", task("t" * 129), f"task_id: '{'t' * 40}...' is not a string of 1 to 128 characters."),
    (b"number-id", b'{"task_id": 1, "X": {}}', "task_id: 1 is not a string of 1 to 128 characters."),
    (b"megabyte", b"x" * 1_000_000, "Not JSON."),
    (b"deep", b"[" * 1_000_000, "Not JSON."),
    (b"deep-x", b'{"task_id": "t", "X": ' + b'{"a":' * 100_000, "Not JSON."),
    (None, b"no key", "Not JSON."),
    (b"\xff\xfe", b"no text as key", "Not JSON."),
]  # fmt: skip


# --- the handler, without a broker ------------------------------------------------------------------------------------


@pytest.fixture
def handle(model: IrisModel):
    module = import_module(WORKER)
    return lambda batch: module.handle(batch, model)


def told(replies) -> dict[str, Result]:
    """Return the results by task id; each task has exactly one."""
    results = {task_id: Result.model_validate_json(value) for task_id, value in replies.results}
    assert len(results) == len(replies.results)
    assert all(result.task_id == task_id for task_id, result in results.items())
    return results


@pytest.mark.parametrize(("key", "value", "reason"), BAD, ids=[str(key) for key, _, _ in BAD])
def test_what_is_no_task_becomes_a_dead_letter_and_an_error_for_whoever_waits(
    key: bytes | None, value: bytes | None, reason: str, handle
):
    replies = handle([message(value, key)])
    (letter,) = replies.dead_letters
    assert letter.message.value() == value
    assert letter.reason == reason
    assert len(letter.reason) < 200 and "\n" not in letter.reason
    if key in (None, b"\xff\xfe"):
        assert replies.results == []
    else:
        (result,) = told(replies).values()
        assert result.task_id == key.decode()
        assert (
            result.y is None
            and result.error
            and (result.error.code, result.error.message) == ("invalid", letter.reason)
        )


def test_valid_messages_of_stage_4_are_skipped_and_counted(handle):
    replies = handle([message(OF_STAGE_4, None), message(task("t"), b"t"), message(OF_STAGE_4, b"k")])
    assert (len(replies.results), replies.dead_letters, len(replies.skipped)) == (1, [], 2)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_results_are_equal_row_for_row_with_bad_messages_in_every_position(size: int, handle, model: IrisModel):
    dice = random.Random(size)
    rows = np.random.default_rng(size).uniform(0.1, 9, (size, 4)).round(2)
    named = [dict(zip(X, row, strict=True)) for row in rows.tolist()]
    good = [message(task(f"task-{i}", **values), f"task-{i}".encode()) for i, values in enumerate(named)]
    measurements = [Measurement(**values) for values in named]
    expected = predict_many(model, measurements)

    def check(bad_at: set[int]) -> None:
        bad = {i: BAD[dice.randrange(len(BAD))] for i in bad_at}
        batch = [message(bad[i][1], bad[i][0], i) if i in bad else good[i] for i in range(size)]
        replies = handle(batch)
        by_id = {task_id: Result.model_validate_json(value) for task_id, value in replies.results}
        assert {letter.message.offset() for letter in replies.dead_letters} == bad_at
        for i in set(range(size)) - bad_at:
            result = by_id.pop(f"task-{i}")
            assert result.X == measurements[i].model_dump()
            assert result.y and (result.y.iris_type, result.y.species) == (expected[i].iris_type, expected[i].species)
            assert result.y.probabilities == pytest.approx(expected[i].probabilities, abs=1e-12)
            assert result.y.warnings == expected[i].warnings
        assert all(result.error for result in by_id.values())

    check(set())
    for position in range(size) if size < 100 else [0, 1, 499, 998, 999]:
        check({position})
    check(set(range(0, size, 2)))
    check(set(range(size)))


# --- real workers -----------------------------------------------------------------------------------------------------


def flowers(number: int) -> tuple[list[str], list[bytes]]:
    """Return ids, the same each time, and tasks: Fisher's flowers over and over."""
    data = load_data()[0].tolist()
    ids = [str(uuid.UUID(int=random.Random(i).getrandbits(128), version=4)) for i in range(number)]
    return ids, [task(one, **dict(zip(X, data[i % len(data)], strict=True))) for i, one in enumerate(ids)]


def answers(found: list[Message]) -> dict[str, set[str]]:
    """Return the answers of each task id; a task that was done twice has the same one twice."""
    by_id: dict[str, set[str]] = {}
    for one in found:
        result = Result.model_validate_json(one.value() or b"")
        assert (one.key() or b"").decode() == result.task_id
        by_id.setdefault(result.task_id or "", set()).add(result.y.species if result.y else "error")
    return by_id


@pytest.mark.parametrize("delivery", [pytest.param("at-least-once", marks=pytest.mark.slow), "exactly-once"])
def test_a_worker_killed_in_the_middle_of_1000_tasks_loses_none(
    delivery: str, topics, program: Start, kafka_env: dict[str, str], model: IrisModel
):
    servers = topics(partitions=4)
    env = kafka_env | {"IRIS_SIMULATED_CPU_SECONDS": "0.01"}  # ten seconds of work: nobody is killed too late
    workers = [program(WORKER, "--delivery", delivery, env=env) for _ in range(3)]
    for worker in workers:
        worker.wait_for_line(f"is ready ({delivery})")
        worker.wait_for_line("holds partitions")
    ids, tasks = flowers(1000)
    produce(servers, TASKS, tasks, ids)
    victim = until(
        lambda: next((one for one in workers if "did" in one.output and count(servers, RESULTS) >= 50), None),
        what="a worker at work",
    )
    victim.kill()
    assert committed(servers, GROUP, TASKS) < 1000, "killed too late to show anything"

    def complete(found: list[Message]) -> bool:
        return len(found) >= 1000 and len({m.key() for m in found}) == 1000

    found = answers(messages(servers, RESULTS, complete, seconds=90))
    assert set(found) == set(ids)
    expected = np.array(SPECIES)[model.predict_proba(load_data()[0]).argmax(axis=1)]
    assert found == {one: {str(expected[i % 150])} for i, one in enumerate(ids)}
    assert count(servers, DEAD_LETTER) == 0
    for survivor in workers:
        if survivor is not victim:
            assert (survivor.exit_code, survivor.errors) == (None, "")


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_bad_input_of_every_kind_is_buried_answered_and_nothing_after_it_is_lost(
    delivery: str, topics, program: Start, kafka_env: dict[str, str]
):
    servers = topics(partitions=1)
    worker = program(WORKER, "--delivery", delivery, env=kafka_env)
    ids, tasks = flowers(3 * len(BAD))
    keys: list[bytes | str | None] = []
    values: list[bytes | None] = []
    for i, (key, value, _) in enumerate(BAD):
        keys += [ids[3 * i], key, ids[3 * i + 1], None, ids[3 * i + 2]]
        values += [tasks[3 * i], value, tasks[3 * i + 1], OF_STAGE_4, tasks[3 * i + 2]]
    produce(servers, TASKS, values, keys)
    waited_for = {key.decode() for key, _, _ in BAD if key not in (None, b"\xff\xfe")}
    found = answers(messages(servers, RESULTS, len(ids) + len(waited_for)))
    assert set(found) == set(ids) | waited_for
    assert {one for one, species in found.items() if species == {"error"}} == waited_for
    letters = messages(servers, DEAD_LETTER, len(BAD))
    assert [(m.key(), m.value() or b"") for m in letters] == [(key, value or b"") for key, value, _ in BAD]
    for i, letter in enumerate(letters):
        story = headers_of(letter)
        assert story["dead-letter-topic"] == TASKS
        assert (story["dead-letter-partition"], story["dead-letter-offset"]) == ("0", str(5 * i + 1))
        assert story["dead-letter-reason"] == BAD[i][2]
        assert story["dead-letter-attempts"] == "1"
    until(lambda: committed(servers, GROUP, TASKS) >= len(values), what="committed")
    worker.terminate()
    assert worker.wait(STOP_SECONDS) == 0
    assert worker.errors == ""


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_compressed_message_too_large_to_be_kept_leaves_a_stub_and_the_tasks_after_it_are_done(
    delivery: str, topics, program: Start, kafka_env: dict[str, str]
):
    servers = topics(partitions=1)
    ids, tasks = flowers(1)
    produce(servers, TASKS, [b"x" * 2_000_000], settings={"compression.type": "gzip", "message.max.bytes": 10_000_000})
    produce(servers, TASKS, tasks, ids)
    worker = program(WORKER, "--delivery", delivery, env=kafka_env)
    assert set(answers(messages(servers, RESULTS, 1))) == set(ids)
    (letter,) = messages(servers, DEAD_LETTER, 1)
    assert letter.value() in (None, b"")
    assert headers_of(letter)["dead-letter-bytes"] == "2000000"
    assert headers_of(letter)["dead-letter-reason"] == "Not JSON."
    replay = program("5_task_queue.dead_letters", "replay", "--all", env=kafka_env)
    assert replay.wait() == 1
    assert "dead letter 0 was too large to be kept (2000000 bytes): not sent" in replay.output
    assert (worker.exit_code, worker.errors) == (None, "")


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_dead_letter_that_its_topic_refuses_leaves_a_stub_and_the_tasks_after_it_are_done(
    delivery: str, topics, program: Start, kafka_env: dict[str, str]
):
    servers = topics(partitions=1)
    set_topic(admin_of(servers), DEAD_LETTER, {"max.message.bytes": "10000"})
    ids, tasks = flowers(2)
    large = b"x" * 900_000
    produce(servers, TASKS, [tasks[0], large, b"small", large, tasks[1]], [ids[0], "one", "small", "two", ids[1]])
    worker = program(WORKER, "--delivery", delivery, env=kafka_env)
    assert set(answers(messages(servers, RESULTS, 5))) == {*ids, "one", "small", "two"}
    letters = {headers_of(letter)["dead-letter-offset"]: letter for letter in messages(servers, DEAD_LETTER, 3)}
    assert sorted(letters) == ["1", "2", "3"]
    for offset in ("1", "3"):
        assert (letters[offset].value(), headers_of(letters[offset])["dead-letter-bytes"]) == (None, "900003")
        assert headers_of(letters[offset])["dead-letter-reason"] == "Not JSON."
    until(lambda: committed(servers, GROUP, TASKS) >= 5, what="committed")
    assert (worker.exit_code, worker.errors) == (None, "")


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_sigterm_ends_a_busy_worker_within_3_seconds_and_the_next_one_does_the_rest_once(
    delivery: str, topics, program: Start, kafka_env: dict[str, str]
):
    servers = topics(partitions=2)
    busy = program(WORKER, "--delivery", delivery, env=kafka_env | {"IRIS_SIMULATED_CPU_SECONDS": "0.05"})
    ids, tasks = flowers(300)
    produce(servers, TASKS, tasks, ids)
    busy.wait_for_line(" did ")
    busy.terminate()
    assert busy.wait(STOP_SECONDS) == 0
    assert busy.errors == ""
    done = committed(servers, GROUP, TASKS)
    assert 0 < done < 300

    program(WORKER, "--delivery", delivery, env=kafka_env)
    found = messages(servers, RESULTS, 300)
    until(lambda: committed(servers, GROUP, TASKS) >= 300, what="committed")
    assert set(answers(found)) == set(ids)
    if delivery == "exactly-once":
        assert len(messages(servers, RESULTS, 300)) == 300


@pytest.mark.parametrize("frozen", [1.0, 2.4])
def test_sigterm_while_a_commit_is_slow_doubles_nothing_exactly_once(
    frozen: float, topics, program: Start, kafka_env: dict[str, str], kafka: EmbeddedKafka
):
    servers = topics(partitions=2)
    env = kafka_env | {"IRIS_SIMULATED_CPU_SECONDS": "0.002"}
    first = program(WORKER, "--delivery", "exactly-once", env=env)
    first.wait_for_line("holds partitions 0, 1")
    ids, tasks = flowers(2000)
    produce(servers, TASKS, tasks, ids)
    until(lambda: committed(servers, GROUP, TASKS) > 0, what="a first batch committed")
    kafka.pause(1)
    try:
        began = time.monotonic()
        first.terminate()
        until(lambda: time.monotonic() - began > frozen)
    finally:
        kafka.resume(1)
    first.wait(STOP_SECONDS)
    assert committed(servers, GROUP, TASKS) < 2000, "stopped too late to show anything"
    program(WORKER, "--delivery", "exactly-once", env=kafka_env)
    until(lambda: committed(servers, GROUP, TASKS) == 2000, what="all done")
    ends = [f"end-{i}" for i in range(20)]  # behind all results, in both partitions
    produce(servers, RESULTS, ends, ends)
    seen = Counter(m.key() for m in messages(servers, RESULTS, lambda found: {m.key() for m in found} >= encoded(ends)))
    assert seen == Counter(encoded([*ids, *ends]))


def encoded(texts: list[str]) -> set[bytes]:
    return {text.encode() for text in texts}


def test_workers_share_the_partitions_and_say_which(topics, program: Start, kafka_env: dict[str, str]):
    topics(partitions=4)
    first = program(WORKER, env=kafka_env)
    first.wait_for_line("holds partitions 0, 1, 2, 3")
    second = program(WORKER, env=kafka_env)

    def held(worker: Program) -> set[str]:
        lines = [line for line in worker.output.splitlines() if "holds partitions" in line]
        return set(lines[-1].split("partitions ")[1].split(", ")) if lines else set()

    until(
        lambda: len(held(first)) == len(held(second)) == 2 and held(first) | held(second) == set("0123"), what="shared"
    )
    second.terminate()
    assert second.wait(STOP_SECONDS) == 0
    until(lambda: held(first) == set("0123"), what="taken over")
    assert (first.errors, second.errors) == ("", "")


def test_good_tasks_are_done_beside_a_sender_of_rubbish(topics, program: Start, kafka_env: dict[str, str]):
    servers = topics()
    ids, tasks = flowers(100)
    both = [[b"rubbish"] * 9 + [one] for one in tasks]
    keys = [[None] * 9 + [one] for one in ids]
    produce(servers, TASKS, [value for group in both for value in group], [key for group in keys for key in group])
    worker = program(WORKER, env=kafka_env)
    found = answers(messages(servers, RESULTS, len(ids)))
    assert set(found) == set(ids) and {"error"} not in found.values()
    until(lambda: committed(servers, GROUP, TASKS) >= 1000, what="committed")
    assert len(messages(servers, DEAD_LETTER, 900)) == 900
    assert worker.errors.startswith("Most of the last 200 messages in tasks are not valid tasks.")
    assert (worker.exit_code, worker.errors.count("\n")) == (None, 1)


def test_a_worker_whose_transactional_id_is_taken_ends_and_names_it(topics, program: Start, kafka_env: dict[str, str]):
    servers = topics()
    env = kafka_env | {"IRIS_WORKER_NAME": "twin"}
    first = program(WORKER, "--delivery", "exactly-once", env=env)
    first.wait_for_line("Worker twin is ready (exactly-once)")
    ids, tasks = flowers(2)
    produce(servers, TASKS, tasks[:1], ids[:1])
    until(lambda: committed(servers, GROUP, TASKS) == 1, what="the first task committed")
    again = program(WORKER, env=env)
    assert (again.wait(), again.errors) == (1, "The name twin (IRIS_WORKER_NAME) is taken by another worker.\n")

    settings = {"bootstrap.servers": servers, "transactional.id": f"{GROUP}-twin", "log_level": 0}
    Producer(settings).init_transactions(WAIT_SECONDS)  # as a worker with this name on another host does
    produce(servers, TASKS, tasks[1:], ids[1:])
    assert first.wait() == 1
    assert first.errors.startswith(f"Kafka has given the transactional id {GROUP}-twin to another worker.")
    assert first.errors.count("\n") == 1
    second = program(WORKER, "--delivery", "exactly-once", env=env)
    assert set(answers(messages(servers, RESULTS, 2))) == set(ids)
    assert (second.exit_code, second.errors) == (None, "")


@pytest.mark.parametrize("arguments", [["--delivery", "maybe"], ["--max-batch", "many"], ["5.1"]])
def test_wrong_arguments_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        import_module(WORKER).main(arguments)
    assert end.value.code == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
