"""Tables and plots are made from the JSON files, and say nothing that is not in them."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="pip install -e '.[bench]'")
from benchmarks import capacity, plots, report, worker_rate
from benchmarks.harness import machine, number, percentile, save, summary


def value(median: float) -> dict[str, Any]:
    return {"median": median, "min": median * 0.9, "max": median * 1.1, "repeats": 5}


def a_program(rate: float) -> dict[str, Any]:
    named = {"cpu_us_per_task": 4.0, "broker_cpu_us_per_task": 1.0, "peak_mb": 120.0}
    return {"tasks_per_second": value(rate)} | {name: value(number) for name, number in named.items()}


def a_record() -> dict[str, Any]:
    rates = {"echo": 600_000, "at-least-once": 250_000, "exactly-once": 200_000, "one-by-one": 900}
    ratios = worker_rate.ratios({name: [rate] for name, rate in rates.items()})
    return {"programs": {name: a_program(rate) for name, rate in rates.items()}, "ratios": ratios}


def test_a_figure_has_as_many_digits_as_a_reader_needs():
    assert [number(n) for n in (687_123.4, 12.345, 0.41, None, "x")] == ["687 123", "12.3", "0.41", "-", "x"]


def test_medians_and_percentiles_are_those_of_the_values():
    assert summary([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "repeats": 3}
    assert percentile(range(100), 0.5) == 50
    assert percentile(range(100), 0.99) == 99


def test_ratios_are_those_of_neighbouring_runs():
    found = worker_rate.ratios({"echo": [100.0, 200.0], "at-least-once": [50.0, 80.0]})
    assert list(found) == ["at-least-once / echo"]
    assert (found["at-least-once / echo"]["min"], found["at-least-once / echo"]["max"]) == (0.4, 0.5)
    assert found["at-least-once / echo"]["reached"]


def test_a_record_tells_the_machine_but_neither_its_name_nor_its_folders(tmp_path: Path):
    path = save("worker_rate", ["--quick", "--out", str(tmp_path)], a_record(), tmp_path)
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["command"] == "python -m benchmarks.worker_rate --quick"
    assert record["machine"] == machine()
    assert str(Path.home()) not in json.dumps(record["machine"])
    assert str(tmp_path) not in path.read_text(encoding="utf-8")


def test_the_capacity_page_follows_its_formula(tmp_path: Path):
    save("worker_rate", [], a_record(), tmp_path)
    plan = capacity.plans(1_000_000, tmp_path)["at-least-once"]
    assert plan["workers"] == 6  # 1 000 000 x 1.5 / 250 000
    assert plan["partitions"] == 12
    assert plan["cores for workers"] == pytest.approx(6.0)
    assert plan["brokers"] >= capacity.COPIES


def test_plots_are_drawn_of_what_has_been_measured_alone(tmp_path: Path):
    save("worker_rate", [], a_record(), tmp_path)
    assert [path.name for path in plots.draw_all(tmp_path)] == ["worker_rate.svg"]
    drawn = (tmp_path / "worker_rate.svg").read_text(encoding="utf-8")
    assert "http://www.w3.org" in drawn
    assert "<script" not in drawn


def test_the_readme_says_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    texts = [readme.read_text(encoding="utf-8") for readme in report.READMES]
    assert {match[2] for text in texts for match in report.TABLE.finditer(text)} == set(report.RENDERED)
    for text in texts:
        assert report.render(text) == text, "Run: python -m benchmarks.report"
    text = texts[0]
    monkeypatch.setattr(report, "RESULTS_DIR", tmp_path)
    assert report.render(text).count(report.NOT_YET) == len(report.TABLE.findall(text))
    save("worker_rate", ["--repeat", "5"], a_record(), tmp_path)
    rendered = report.render(text)
    assert "250 000 (225 000 to 275 000)" in rendered
    assert "python -m benchmarks.worker_rate --repeat 5" in rendered
