"""Results in SQLite: rows and position together or not at all, and never twice."""

import multiprocessing
import sqlite3
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from common.errors import ProgramError
from common.results.store import PositionMovedError, ResultStore, Row, Span

TOPIC, ID = "results", "topic-id-1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResultStore]:
    with ResultStore(tmp_path / "new" / "results.sqlite3") as opened:
        yield opened


def row(number: int, task_id: str | None = None) -> Row:
    return Row(task_id, number % 3, "setosa", f"message {number}")


def test_rows_and_the_next_offset_are_written_together(store: ResultStore):
    assert store.positions(TOPIC, ID) == {}
    assert store.store(TOPIC, ID, [Span(0, 5, 7), Span(3, 0, 1)], [row(0), row(1), row(2)]) == 3
    assert store.positions(TOPIC, ID) == {0: 7, 3: 1}
    assert [one.value for one in store.newest(2)] == ["message 1", "message 2"]
    assert store.count() == 3
    assert store.known_topic_id(TOPIC) == ID and store.known_topic_id("other") is None


def test_what_another_persister_has_stored_is_not_stored_again(store: ResultStore):
    with ResultStore(store.path) as other:
        store.store(TOPIC, ID, [Span(0, 0, 2), Span(1, 0, 1)], [row(0), row(1), row(2)])
        for spans in ([Span(0, 0, 3)], [Span(0, 1, 3)], [Span(0, 3, 4)], [Span(1, 1, 5), Span(0, 0, 2)]):
            with pytest.raises(PositionMovedError):
                other.store(TOPIC, ID, spans, [row(9)])
        assert other.positions(TOPIC, ID) == {0: 2, 1: 1}
        assert other.count() == 3
        assert other.store(TOPIC, ID, [Span(0, 2, 3)], [row(3)]) == 1


def test_persisters_of_one_store_are_one_group_and_another_store_has_another(store: ResultStore, tmp_path: Path):
    with ResultStore(store.path) as same, ResultStore(tmp_path / "other.sqlite3") as other:
        assert store.group == same.group != other.group


def test_the_first_result_of_a_task_stays_and_only_an_error_gives_way(store: ResultStore):
    error = Row("t", None, None, "an error")
    assert store.store(TOPIC, ID, [Span(0, 0, 2)], [error, Row("t", None, None, "another error")]) == 1
    assert store.find("t") == "an error"
    assert store.store(TOPIC, ID, [Span(0, 2, 5)], [row(1, "t"), row(2, "t"), error]) == 1
    assert store.find("t") == "message 1"
    assert store.count() == 1
    assert store.find("unknown") is None


def test_a_topic_made_anew_has_positions_of_its_own(store: ResultStore):
    store.store(TOPIC, ID, [Span(0, 0, 9)], [row(0)])
    assert store.positions(TOPIC, "topic-id-2") == {}
    store.store(TOPIC, "topic-id-2", [Span(0, 0, 1)], [row(1)])
    assert store.positions(TOPIC, "topic-id-2") == {0: 1}
    assert store.positions(TOPIC, ID) == {}
    assert store.count() == 2


def test_a_failure_in_the_middle_writes_nothing(store: ResultStore):
    broken = Row(None, 0, "setosa", None)  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        store.store(TOPIC, ID, [Span(0, 0, 2)], [row(0), broken])
    assert (store.positions(TOPIC, ID), store.count()) == ({}, 0)
    assert store.store(TOPIC, ID, [Span(0, 0, 2)], [row(0)]) == 1


def test_a_locked_file_is_an_operational_error_and_writes_nothing(store: ResultStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("common.results.store.BUSY_SECONDS", 0.05)
    with ResultStore(store.path) as impatient:
        lock = sqlite3.connect(store.path, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            impatient.store(TOPIC, ID, [Span(0, 0, 1)], [row(0)])
        assert impatient.count() == 0  # readers do not wait
        lock.execute("ROLLBACK")
        lock.close()
        assert impatient.store(TOPIC, ID, [Span(0, 0, 1)], [row(0)]) == 1


def persist(path: Path, total: int) -> None:
    """Store offsets 0 to `total`, a few at a time, from wherever the store has come to."""
    with ResultStore(path) as store:
        while (position := store.positions(TOPIC, ID).get(0, 0)) < total:
            end = min(position + 7, total)
            try:
                store.store(TOPIC, ID, [Span(0, position, end)], [row(number) for number in range(position, end)])
            except PositionMovedError:
                continue


def test_two_persisters_at_once_store_each_row_once(tmp_path: Path):
    path, total = tmp_path / "results.sqlite3", 500
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=persist, args=(path, total)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert [one.exitcode for one in both] == [0, 0]
    with ResultStore(path) as store:
        assert [one.value for one in store.newest(10 * total)] == [f"message {number}" for number in range(total)]


def open_at_once(path: Path, start: Barrier) -> None:
    for number in range(20):
        start.wait(60)
        ResultStore(path.with_name(f"{number}.sqlite3")).close()


def test_persisters_that_make_the_file_at_the_same_moment_do_not_hinder_each_other(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    all_three = [context.Process(target=open_at_once, args=(tmp_path / "x", start)) for _ in range(3)]
    for one in all_three:
        one.start()
    for one in all_three:
        one.join(60)
    assert [one.exitcode for one in all_three] == [0, 0, 0]


@pytest.mark.parametrize("damage", ["no database", "a folder", "below a file"])
def test_a_file_that_cannot_be_used_is_one_line(damage: str, tmp_path: Path):
    path = tmp_path / "results.sqlite3"
    if damage == "no database":
        path.write_text("hi " * 1000, encoding="utf-8")
    elif damage == "a folder":
        path.mkdir()
    else:
        (tmp_path / "file").write_text("", encoding="utf-8")
        path = tmp_path / "file" / "results.sqlite3"
    with pytest.raises(ProgramError, match=r"^Cannot use the database [^\n]+: [^\n]+\.$"):
        ResultStore(path)
