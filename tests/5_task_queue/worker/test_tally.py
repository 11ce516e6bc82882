"""What a worker prints of its work."""

import importlib
from typing import Any

import pytest
from confluent_kafka import Message

tally: Any = importlib.import_module("5_task_queue.worker.tally")


def test_lone_tasks_are_counted_and_told_at_most_once_a_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    clock = [1000.0]
    monkeypatch.setattr(tally.time, "monotonic", lambda: clock[0])
    worker = tally.Tally(3)
    for _ in range(50):
        clock[0] += 0.01
        worker.count([Message(topic="tasks", partition=2, offset=0, key=b"", value=b"")])  # type: ignore[call-arg]
        worker.show_in_time()  # as the worker does when nothing is waiting
    assert capsys.readouterr().out == "worker 3 did 1 of partition 2; 1 in all\n"
    clock[0] += 1
    worker.show_in_time()
    worker.show_in_time()
    worker.show()
    assert capsys.readouterr().out == "worker 3 did 49 of partition 2; 50 in all\n"
