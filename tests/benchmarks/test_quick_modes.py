"""Every measurement runs in a quick mode, and what it counts adds up. No timing is asserted."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="pip install -e '.[bench]'")
from benchmarks import persister_rate, profiles, round_trip, scale, scoreboard, start_up, worker_rate
from benchmarks.harness import kafka, tasks
from common.iris_dto import Task


def record(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def test_a_backlog_has_valid_tasks_that_all_differ():
    made = list(tasks(2000))
    assert {Task.model_validate_json(value).task_id for _, value in made} == {key for key, _ in made}
    assert len({key for key, _ in made}) == 2000


def test_worker_rate_measures_every_program(tmp_path: Path):
    assert worker_rate.main(["--quick", "--tasks", "20000", "--seconds", "1", "--out", str(tmp_path)]) == 0
    found = record(tmp_path, "worker_rate")
    assert set(found["programs"]) == set(worker_rate.PROGRAMS)
    assert all(program["tasks_per_second"]["median"] > 0 for program in found["programs"].values())
    assert set(found["ratios"]) == set(worker_rate.BARS)


def test_a_group_that_is_forgotten_begins_anew_and_each_result_is_there():
    with kafka(partitions=2) as broker:
        total = worker_rate.fill(broker.servers, worker_rate.TASKS, tasks(3000))
        for _ in range(2):
            broker.forget(worker_rate.WORKER_GROUP)
            assert broker.committed(worker_rate.WORKER_GROUP) == 0
            program = worker_rate.Program(worker_rate.WORKER)
            worker_rate.watch(program, lambda: broker.committed(worker_rate.WORKER_GROUP), total, 5.0)
            program.end()
        assert total == 3000
        assert broker.end(worker_rate.TASKS) == 3000
        done = broker.committed(worker_rate.WORKER_GROUP)
        assert broker.messages(worker_rate.RESULTS) == 3000 + done
        broker.empty(worker_rate.RESULTS)
        assert broker.messages(worker_rate.RESULTS) == 0


def test_every_question_of_the_round_trips_has_one_answer(tmp_path: Path):
    assert round_trip.main(["--quick", "--rounds", "20", "--changes", "neither's work", "--out", str(tmp_path)]) == 0
    found = record(tmp_path, "round_trip")
    answered = found["answered"]
    assert answered["sent"] == answered["expected"] == answered["results"]
    assert set(found["systems"]) >= {"at-least-once", "exactly-once", "FastStream", "neither's work"}
    assert all(f["p50 of raw"]["repeats"] == 1 for f in found["systems"].values())
    assert found["raw"]["p50"]["repeats"] == len(found["systems"])


def test_stage_1_answers_without_scikit_learn(tmp_path: Path):
    assert start_up.main(["--quick", "--repeat", "1", "--out", str(tmp_path)]) == 0
    found = record(tmp_path, "start_up")
    assert not found["scikit_learn_is_imported"]
    assert {"numpy", "pydantic", "common"} <= {entry["package"] for entry in found["imports"]}


def test_the_persister_stores_each_result_once(tmp_path: Path):
    assert persister_rate.main(["--quick", "--results", "20000", "--out", str(tmp_path)]) == 0
    found = record(tmp_path, "persister_rate")
    assert found["stored"] == [20_000]
    assert found["sent"] == 20_200


def test_scale_measures_batches(tmp_path: Path):
    assert scale.main(["--quick", "--only", "batches", "--out", str(tmp_path)]) == 0
    assert {row["batch"] for row in record(tmp_path, "scale")["batches"]} == {1, 1000}


@pytest.mark.slow
def test_scale_measures_workers_sizes_and_brokers(tmp_path: Path):
    assert scale.main(["--quick", "--out", str(tmp_path)]) == 0
    found = record(tmp_path, "scale")
    assert {(row["partitions"], row["workers"]) for row in found["workers"]} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert {row["bytes"] for row in found["sizes"]} == {150, 4096}
    assert {row["brokers"] for row in found["brokers"]} == {1, 3}


def test_a_padded_task_is_the_same_task():
    (_, short), (_, long) = next(tasks(1)), next(scale.padded(1, 4096))
    assert len(long) == 4096
    assert Task.model_validate_json(long).X == Task.model_validate_json(short).X


@pytest.mark.slow
def test_the_phases_of_each_stage_are_all_there(tmp_path: Path):
    assert profiles.main(["--quick", "--out", str(tmp_path)]) == 0
    found = record(tmp_path, "profiles")["microseconds"]
    assert len(found) == 6
    assert all(set(phases) == set(profiles.PHASES) for phases in found.values())
    assert found["1 command line"]["import"] > found["1 command line"]["predict"]


@pytest.mark.slow
def test_the_scoreboard_of_all_stages(tmp_path: Path):
    assert scoreboard.main(["--quick", "--out", str(tmp_path)]) == 0
    check_scoreboard(tmp_path, "12345")


def test_the_scoreboard_adds_up(tmp_path: Path):
    assert scoreboard.main(["--quick", "--stages", "3", "5", "--out", str(tmp_path)]) == 0
    check_scoreboard(tmp_path, "35")


def check_scoreboard(folder: Path, keys: str) -> None:
    found = record(folder, "scoreboard")
    stages = found["stages"]
    assert list(stages) == list(keys)
    for key, stage in stages.items():
        for name in ("overload", "killed"):
            outcomes = stage[name]
            assert outcomes["asked"] == outcomes["answered"] + outcomes["refused"] + outcomes["lost"]
        assert ("backlog" in stage) == (key in "45")
    assert stages["3"]["overload"]["refused"] > 0
    assert stages["5"]["overload"]["answered"] == scoreboard.CROWD
    assert stages["5"]["killed"]["lost"] == 0
    assert all(limit["median"] > 0 for limit in found["limits"].values())
    assert set(found["ratios"]) == {name for name, (key, _, _) in scoreboard.RATIOS.items() if key in keys}
    drawn = {path.name for path in folder.glob("*.svg")}
    assert drawn == {"throughput.svg", "latency.svg", "outcomes.svg"}
