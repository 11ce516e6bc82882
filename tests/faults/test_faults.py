"""The small functions behind the fault table's figures, and its own command."""

import signal
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.records import Run
from common.results.store import ResultStore, Row, Span
from faults import table
from faults.broker_faults import java_hash
from faults.catalogue import FAULTS
from faults.count import executed_again
from faults.fault_persister import with_full_disk, with_switch
from faults.fault_worker import EXECUTION
from faults.kill_switch import PERSISTER_POINTS, WORKER_POINTS, Armed, KillSwitch
from faults.outcome import Outcome, longest_gap

# --- what the figures are made of ---


def test_the_standstill_is_the_longest_time_without_a_result_after_the_fault() -> None:
    assert longest_gap(2.0, [0.0, 1.9, 2.5, 4.5, 5.0]) == 2.0
    assert longest_gap(2.0, [1.0]) == 0.0


def test_executions_beyond_the_first_are_counted_per_message(tmp_path: Path) -> None:
    path = tmp_path / "executions"
    path.write_bytes(b"".join(EXECUTION.pack(*place) for place in [(0, 1), (1, 1), (0, 1), (0, 1)]))
    assert executed_again(path) == 2


def test_doubled_results_are_missed_bars_in_exactly_once_mode_only() -> None:
    assert Outcome("zombie", "exactly-once", results_doubled=2).missed() == ["results doubled 2, at most 0"]
    assert Outcome("zombie", "at-least-once", results_doubled=2).missed() == []
    assert Outcome("zombie", "at-least-once", lost=1, rows_doubled={"SQLite": 3}).missed() == [
        "lost 1, at most 0",
        "rows doubled 3, at most 0",
    ]


def test_a_standstill_or_a_wait_beyond_its_bar_is_missed() -> None:
    slow = Outcome("one-of-three", "exactly-once", standstill=12.0, longest_wait=11.0)
    assert slow.missed() == []
    assert replace(slow, most_standstill=10.0).missed() == ["standstill 12, at most 10"]
    assert replace(slow, most_wait=10.0).missed() == ["longest wait 11, at most 10"]


def test_a_coordinator_is_found_by_javas_hash() -> None:
    assert java_hash("iris") == 3240979
    assert java_hash("iris-task-queue-workers") >= 0


# --- how a program is struck ---


def test_the_switch_strikes_once_at_the_passage_that_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    struck: list[int] = []
    monkeypatch.setattr("faults.kill_switch.os.kill", lambda pid, number: struck.append(number))
    switch = KillSwitch("after-produced", 3, signal.SIGSTOP)
    seen = []
    for point in ["after-poll", *["after-produced"] * 4]:
        switch.passage(point)
        seen.append(len(struck))
    assert seen == [0, 0, 0, 1, 1] and struck == [signal.SIGSTOP]


def test_each_program_is_armed_with_the_next_point_until_the_crew_is_disarmed() -> None:
    armed = Armed(WORKER_POINTS, seed=1, passages=(3, 25))
    first = [armed(i) for i in range(len(WORKER_POINTS))]
    assert [arguments[1] for arguments in first] == list(WORKER_POINTS)
    armed.on = False
    assert armed(0) == []


class Passages(KillSwitch):
    """Notes the points that are passed."""

    def __init__(self) -> None:
        super().__init__(None, 1)
        self.points: list[str] = []

    def passage(self, point: str) -> None:
        self.points.append(point)


def test_a_store_passes_all_points_of_its_transaction_in_their_order(tmp_path: Path) -> None:
    switch = Passages()
    with with_switch(ResultStore, switch)(tmp_path / "results.sqlite3") as store:
        assert store.store("results", "id", [Span(0, 0, 2)], [Row("a", 0, "setosa", "{}")]) == 1
    assert switch.points == list(PERSISTER_POINTS[1:])  # the first one is passed before there is anything to store


def test_the_disk_is_full_while_the_file_is_there(tmp_path: Path) -> None:
    full = tmp_path / "full"
    large = [Row(str(i), 0, "setosa", "x" * 1000) for i in range(100)]
    with with_full_disk(full)(tmp_path / "results.sqlite3") as store:
        full.touch()
        with pytest.raises(sqlite3.OperationalError, match="full"):
            store.store("results", "id", [Span(0, 0, 100)], large)
        full.unlink()
        assert store.store("results", "id", [Span(0, 0, 100)], large) == 100


# --- what is written ---


def a_run(*faults: str, command: str = "python -m faults") -> Run:
    run = replace(Run.begin("faults", [], []), command=command)
    table.add(run, [Outcome(fault, "exactly-once", times=20, sent=100, results=100) for fault in faults])
    return run


def test_single_faults_take_their_places_among_the_others(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    table.write(path, a_run("zombie", "storm"), [])
    table.write(path, a_run(command="python -m faults --fault zombie"), [Outcome("zombie", "exactly-once", times=7)])
    run = table.read(path)
    assert run.command == "python -m faults"
    assert [(row, value.value) for (_, row, column), value in run.figures.items() if column == "times"] == [
        ("zombie", 7),
        ("storm", 20),
    ]


def test_a_whole_run_replaces_what_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    table.write(path, a_run("zombie", "storm"), [])
    table.write(path, a_run("zombie"), [])
    assert {row for _, row, _ in table.read(path).figures} == {"zombie"}


def test_a_row_has_the_faults_text_and_the_figures_that_it_alone_has() -> None:
    run = a_run("zombie")
    table.add(run, [Outcome("poison", "exactly-once", times=3, also={"workers died": 14})])
    rows = [record.row for record in table.records(run, "exactly-once") if record.column == "times"]
    assert rows == [
        "worker SIGSTOP for 9 s, then SIGCONT (`zombie`)",
        "a task that kills its worker (`poison`; workers died: 14)",
    ]


def test_missed_bars_and_problems_are_told() -> None:
    run = a_run("zombie")
    assert table.missed(run) == []
    table.add(run, [Outcome("zombie", "exactly-once", lost=1, problems=["1 without a result"])])
    assert table.missed(run) == ["zombie, exactly-once: lost 1, at most 0", "zombie, exactly-once: 1 without a result"]


def test_the_published_table_misses_no_bar_and_names_what_is_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    run = table.read()
    assert table.missed(run) == []
    table.show()
    shown = capsys.readouterr().out
    assert [name for name, fault in FAULTS.items() if fault.full and f"`{name}" not in shown] == []


def test_a_fault_that_lacks_a_mode_is_not_measured() -> None:
    run = a_run("zombie")
    assert "zombie" in table.unmeasured(run)
    table.add(run, [Outcome("zombie", "at-least-once", times=20, sent=100, results=100)])
    assert "zombie" not in table.unmeasured(run)
