"""The pages say what the records say, and nothing else."""

from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="pip install -e '.[bench]'")
from benchmarks import capacity, pages, plots, report, tables
from benchmarks.command import finish, options
from benchmarks.records import Record, Run


def a_run(**code: str) -> Run:
    run = Run("worker_rate", "python -m benchmarks.worker_rate", "2026-11-21", "abc1234", MACHINE, code)
    for name, rate in {"echo": 600_000, "at-least-once": 250_000, "exactly-once": 200_000, "one-by-one": 900}.items():
        run.add("program", name, "rate", rate * 0.9, rate, rate * 1.1, unit="tasks/s")
        run.add("program", name, "CPU", 4.0, unit="µs/task")
        run.add("program", name, "broker's CPU", 1.0, unit="µs/task")
    return run


MACHINE = {"cores": 2, "memory_gb": 24, "system": "Linux x86_64", "python": "3.11.7", "libraries": {}}


@pytest.mark.parametrize("page", report.pages(), ids=lambda page: page.parent.name)
def test_each_page_is_what_would_be_written(page: Path):
    text = page.read_text(encoding="utf-8")
    assert report.settled(report.render(text)) == report.settled(text), "Run: python -m benchmarks.report"


def test_a_page_that_was_edited_by_hand_is_noticed():
    text = "before\n<!-- [[[cog print('one') ]]] -->\ntwo\n<!-- [[[end]]] -->\nafter\n"
    assert report.render(text) == text.replace("two", "one")


def test_code_that_has_changed_since_is_said_in_a_line_that_the_comparison_leaves_out():
    code = {"benchmarks/records.py": "another digest"}
    assert tables.source(a_run(**code)).endswith("\n*Changed since then: `benchmarks/records.py`.*\n")
    assert report.settled(tables.source(a_run(**code))) == tables.source(a_run())


def test_where_figures_come_from_is_said_in_lines_that_one_can_read():
    run = Run.read("worker_rate")
    lines = tables.source(run).splitlines()
    assert lines[0].startswith(f"`{run.command}`, {run.date}, with commit {run.commit}:")
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (687_123.4, 3, "687 123"),
        (687_123.4, 2, "690 000"),
        (2_091_505, 3, "2 091 505"),
        (12.345, 3, "12.3"),
        (12.345, 2, "12"),
        (0.6, 2, "0.60"),
        (0.41, 3, "0.41"),
    ],
)
def test_a_figure_has_as_many_digits_as_a_reader_needs(value: float, digits: int, text: str):
    assert tables.number(value, digits) == text


def test_a_table_has_a_row_and_a_column_for_each_figure():
    records = [
        Record("program", "echo", "rate", 5.0, "tasks/s", 4.0, 6.0),
        Record("program", "echo", "memory", 7.0, "MB"),
        Record("program", "worker", "rate", 2.0, "tasks/s", 2.0, 2.0, at_least=3),
    ]
    assert tables.grid(records) == [
        ["program", "rate, tasks/s", "memory, MB", "bar", ""],
        ["echo", "5 (4 to 6)", "7", "", ""],
        ["worker", "2", "-", "rate at least 3", "not reached"],
    ]


def test_columns_of_numbers_stand_to_the_right():
    table = tables.markdown(["stage", "rate", "why"], ["1", "1.5 (1 to 2)", "a | b"], ["2", "-", ""])
    assert table.splitlines()[1:] == ["| --- | ---: | --- |", "| 1 | 1.5 (1 to 2) | a / b |", "| 2 | - |  |"]


def test_a_claim_has_two_digits_a_range_a_command_and_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    a_run().write(tmp_path)
    monkeypatch.setattr("benchmarks.records.RESULTS_DIR", tmp_path)
    pages.claims(("one process", "worker_rate", ("program", "at-least-once", "rate")))
    figure = "250 000 (220 000 to 280 000) tasks/s"
    claim = f"- one process: {figure} (`python -m benchmarks.worker_rate`, commit abc1234)\n"
    assert capsys.readouterr().out.startswith(claim)


def test_what_was_not_measured_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(pages, "RESULTS_DIR", tmp_path)
    pages.tables("worker_rate")
    assert capsys.readouterr().out == "Not measured yet.\n"


def test_the_capacity_page_follows_its_formula():
    plan = {
        record.row: record.value for record in capacity.plan(1_000_000, a_run()) if record.column == "at-least-once"
    }
    assert plan["workers"] == 6  # 1 000 000 x 1.5 / 250 000
    assert plan["partitions"] == 12
    assert plan["cores for workers"] == pytest.approx(6.0)
    assert plan["brokers"] >= capacity.COPIES


def test_a_run_is_written_and_drawn_and_its_text_stays_text(tmp_path: Path):
    assert finish(a_run(), options("", "").parse_args(["--quick", "--out", str(tmp_path)])) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"worker_rate.json", "worker_rate.svg"}
    drawn = (tmp_path / "worker_rate.svg").read_text(encoding="utf-8")
    assert ">at-least-once</text>" in drawn and "<script" not in drawn


def test_a_quick_run_never_replaces_what_is_published(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Run, "write", lambda *_: pytest.fail("written"))
    assert finish(a_run(), options("", "").parse_args(["--quick"])) == 0


@pytest.mark.parametrize("table", ["workers", "batches", "brokers"])
def test_a_part_of_a_measurement_can_be_drawn_alone(table: str, tmp_path: Path):
    run = Run.read("scale")
    run.figures = {place: record for place, record in run.figures.items() if record.table == table}
    assert plots.draw(run, tmp_path) == [tmp_path / "scale.svg"]
