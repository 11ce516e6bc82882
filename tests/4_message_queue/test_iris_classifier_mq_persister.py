"""Stage 4's persister: whatever ends it, each result is stored, and stored once."""

import contextlib
import json
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # pyright: ignore[reportPrivateImportUsage]

from common.kafka.connection import Connection, base_config, consumer_config
from common.kafka.topics import RESULTS, RETENTION_MS
from common.results.persister import Persister, results_consumer
from common.results.store import ResultStore
from tests.helpers import STOP_SECONDS, WAIT_SECONDS, Program, X, admin_of, produce, until

PERSISTER = "4_message_queue.iris_classifier_mq_persister"
Start = Callable[..., Program]


def result(number: int) -> bytes:
    """A result of stage 4: it has no id, so that nothing but the offsets keeps it from being stored twice."""
    return json.dumps({"X": X | {"number": number}, "y": {"iris_type": number % 3, "species": "setosa"}}).encode()


@pytest.fixture
def stored(kafka_env: dict[str, str]) -> Callable[[], list[int]]:
    """Return the numbers of the results that are stored, in order."""

    def read() -> list[int]:
        path = Path(kafka_env["IRIS_DATABASE"])
        if not path.exists():
            return []
        db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            values = db.execute("SELECT value FROM results").fetchall()
        except sqlite3.OperationalError:  # no table yet
            return []
        finally:
            db.close()
        return sorted(json.loads(value)["X"]["number"] for (value,) in values)

    return read


def test_a_persister_killed_in_the_middle_and_two_at_once_store_each_result_once(
    topics, program: Start, kafka_env: dict[str, str], stored
):
    servers = topics(partitions=2)
    total, sent = 12_000, 0

    def send(some: int) -> None:
        nonlocal sent
        produce(servers, RESULTS, map(result, range(sent, sent + some)))
        sent += some

    send(4000)
    first = program(PERSISTER, env=kafka_env)
    first.wait_for_line("Persister is ready")
    first.wait_for_line("stored ")
    send(2000)
    first.kill()
    assert 0 < len(stored()) <= sent
    pair = [program(PERSISTER, env=kafka_env) for _ in range(2)]
    while sent < total:
        send(1000)
    until(lambda: len(stored()) >= total, what="all stored")
    for one in pair:
        one.wait_for_line("Persister is ready")
        one.terminate()
    assert [one.wait(STOP_SECONDS) for one in pair] == [0, 0]
    assert [one.errors for one in pair] == ["", ""]
    assert stored() == list(range(total))

    # One more start finds nothing to do, but what comes now.
    send(1)
    last = program(PERSISTER, env=kafka_env)
    assert last.wait_for_line("stored ") == f"stored 1 results, {total + 1} in all, skipped 0"


def test_two_stores_are_two_complete_copies(topics, program: Start, kafka_env: dict[str, str], tmp_path: Path):
    servers = topics(partitions=2)
    databases = [tmp_path / name for name in ("one.sqlite3", "other.sqlite3")]
    both = [program(PERSISTER, env=kafka_env | {"IRIS_DATABASE": str(path)}) for path in databases]
    for one in both:
        one.wait_for_line("Persister is ready")
    produce(servers, RESULTS, map(result, range(1000)))
    for path in databases:
        with ResultStore(path) as store:
            until(lambda store=store: store.count() == 1000, what=f"all stored in {path.name}")


def test_results_that_will_soon_be_deleted_by_age_are_warned_of(topics, program: Start, kafka_env: dict[str, str]):
    servers = topics(create=False)
    admin = admin_of(servers)
    old = NewTopic(
        RESULTS, 1, config={"message.timestamp.type": "CreateTime", "retention.ms": str(RETENTION_MS[RESULTS])}
    )
    admin.create_topics([old])[RESULTS].result(WAIT_SECONDS)
    producer = Producer({"bootstrap.servers": servers, "log_level": 0})
    producer.produce(RESULTS, result(1), timestamp=int(time.time() * 1000 - 0.9 * RETENTION_MS[RESULTS]))
    assert producer.flush(WAIT_SECONDS) == 0
    one = program(PERSISTER, env=kafka_env)
    one.wait_for_line("stored 1 results")
    warning = "The oldest result not stored yet will be deleted by age in 2.4 hours.\n"
    until(lambda: one.errors == warning, what="the warning, which comes by another pipe")


def test_what_is_no_result_is_skipped_and_the_list_shows_the_rest(
    topics, program: Start, kafka_env: dict[str, str], stored
):
    servers = topics()
    answer = {"iris_type": 2, "species": "virginica"}
    values = [
        result(0),
        *(b"", None, b"hi", b"\xff\xfe", b"[]", b"{}", b"x" * 1_000_000),
        b'{"task_id": "t", "y": {"iris_type": 7}}',
        json.dumps({"task_id": "one", "X": {"number": 1}, "error": {"code": "invalid"}}).encode(),
        json.dumps({"task_id": "two", "X": {"number": 2}, "y": answer}).encode(),
        json.dumps({"task_id": "two", "X": {"number": 9}, "y": answer}).encode(),  # a task that was done twice
        json.dumps({"task_id": "three", "X": {"number": 3}, "y": {"iris_type": 1}}).encode(),
        json.dumps({"task_id": "\ud800", "y": {"iris_type": 1}}).encode(),  # half a character
        json.dumps({"task_id": "one", "X": {"number": 1}, "y": answer}).encode(),  # a dead letter that was replayed
    ]
    produce(servers, RESULTS, values)
    one = program(PERSISTER, env=kafka_env)
    until(lambda: stored() == [0, 1, 2, 3], what="all stored")
    one.wait_for_line("skipped 9")
    listing = program(PERSISTER, "--list", env=kafka_env)
    assert listing.wait() == 0
    *rows, summary = listing.output.splitlines()
    assert [row.split()[:2] for row in rows] == [
        ["setosa", "-"],
        ["virginica", "one"],
        ["virginica", "two"],
        ["versicolor", "three"],
    ]
    assert summary == f"4 results in {kafka_env['IRIS_DATABASE']}"
    limited = program(PERSISTER, "--list", "--limit", "1", env=kafka_env)
    assert limited.wait() == 0
    assert limited.output.splitlines()[0].startswith("versicolor   three")
    assert len(limited.output.splitlines()) == 2
    assert one.errors == ""


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(
    topics, program: Start, kafka_env: dict[str, str], stored
):
    servers = topics()
    produce(servers, RESULTS, map(result, range(5)))
    one = program(PERSISTER, env=kafka_env)
    until(lambda: stored() == list(range(5)), what="stored")
    one.terminate()
    assert one.wait(STOP_SECONDS) == 0

    topics()
    produce(servers, RESULTS, map(result, range(5, 8)))  # fewer than were stored, and more below
    one = program(PERSISTER, env=kafka_env)
    one.wait_for_line("The topic results has been made anew: reading it from its beginning.")
    until(lambda: stored() == list(range(8)), what="stored")
    produce(servers, RESULTS, map(result, range(8, 20)))
    until(lambda: stored() == list(range(20)), what="stored")


class Delayed(Consumer):
    """A consumer that hands out a message late, and learns of its new partitions while it takes a batch."""

    held: Message | None = None
    assigned = True

    def poll(self, timeout: float = -1) -> Message | None:
        message, self.held = self.held, None
        return message or super().poll(timeout)

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        messages = super().consume(num_messages, timeout)
        deadline = time.monotonic() + WAIT_SECONDS
        while not self.assigned and time.monotonic() < deadline:
            messages += super().consume(num_messages, 0.05)
        return messages


def persist_until(one: Persister, stored: Callable[[], list[int]], numbers: list[int]) -> None:
    """Let a persister go on until these results are stored."""

    def step() -> bool:
        messages = one.take()
        if messages:
            one.persist(messages)
        return stored() == numbers

    until(step, what="all stored")


def test_a_message_in_hand_of_a_topic_that_was_made_anew_leaves_no_gap_in_the_new_one(
    topics, kafka_env: dict[str, str], stored, monkeypatch: pytest.MonkeyPatch
):
    servers = topics()
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    stop: Any = SimpleNamespace(requested=False, wait=Event().wait)
    with (
        contextlib.closing(Delayed(consumer_config("delayed-persisters") | {"auto.offset.reset": "error"})) as consumer,
        ResultStore(Path(kafka_env["IRIS_DATABASE"])) as store,
    ):
        one = Persister(AdminClient(base_config()), consumer, store, stop, sqlite3.OperationalError, "here")
        note = one._assigned

        def assign(_: Consumer, partitions: list[TopicPartition]) -> None:
            note(consumer, partitions)
            consumer.assigned = len(partitions) > 0

        monkeypatch.setattr(one, "_assigned", assign)
        one.subscribe()

        go_on_until = partial(persist_until, one, stored)
        produce(servers, RESULTS, map(result, range(10)))
        go_on_until(list(range(10)))
        produce(servers, RESULTS, [result(10)])
        consumer.held = until(lambda: Consumer.poll(consumer, 0.1), what="a message in hand")
        topics()
        produce(servers, RESULTS, map(result, range(11, 50)))  # more than the old topic had
        consumer.assigned = False
        go_on_until([*range(10), *range(11, 50)])


def test_an_admin_client_that_waits_for_ever_is_replaced(
    topics, kafka_env: dict[str, str], stored, monkeypatch: pytest.MonkeyPatch
):
    """As happens when its broker was away for a moment."""
    servers = topics()
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    monkeypatch.setattr("common.results.persister.ANSWER_SECONDS", 1.0)
    stuck: Any = SimpleNamespace(describe_topics=lambda topics, request_timeout: {RESULTS: Future()})
    stop: Any = SimpleNamespace(requested=False, wait=Event().wait)
    consumer = results_consumer("stuck-persisters", Connection())
    with contextlib.closing(consumer), ResultStore(Path(kafka_env["IRIS_DATABASE"])) as store:
        one = Persister(stuck, consumer, store, stop, sqlite3.OperationalError, "here")
        one.subscribe()

        go_on_until = partial(persist_until, one, stored)
        produce(servers, RESULTS, map(result, range(3)))
        go_on_until([0, 1, 2])
        one.admin = stuck
        produce(servers, RESULTS, map(result, range(3, 6)))
        go_on_until([0, 1, 2, 3, 4, 5])
        assert one.admin is not stuck


def test_what_was_deleted_before_it_could_be_read_is_reported_and_the_rest_is_stored(
    topics, program: Start, kafka_env: dict[str, str], stored
):
    servers = topics()
    one = program(PERSISTER, env=kafka_env)
    produce(servers, RESULTS, [result(0)])
    until(lambda: stored() == [0], what="stored")
    one.signal(signal.SIGSTOP)
    produce(servers, RESULTS, [result(1)])  # answers the request that is open; nothing else is under way
    produce(servers, RESULTS, map(result, range(2, 50)))
    admin, where = admin_of(servers), TopicPartition(RESULTS, 0, 40)
    admin.delete_records([where])[where].result(10)
    one.signal(signal.SIGCONT)
    lines = one.wait_for_line("results were deleted by age before they could be stored.")
    until(lambda: stored()[-10:] == list(range(40, 50)), what="stored")
    kept = len(stored()) - 10
    assert lines == f"results[0]: {40 - kept} results were deleted by age before they could be stored."
    produce(servers, RESULTS, [result(50)])
    until(lambda: stored()[-1] == 50, what="stored")
    assert one.errors == ""


def test_a_persister_that_is_asked_to_end_before_it_has_gone_back_takes_nothing(monkeypatch: pytest.MonkeyPatch):
    nobody: Any = SimpleNamespace(poll=lambda seconds: "a message from behind a gap")
    one = Persister(nobody, nobody, nobody, nobody, OSError, "nowhere")
    monkeypatch.setattr(one.reader, "_positions", lambda numbers: [])
    one.reader.next = {0: 5}
    one.reader.rewind()
    assert one.take() == [] and one.reader.behind


def test_the_list_needs_no_kafka_and_an_empty_store_is_empty(program: Start, env: dict[str, str]):
    one = program(PERSISTER, "--list", env=env | {"KAFKA_BOOTSTRAP_SERVERS": "localhost:1"})
    assert one.wait() == 0
    assert (one.output, one.errors) == (f"0 results in {env['IRIS_DATABASE']}\n", "")


def test_a_store_that_is_no_database_is_one_line(program: Start, env: dict[str, str]):
    Path(env["IRIS_DATABASE"]).write_text("hi " * 1000, encoding="utf-8")
    one = program(PERSISTER, "--list", env=env)
    assert one.wait() == 1
    assert one.output == ""
    assert one.errors.count("\n") == 1
    assert env["IRIS_DATABASE"] in one.errors


def test_the_health_check_looks_at_what_is_stored_and_not_at_the_process(
    topics, program: Start, kafka_env: dict[str, str]
):
    servers = topics(partitions=2)
    produce(servers, RESULTS, map(result, range(50)))
    nobody = program(PERSISTER, "--check", "--seconds", 1, env=kafka_env)
    assert nobody.wait() == 1
    assert re.search(r"results\[\d\]: \d+ results wait, none stored in \d\.\d s", nobody.output)
    assert nobody.output.splitlines()[-1] == "unhealthy"

    deaf = program(PERSISTER, env=kafka_env)
    deaf.wait_for_line("stored ")
    check = program(PERSISTER, "--check", "--seconds", 30, env=kafka_env)
    assert (check.wait(), check.output.splitlines()[-1]) == (0, "healthy: none waits")
    deaf.pause()  # the process is there, and does nothing
    produce(servers, RESULTS, map(result, range(50, 100)))
    check = program(PERSISTER, "--check", "--seconds", 1, env=kafka_env)
    assert (check.wait(), check.output.splitlines()[-1]) == (1, "unhealthy")
    deaf.resume()
    check = program(PERSISTER, "--check", "--seconds", 60, env=kafka_env)
    assert check.wait() == 0


@pytest.mark.parametrize("seconds", ["0", "x", "inf"])
def test_the_seconds_of_a_check_must_be_a_time(program: Start, env: dict[str, str], seconds: str):
    one = program(PERSISTER, "--check", "--seconds", seconds, env=env)
    assert one.wait() == 2
    assert one.errors == f"Argument --seconds: {seconds} is not a number above 0 and at most 3600. Try --help.\n"
