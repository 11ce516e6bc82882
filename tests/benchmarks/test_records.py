"""A record keeps what was measured, with its range, and where it comes from."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import describe, machine
from benchmarks.records import RESULTS_DIR, Record, Run, percentile


def a_run() -> Run:
    run = Run.begin("worker_rate", ["--repeat", "3", "--out", "/somewhere"], ["benchmarks/records.py"], tasks=7)
    for echo, worker in ((100.0, 50.0), (200.0, 80.0), (300.0, 120.0)):
        run.add("program", "echo", "rate", echo, unit="tasks/s")
        run.add("program", "at-least-once", "rate", worker, unit="tasks/s")
    return run


def test_what_was_measured_several_times_is_a_median_with_its_range():
    assert a_run().table("program")[0] == Record("program", "echo", "rate", 200.0, "tasks/s", 100.0, 300.0, 3)


def test_a_ratio_is_that_of_neighbouring_measurements():
    run = a_run()
    run.ratio("worker / echo", ("program", "at-least-once", "rate"), ("program", "echo", "rate"), at_least=0.4)
    run.ratio("worker / nothing", ("program", "at-least-once", "rate"), ("program", "nothing", "rate"))
    assert run.table("ratio") == [Record("ratio", "worker / echo", "measured", 0.4, "", 0.4, 0.5, 3, at_least=0.4)]


@pytest.mark.parametrize(
    ("bar", "words", "reached"),
    [
        ({}, "", True),
        ({"at_least": 5}, "at least 5", True),
        ({"at_least": 20_000}, "at least 20 000", False),
        ({"at_most": 1.5}, "at most 1.5", False),
    ],
)
def test_a_bar_is_reached_or_not(bar: dict[str, Any], words: str, reached: bool):
    record = Record("table", "row", "column", 5.0, **bar)
    assert (record.bar, record.reached) == (words, reached)


def test_counts_add_up():
    run = a_run()
    for number in (3, 4):
        run.count("overload", "5 task queue", "answered", number)
    assert run.table("overload") == [Record("overload", "5 task queue", "answered", 7, repeats=2)]


def test_a_run_that_was_written_is_read_again(tmp_path: Path):
    run = a_run()
    run.write(tmp_path)
    found = Run.read("worker_rate", tmp_path)
    assert found.figures == run.figures
    assert (found.command, found.settings) == ("python -m benchmarks.worker_rate --repeat 3", {"tasks": 7})
    assert (found.date, found.commit, found.code) == (run.date, run.commit, run.code)


def test_a_file_names_neither_the_machine_nor_its_folders(tmp_path: Path):
    text = a_run().write(tmp_path).read_text(encoding="utf-8")
    assert json.loads(text)["machine"].keys() == machine().keys()
    assert not [folder for folder in (str(Path.home()), str(tmp_path), "/somewhere") if folder in text]


def test_a_machine_is_described_in_one_line():
    known = {"cores": 2, "memory_gb": 24, "system": "Linux x86_64", "python": "3.11.7", "libraries": {"numpy": "2.4.6"}}
    assert describe(known) == "2 cores, 24 GB, Linux x86_64, Python 3.11.7, numpy 2.4.6"


@pytest.mark.parametrize("path", sorted(RESULTS_DIR.glob("*.json")), ids=lambda path: path.stem)
def test_each_published_file_has_the_same_form_and_says_which_code_was_measured(path: Path):
    run = Run.read(path.stem)
    assert run.figures and run.code and run.commit and run.date
    assert run.command.startswith(f"python -m benchmarks.{path.stem}")


def test_percentiles_are_those_of_the_values():
    assert (percentile(range(100), 0.5), percentile(range(100), 0.99)) == (50, 99)
