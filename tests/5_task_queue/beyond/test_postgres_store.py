"""Exactly once into a real PostgreSQL: no result missing and none double, whoever is killed, frozen or away."""

import importlib
import json
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from threading import Barrier, Thread
from typing import Any

import pytest
from confluent_kafka.admin import (
    AlterConfigOpType,  # pyright: ignore[reportPrivateImportUsage]
    ConfigEntry,  # pyright: ignore[reportPrivateImportUsage]
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)

from common import embedded_postgres as embedded
from common.embedded_kafka import EmbeddedKafka
from common.kafka.connection import Connection
from common.kafka.stopping import Stop
from common.kafka.topics import RESULTS
from common.results.persister import Persister, Store, results_consumer
from common.results.store import PositionMovedError, Row, Span
from tests.helpers import WAIT_SECONDS, Program, X, admin_of, produce, until

try:
    psycopg = importlib.import_module("psycopg")
    embedded.programs()
except (ImportError, embedded.PostgresMissing) as error:
    if os.environ.get("CI"):
        raise
    pytest.skip(f"PostgreSQL cannot be started here: {error}", allow_module_level=True)
beyond = importlib.import_module("5_task_queue.beyond.postgres_store")

MODULE = "5_task_queue.beyond.postgres_store"
A, B = Row("a", 0, "setosa", "first"), Row("a", 1, "versicolor", "second")
ERROR = Row("a", None, None, "error")
NUL = chr(0)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with embedded.EmbeddedPostgres() as one:
        yield one


@pytest.fixture
def dsn(server: Any) -> str:
    """A database of its own."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}")
    return server.dsn(name)


@pytest.fixture
def store(dsn: str) -> Iterator[Any]:
    with beyond.PostgresStore(dsn) as one:
        yield one


def values(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as db:
        return [value for (value,) in db.execute("SELECT value FROM iris.results ORDER BY id").fetchall()]


# --- the store --------------------------------------------------------------------------------------------------------


def test_rows_and_position_are_written_together(store: Any, dsn: str):
    assert store.known_topic_id("results") is None
    assert store.store("results", "id", [Span(0, 5, 7), Span(1, 0, 1)], [A, Row(None, 2, "virginica", "no id")]) == 2
    assert store.positions("results", "id") == {0: 7, 1: 1}
    assert (store.known_topic_id("results"), store.count(), store.find("a"), store.find("b")) == (
        "id",
        2,
        "first",
        None,
    )
    with beyond.PostgresStore(dsn) as another:
        assert another.positions("results", "id") == {0: 7, 1: 1}


@pytest.mark.parametrize(
    ("rows", "stored", "new"),
    [
        ([A, B], "first", 1),
        ([A, ERROR], "first", 1),
        ([ERROR, A], "first", 2),  # a dead letter was replayed
        ([ERROR, Row("a", None, None, "another error")], "error", 1),
        ([ERROR, A, B], "first", 2),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_the_first_result_of_a_task_stays_and_only_an_error_gives_way(
    store: Any, rows: list[Row], stored: str, new: int, at_once: bool
):
    batches = [rows] if at_once else [[row] for row in rows]
    written = sum(store.store("results", "id", [Span(0, n, n + 1)], batch) for n, batch in enumerate(batches))
    assert (written, store.find("a"), store.count()) == (new, stored, 1)


def test_whoever_comes_second_writes_nothing(store: Any, dsn: str):
    with beyond.PostgresStore(dsn) as other:
        store.store("results", "id", [Span(0, 0, 2)], [Row(None, 0, "", "1"), Row(None, 0, "", "2")])
        for span in (Span(0, 0, 3), Span(0, 1, 3), Span(0, 3, 4)):
            with pytest.raises(PositionMovedError):
                other.store("results", "id", [Span(1, 0, 9), span], [Row(None, 0, "", "again")])
        assert values(dsn) == ["1", "2"]
        assert other.positions("results", "id") == {0: 2}
        other.store("results", "id", [Span(0, 2, 3)], [])
        assert store.positions("results", "id") == {0: 3}


def test_a_topic_made_anew_starts_again(store: Any):
    store.store("results", "old", [Span(0, 0, 50)], [A])
    assert store.positions("results", "new") == {}
    assert store.store("results", "new", [Span(0, 0, 1)], [B]) == 0
    assert (store.positions("results", "new"), store.known_topic_id("results")) == ({0: 1}, "new")


@pytest.mark.parametrize("task_id", [f"{NUL}a{NUL}", "x" * 128, "ü" * 128, "'; DROP TABLE iris.results; --", "\\u0000"])
def test_any_task_id_is_a_key(store: Any, task_id: str):
    row = Row(task_id, 0, f"species{NUL}", "value")
    assert store.store("results", "id", [Span(0, 0, 1)], [row, row]) == 1
    assert store.find(task_id) == "value"


def test_many_at_once_store_each_result_once(dsn: str):
    """Eight stores, each wants to write everything: per step, one wins and the others find that it has moved."""
    stores, steps, wins, barrier = 8, 40, [0] * 8, Barrier(8)

    def write(number: int) -> None:
        with beyond.PostgresStore(dsn) as one:  # all make the tables at once, too
            barrier.wait(30)
            while (at := one.positions("results", "id").get(0, 0)) < steps:
                try:
                    wins[number] += one.store("results", "id", [Span(0, at, at + 1)], [Row(None, 0, "", str(at))])
                except PositionMovedError:
                    continue

    threads = [Thread(target=write, args=(number,)) for number in range(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert values(dsn) == [str(number) for number in range(steps)]
    assert sum(wins) == steps


def test_a_connection_that_was_cut_is_made_anew_and_nothing_of_the_transaction_stays(store: Any, dsn: str):
    def cut() -> Iterator[Row]:
        yield A
        with psycopg.connect(dsn, autocommit=True) as db:
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")

    with pytest.raises(psycopg.OperationalError):
        store.store("results", "id", [Span(0, 0, 1)], cut())
    assert (store.count(), store.positions("results", "id")) == (0, {})
    assert store.store("results", "id", [Span(0, 0, 1)], [A]) == 1


# --- the persister ----------------------------------------------------------------------------------------------------


@pytest.fixture
def quick_group(kafka: EmbeddedKafka) -> None:
    """A killed persister's partitions go to the next one after 3 s, Kafka's shortest time, not 6."""
    entry = ConfigEntry("consumer.session.timeout.ms", "3000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.GROUP, beyond.GROUP, incremental_configs=[entry])
    admin = admin_of(kafka.bootstrap_servers)  # has to live until it is answered
    admin.incremental_alter_configs([resource])[resource].result(WAIT_SECONDS)


def send(servers: str, numbers: range) -> None:
    """Send results without a task id, so that one stored twice is two rows."""
    produce(
        servers, RESULTS, (json.dumps({"X": X, "y": {"iris_type": 0}, "number": n}) for n in numbers), map(str, numbers)
    )


def numbers(dsn: str) -> list[int]:
    return sorted(json.loads(value)["number"] for value in values(dsn))


def test_killed_in_the_middle_of_thousands_nothing_is_missing_or_double(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str], dsn: str, quick_group: None
):
    servers, dice, total = topics(partitions=4), random.Random(4), 40_000
    send(servers, range(total))
    for _ in range(3):
        one = program(MODULE, "--dsn", dsn, env=kafka_env)
        one.wait_for("stored ")
        time.sleep(dice.uniform(0, 0.3))  # somewhere in one of the next batches
        one.kill()
    last = program(MODULE, "--dsn", dsn, env=kafka_env)
    with beyond.PostgresStore(dsn) as store:
        until(lambda: store.count() >= total, what="all is stored")
    last.terminate()
    assert last.wait() == 0
    assert numbers(dsn) == list(range(total))


def test_two_that_hold_the_same_partitions_double_nothing(
    topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch, dsn: str
):
    servers, total = topics(partitions=2), 10_000
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    monkeypatch.setattr("common.results.persister.MAX_BATCH", 300)
    send(servers, range(total))
    stop = Stop(signals=())
    written: dict[str, int] = {}

    def persist(name: str) -> None:  # in a group of its own: each believes that it is alone
        consumer = results_consumer(name, Connection())
        with beyond.PostgresStore(dsn) as store:
            one = Persister(admin_of(servers), consumer, store, stop, psycopg.OperationalError, name)
            one.subscribe()
            try:
                while store.count() < total and not stop.requested:
                    if messages := one.take():
                        written[name] = written.get(name, 0) + one.persist(messages)
            finally:
                consumer.close()

    threads = [Thread(target=persist, args=(f"persister-{uuid.uuid4()}",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join(60)
        assert numbers(dsn) == list(range(total))
        assert sum(written.values()) == total
    finally:
        stop._event.set()


def test_it_waits_for_a_server_that_is_away(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str], server: Any, dsn: str
):
    servers = topics(partitions=2)
    one = program(MODULE, "--dsn", dsn, env=kafka_env)
    send(servers, range(10))
    one.wait_for("stored ")
    server.kill()
    try:
        send(servers, range(10, 500))
        one.wait_for("Cannot store in PostgreSQL")
    finally:
        server.start()
    with beyond.PostgresStore(dsn) as store:
        until(lambda: store.count() >= 500, what="all is stored")
    one.terminate()
    assert one.wait() == 0
    assert numbers(dsn) == list(range(500))


def test_what_is_no_result_is_skipped_and_a_topic_made_anew_is_noticed(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str], dsn: str
):
    servers = topics()
    hostile = [
        None,
        b"",
        b"\xff",
        b"{}",
        b'{"y":{"iris_type":7}}',
        json.dumps({"task_id": "x" * 3000, "y": {"iris_type": 0}}),
    ]
    nul = json.dumps({"task_id": NUL, "y": {"iris_type": 0, "species": NUL}})
    produce(servers, RESULTS, [*hostile, nul])
    one = program(MODULE, "--dsn", dsn, env=kafka_env)
    until(lambda: "skipped 6" in one.output, what="all is read")
    assert values(dsn) == [nul]
    one.terminate()
    assert one.wait() == 0

    topics()
    send(servers, range(3))
    again = program(MODULE, "--dsn", dsn, env=kafka_env)
    again.wait_for("The topic results has been made anew: reading it from its beginning.")
    until(lambda: len(values(dsn)) == 4, what="the new results are stored")


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("postgresql://nobody@127.0.0.1:1/none?password=secret", "connection failed"),
        ("nonsense", 'missing "=" after "nonsense"'),
    ],
)
def test_without_a_server_it_says_so_in_one_line(
    kafka_env: dict[str, str], program: Callable[..., Program], address: str, error: str
):
    one = program(MODULE, "--dsn", address, env=kafka_env)
    assert (one.wait(), one.output) == (1, "")
    assert one.errors.startswith(f"No PostgreSQL to store in: {error}")
    assert one.errors.count("\n") == 1
    assert "secret" not in one.errors


def test_the_store_is_what_a_persister_asks_for(store: Any):
    asked: Store = store
    assert asked.positions("results", "none") == {}


def test_a_database_without_an_encoding_will_do(server: Any):
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.dsn(), autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    with beyond.PostgresStore(server.dsn(name)) as store:
        assert store.group.startswith(beyond.GROUP)
        assert store.store(RESULTS, "topic", [Span(0, 0, 1)], [A]) == 1
        assert store.positions(RESULTS, "topic") == {0: 1}
        assert store.find("a") == "first"


def test_the_health_check_asks_postgresql_how_far_it_has_come(
    topics: Callable[..., str], program: Callable[..., Program], kafka_env: dict[str, str], dsn: str
):
    produce(topics(), RESULTS, [json.dumps({"task_id": str(uuid.uuid4()), "X": X, "y": {"iris_type": 0}})])
    nobody = program(MODULE, "--dsn", dsn, "--check", "--seconds", 1, env=kafka_env)
    assert (nobody.wait(), nobody.output.splitlines()[-1]) == (1, "unhealthy")
    program(MODULE, "--dsn", dsn, env=kafka_env).wait_for_line("stored 1 results")
    check = program(MODULE, "--dsn", dsn, "--check", "--seconds", 30, env=kafka_env)
    assert (check.wait(), check.output.splitlines()[-1]) == (0, "healthy: none waits")
