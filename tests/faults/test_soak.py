"""Two minutes of the soak, and how a program is judged that grows."""

from pathlib import Path

import pytest

from benchmarks.records import Run
from common.programs import Program
from faults.soak import Sample, judge

SOAK_SECONDS = 600.0


def looks(minutes: float, memory_mb: float, per_minute: float = 0.0, threads: int = 9) -> list[Sample]:
    return [Sample(m / 10, memory_mb + per_minute * m / 10, threads, 20) for m in range(int(10 * minutes))]


def missed(samples: dict[str, list[Sample]], minutes: float) -> list[str]:
    return [f"{r.row}: {r.column}" for r in judge(samples, minutes) if not r.reached]


def test_a_program_that_grows_is_found() -> None:
    assert missed({"worker": looks(60, 100, per_minute=0.1)}, 60) == []
    assert missed({"worker": looks(60, 100, per_minute=0.5)}, 60) == ["worker: memory, end"]


def test_a_program_that_leaks_threads_is_found_in_a_short_run_as_well() -> None:
    leaking = looks(1, 100) + [look._replace(minute=look.minute + 1, threads=40) for look in looks(1, 100)]
    assert missed({"worker": leaking}, 2) == ["worker: threads, end"]


def test_the_jvm_is_bounded_by_its_own_limit() -> None:
    assert missed({"broker": looks(60, 100, per_minute=5)}, 60) == []


@pytest.mark.slow
def test_two_minutes_lose_nothing_and_leak_nothing(tmp_path: Path) -> None:
    command = ["python", "-W", "error", "-m", "faults.soak", "--minutes", "2", "--out", tmp_path]
    with Program(command, dies_with_us=True) as program:
        program.wait(SOAK_SECONDS)
    run = Run.read("soak", tmp_path)
    wrong = [r for r in run.figures.values() if not r.reached and r.row == "soak" and r.at_most == 0]
    wrong += [r for r in run.figures.values() if not r.reached and r.column.startswith(("threads", "descriptors"))]
    assert wrong == [], program.output
    assert run.settings["faults"] and run.settings["lag"]
    assert "<text" in (tmp_path / "soak.svg").read_text(encoding="utf-8")
