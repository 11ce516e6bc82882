"""Time limits are durations by the broker's clock: no other clock ends a wait."""

import importlib
import json
import time
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message

from common.iris_dto import Result
from common.kafka.topics import RESULTS, TASKS
from tests.helpers import X, messages, produce

WORKER = "5_task_queue.iris_classifier_task_queue_worker"
deadlines: Any = importlib.import_module("5_task_queue.worker.deadlines")
BROKER_MS = 5_000_000.0  # what the broker's clock says, far from ours


def message(key: str, appended_ms: float = BROKER_MS, kind: int = TIMESTAMP_LOG_APPEND_TIME, **headers: str) -> Message:
    told = [(name.replace("_", "-"), value.encode()) for name, value in headers.items()]
    at = (kind, int(appended_ms))
    return Message(topic=TASKS, partition=0, offset=0, key=key.encode(), headers=told, timestamp=at)  # type: ignore[call-arg]


def clock_at(appended_ms: float) -> Any:
    clock = deadlines.BrokerClock()
    clock.learn(None, message("", appended_ms))
    return clock


def test_a_wait_is_a_duration_from_the_append_on_or_a_time_of_older_clients():
    cases = [
        message("in time", BROKER_MS - 1000, timeout_ms="2000"),
        message("late", BROKER_MS - 3000, timeout_ms="2000"),
        message("strange", timeout_ms="soon"),
        message("without", 0),
        message("old, in time", 0, deadline_ms=str(int(BROKER_MS) + 60_000)),
        message("old, late", 0, deadline_ms=str(int(BROKER_MS) - 2000)),
    ]
    kept, replies = deadlines.in_time(cases, clock_at(BROKER_MS))
    assert [one.key().decode() for one in kept] == ["in time", "strange", "without", "old, in time"]
    errors = {key: Result.model_validate_json(value).error for key, value in replies.results}
    assert {key: error and error.code for key, error in errors.items()} == {
        "late": "deadline-passed",
        "old, late": "deadline-passed",
    }
    assert errors["late"] and errors["late"].message.startswith("Not started: its time was over 1.")
    assert replies.dead_letters == []


def test_before_the_brokers_clock_is_known_nobodys_wait_is_over():
    late = [message("late", 0, timeout_ms="1")]
    unknown = deadlines.BrokerClock()
    assert deadlines.in_time(late, unknown)[0] == late
    unknown.learn(KafkaError(KafkaError._MSG_TIMED_OUT), message("not delivered"))
    unknown.learn(None, message("by the sender's clock", kind=TIMESTAMP_CREATE_TIME))
    assert unknown.now_ms() is None and unknown.is_due


def test_the_clock_goes_on_between_two_reports(monkeypatch: pytest.MonkeyPatch):
    clock, now = clock_at(BROKER_MS), time.monotonic()
    assert not clock.is_due
    monkeypatch.setattr(deadlines.time, "monotonic", lambda: now + 60)
    assert BROKER_MS + 59_000 < clock.now_ms() < BROKER_MS + 61_000
    assert clock.is_due


@pytest.mark.parametrize("delivery", ["at-least-once", "exactly-once"])
def test_a_worker_learns_the_brokers_clock_from_its_own_results(
    delivery: str, topics: Any, program: Any, kafka_env: dict[str, str]
):
    servers = topics()

    def send(**timeouts: str) -> None:
        for task_id, timeout_ms in timeouts.items():
            task = json.dumps({"task_id": task_id, "X": X})
            produce(servers, TASKS, [task], [task_id], headers={"timeout-ms": timeout_ms})

    send(before="0")
    program(WORKER, "--delivery", delivery, env=kafka_env | {"IRIS_SIMULATED_CPU_SECONDS": "0.5"})
    assert len(messages(servers, RESULTS, 1)) == 1  # nothing was known yet: it is done
    send(in_time="60000", late="1")  # the worker takes one at a time
    found = {m.key(): Result.model_validate_json(m.value() or b"") for m in messages(servers, RESULTS, 3)}
    assert found[b"before"].y and found[b"in_time"].y
    assert found[b"late"].error and found[b"late"].error.code == "deadline-passed"
