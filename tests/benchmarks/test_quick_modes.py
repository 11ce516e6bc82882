"""Every measurement runs in a quick mode, and what it counts adds up. No timing is asserted."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="pip install -e '.[bench]'")
from benchmarks import (
    overload,
    persister_rate,
    profiles,
    round_trip,
    scale,
    scoreboard,
    services,
    start_up,
    worker_rate,
)
from benchmarks.broker import fill, kafka, tasks
from benchmarks.records import Record, Run
from benchmarks.watching import Measured, watch
from common.iris_dto import Task
from common.kafka.topics import RESULTS, TASKS


def rows(records: list[Record]) -> set[str]:
    return {record.row for record in records}


def test_a_backlog_has_valid_tasks_that_all_differ():
    made = list(tasks(2000))
    assert {Task.model_validate_json(value).task_id for _, value in made} == {key for key, _ in made}
    assert len({key for key, _ in made}) == 2000


def test_worker_rate_measures_every_program(tmp_path: Path):
    assert worker_rate.main(["--quick", "--tasks", "40000", "--seconds", "0.5", "--out", str(tmp_path)]) == 0
    run = Run.read("worker_rate", tmp_path)
    assert rows(run.table("program")) == set(worker_rate.PROGRAMS)
    assert all(record.value > 0 for record in run.table("program") if "CPU" not in record.column)
    assert all(record.value >= 0 for record in run.table("program"))  # CPU time is counted in steps of 10 ms
    assert rows(run.table("ratio")) == {f"{of} / {to}" for of, to, _ in worker_rate.BARS}


def test_a_group_that_is_forgotten_begins_anew_and_each_result_is_there():
    with kafka(partitions=2) as broker:
        total = fill(broker.servers, TASKS, tasks(3000))
        for _ in range(2):
            broker.forget(worker_rate.WORKER_GROUP)
            assert broker.committed(worker_rate.WORKER_GROUP) == 0
            with Measured(worker_rate.WORKER) as program:
                watch(program, lambda: broker.committed(worker_rate.WORKER_GROUP), total, 1.0)
        assert total == 3000
        assert broker.end(TASKS) == 3000
        done = broker.committed(worker_rate.WORKER_GROUP)
        assert broker.messages(RESULTS) == 3000 + done
        broker.empty(RESULTS)
        assert broker.messages(RESULTS) == 0


def test_every_question_of_the_round_trips_has_one_answer(tmp_path: Path):
    assert round_trip.main(["--quick", "--rounds", "20", "--changes", "neither's work", "--out", str(tmp_path)]) == 0
    run = Run.read("round_trip", tmp_path)
    sent, expected, results = (run.value("question", "of all runs", w) for w in ("sent", "expected", "results"))
    assert sent == expected == results
    assert rows(run.table("system")) >= {"raw", "at-least-once", "exactly-once", "FastStream"}
    assert rows(run.table("at-least-once, but")) == {"as it is", "neither's work: both of it"}
    assert run.figures["system", "FastStream", "p50 of raw"].repeats == 1
    assert run.figures["system", "raw", "p50"].repeats == 6  # beside each of the systems


def test_stage_1_answers_without_scikit_learn(tmp_path: Path):
    assert start_up.main(["--quick", "--repeat", "1", "--out", str(tmp_path)]) == 0
    assert {"numpy", "pydantic", "common"} <= rows(Run.read("start_up", tmp_path).table("stage 1 imports"))
    assert "sklearn" not in start_up.imports(start_up.commands()["stage 1, answer"])


def test_the_persister_stores_each_result_once(tmp_path: Path):
    assert persister_rate.main(["--quick", "--results", "5000", "--out", str(tmp_path)]) == 0
    run = Run.read("persister_rate", tmp_path)
    assert run.value("count", "results", "sent") == 5_050
    assert run.value("count", "results", "stored") == 5_000


@pytest.mark.slow
def test_scale_measures_batches(tmp_path: Path):
    assert scale.main(["--quick", "--only", "batches", "--seconds", "0.5", "--out", str(tmp_path)]) == 0
    assert rows(Run.read("scale", tmp_path).table("batches")) == {"at most 1 task", "at most 1000 tasks"}


@pytest.mark.slow
def test_scale_measures_workers_sizes_and_brokers(tmp_path: Path):
    assert scale.main(["--quick", "--out", str(tmp_path)]) == 0
    run = Run.read("scale", tmp_path)
    workers = {(record.row, record.column) for record in run.table("workers")}
    models = ("1 ms model, 1 partition", "1 ms model, 2 partitions")
    assert workers == {(row, column) for row in models for column in ("1 worker", "2 workers")}
    assert rows(run.table("sizes")) == {"150 bytes", "4096 bytes"}
    assert rows(run.table("brokers")) == {"1 broker", "3 brokers"}


def test_a_padded_task_is_the_same_task():
    (_, short), (_, long) = next(tasks(1)), next(scale.padded(1, 4096))
    assert len(long) == 4096
    assert Task.model_validate_json(long).X == Task.model_validate_json(short).X


@pytest.mark.slow
def test_the_phases_of_each_stage_are_all_there(tmp_path: Path):
    assert profiles.main(["--quick", "--out", str(tmp_path)]) == 0
    run = Run.read("profiles", tmp_path)
    stages = rows(run.table("one task"))
    assert len(stages) == 6
    for stage in stages:
        phases = {record.column for record in run.table("one task") if record.row == stage}
        assert phases == {*profiles.PHASES, "all"}
    assert run.value("one task", "1 command line", "import") > run.value("one task", "1 command line", "predict")


def test_overload_with_and_without_a_limit(tmp_path: Path):
    assert overload.main(["--quick", "--out", str(tmp_path)]) == 0
    run = Run.read("overload", tmp_path)
    assert run.tables() == ["no limit", "limit 2"]
    assert run.value("no limit", "16 clients", "refused/s") == 0 < run.value("limit 2", "16 clients", "refused/s")
    assert (tmp_path / "overload.svg").exists()


@pytest.mark.skipif(not shutil.which("wrk"), reason="apt-get install wrk")
@pytest.mark.slow
def test_the_services_beside_their_references(tmp_path: Path):
    assert services.main(["--quick", "--out", str(tmp_path)]) == 0
    run = Run.read("services", tmp_path)
    assert rows(run.table("rate")) == {"bare uvicorn", "plain FastAPI", "model service", "gateway"}
    assert all(record.value > 0 for record in run.figures.values())


@pytest.mark.slow
def test_the_scoreboard_of_all_stages(tmp_path: Path):
    assert scoreboard.main(["--quick", "--out", str(tmp_path)]) == 0
    check_scoreboard(tmp_path, "12345")


@pytest.mark.slow
def test_the_scoreboard_adds_up(tmp_path: Path):
    assert scoreboard.main(["--quick", "--stages", "3", "--out", str(tmp_path)]) == 0
    check_scoreboard(tmp_path, "3")


def check_scoreboard(folder: Path, keys: str) -> None:
    run = Run.read("scoreboard", folder)
    titles = {key: scoreboard.STAGES[key]().title for key in keys}
    for table in ("overload", "killed"):
        assert rows(run.table(table)) == set(titles.values())
        for title in titles.values():
            asked, *outcomes = (run.value(table, title, what) for what in ("asked", *scoreboard.OUTCOMES))
            assert asked == sum(outcomes)
    behind = {record.row for record in run.table(scoreboard.RATES) if record.column == scoreboard.BACKLOG}
    assert behind == {titles[key] for key in "45" if key in keys}
    assert run.value("overload", titles["3"], "refused") > 0
    if "5" in keys:
        assert run.value("overload", titles["5"], "answered") == scoreboard.CROWD
        assert run.value("killed", titles["5"], "lost") == 0
    assert all(limit.value > 0 for limit in run.table("limit"))
    measured = {name for name, ((title, _), _) in scoreboard.RATIOS.items() if title in titles.values()}
    assert rows(run.table("ratio")) == measured
    assert {path.name for path in folder.glob("*.svg")} == {"throughput.svg", "latency.svg", "outcomes.svg"}
