"""The fault table's own command, in its quick mode, and the small functions behind its figures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.settings import ROOT
from faults import table
from faults.broker_faults import java_hash
from faults.catalogue import FAULTS
from faults.fault_worker import EXECUTION
from faults.kill_switch import KillSwitch
from faults.outcome import Outcome, longest_gap
from faults.trial import executions_again

QUICK = [name for name, fault in FAULTS.items() if fault.quick]
COMMAND_SECONDS = 900.0


def _figures(folder: Path, delivery: str) -> dict[str, Any]:
    path = folder / "faults.json"
    command = [sys.executable, "-W", "error", "-m", "faults", "--quick", "--delivery", delivery]
    done = subprocess.run([*command, "--json", str(path)], cwd=ROOT, timeout=COMMAND_SECONDS, check=False)
    figures = {row["fault"]: row for row in json.loads(path.read_text(encoding="utf-8"))["faults"]}
    assert done.returncode == (1 if any(row["missed"] for row in figures.values()) else 0)
    return figures


@pytest.fixture(scope="module")
def at_least_once(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _figures(tmp_path_factory.mktemp("faults"), "at-least-once")


@pytest.fixture(scope="module")
def exactly_once(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _figures(tmp_path_factory.mktemp("faults"), "exactly-once")


@pytest.mark.parametrize("fault", QUICK)
def test_nothing_is_lost_and_no_row_is_doubled_at_least_once(fault: str, at_least_once: dict[str, Any]) -> None:
    figures = at_least_once[fault]
    assert figures["times"] > 0 and figures["sent"] > 0
    doubled = figures["rows_doubled"], figures["postgres_rows_doubled"] or 0
    assert (figures["lost"], *doubled) == (0, 0, 0), figures["problems"]  # how long it took is the table's matter


@pytest.mark.slow
@pytest.mark.parametrize("fault", QUICK)
def test_nothing_is_lost_and_nothing_is_doubled_exactly_once(fault: str, exactly_once: dict[str, Any]) -> None:
    figures = exactly_once[fault]
    assert figures["times"] > 0 and figures["sent"] > 0
    doubled = figures["rows_doubled"], figures["postgres_rows_doubled"] or 0, figures["results_doubled"]
    assert (figures["lost"], *doubled) == (0, 0, 0, 0), figures["problems"]


def test_the_standstill_is_the_longest_time_without_a_result_after_the_fault() -> None:
    assert longest_gap(2.0, [0.0, 1.9, 2.5, 4.5, 5.0]) == 2.0
    assert longest_gap(2.0, [1.0]) == 0.0


def test_doubled_results_are_missed_bars_in_exactly_once_mode_only() -> None:
    assert Outcome("zombie", "exactly-once", 1, results_doubled=2).missed() == ["2 results doubled"]
    assert Outcome("zombie", "at-least-once", 1, results_doubled=2).missed() == []
    assert Outcome("zombie", "at-least-once", 1, lost=1, rows_doubled=3).missed() == [
        "1 lost",
        "3 rows doubled in SQLite",
    ]


def test_the_switch_is_due_once_and_in_the_middle_of_a_batch() -> None:
    switch = KillSwitch("after-produced", 12)
    assert switch.due("after-poll") is None
    assert [switch.due("after-produced", 5) for _ in range(4)] == [None, None, 1, None]


def test_executions_beyond_the_first_are_counted_per_message(tmp_path: Path) -> None:
    path = tmp_path / "executions"
    path.write_bytes(b"".join(EXECUTION.pack(*place) for place in [(0, 1), (1, 1), (0, 1), (0, 1)]))
    assert executions_again(path) == 2


def test_a_coordinator_is_found_by_javas_hash() -> None:
    assert java_hash("iris") == 3240979
    assert java_hash("iris-task-queue-workers") >= 0


def test_single_faults_take_their_places_among_the_others(tmp_path: Path) -> None:
    data = tmp_path / "faults.json"
    table.write(data, [Outcome(name, "exactly-once", 1) for name in ("zombie", "storm")], "all of them", {})
    table.write(data, [Outcome("zombie", "exactly-once", 2)], "all of them --fault zombie", {})
    written = json.loads(data.read_text(encoding="utf-8"))
    assert [(row["fault"], row["seed"]) for row in written["faults"]] == [("zombie", 2), ("storm", 1)]
    assert written["command"] == "all of them"


def test_the_table_has_a_row_for_each_fault_and_each_bar_that_was_missed() -> None:
    missed = Outcome("zombie", "exactly-once", 1, times=20, sent=100, results=99, lost=1).to_json()
    first, second = table.rows([missed])
    assert first[0].endswith("(`zombie`)") and first[1:6] == ["exactly-once", "20", "100", "99", "1"]
    assert second[0] == "**missed:** 1 lost"
    assert len(first) == len(second) == len(table.FAULT_COLUMNS)
