"""A poison task harms itself alone: too slow, failing, hanging in C code, or deadly to its worker."""

import importlib
import re
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Message

from common.iris_dto import Result
from common.iris_model import IrisModel
from common.kafka.topics import TASKS
from common.settings import ROOT

protection: Any = importlib.import_module("5_task_queue.worker.protection")
replies_of: Any = importlib.import_module("5_task_queue.worker.replies")
time_limit: Any = importlib.import_module("5_task_queue.worker.time_limit")
TakeAgainError: Any = importlib.import_module("5_task_queue.worker.delivery").TakeAgainError
DELIVERY = SimpleNamespace(clock=importlib.import_module("5_task_queue.worker.deadlines").BrokerClock())
POISON = 3  # the offset of the poison task


class StandInStop:
    """Not asked to end, or asked to long ago."""

    def __init__(self, requested: bool = False) -> None:
        self.requested = requested

    def seconds_since(self) -> float:
        return 60.0


NONE_CANCELLED = SimpleNamespace(without=lambda messages, replies: messages)


def batch(tasks: int = 7, attempts: int = 1) -> Any:
    messages = [
        Message(topic=TASKS, partition=0, offset=i, key=f"task-{i}".encode(), value=b"{}")  # type: ignore[call-arg]
        for i in range(tasks)
    ]
    return SimpleNamespace(messages=messages, attempts=attempts)


def protected(model: IrisModel, poison: Any, seconds: float = 60.0, stop: StandInStop | None = None) -> Any:
    """Return a protection around a handler that calls `poison` for one task, and answers each of the others."""

    def handle(messages: list[Message], _: IrisModel) -> Any:
        if POISON in [message.offset() for message in messages]:
            poison()
        return replies_of.Replies([((message.key() or b"").decode(), b"done") for message in messages])

    queue = SimpleNamespace(
        options=SimpleNamespace(task_seconds=seconds),
        stop=stop or StandInStop(),
        delivery=DELIVERY,
        cancelled=NONE_CANCELLED,
    )
    return protection.Protection(handle, model, queue)


def spin() -> None:
    """Run Python code for ever."""
    while True:
        pass


def fail() -> None:
    raise ValueError("no such flower")


def devour() -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("poison", "code", "text"),
    [
        (spin, "too-slow", "It took longer than 0.3 s."),
        (lambda: re.match(r"(a+)+$", "a" * 60 + "b"), "too-slow", "It took longer than 0.3 s."),
        (fail, "failed", "The model failed with ValueError: no such flower"),
        (devour, "failed", "The model failed with MemoryError: "),
    ],
)
def test_a_poison_task_becomes_a_dead_letter_and_the_others_are_answered(
    poison: Any, code: str, text: str, model: IrisModel
):
    replies = protected(model, poison, seconds=0.3).replies_to(batch())
    results = dict(replies.results)
    error = Result.model_validate_json(results.pop(f"task-{POISON}")).error
    assert error and (error.code, error.message) == (code, text)
    assert results == {f"task-{i}": b"done" for i in range(7) if i != POISON}
    assert [(letter.message.offset(), letter.reason) for letter in replies.dead_letters] == [(POISON, text)]


def test_a_task_that_killed_three_workers_alone_is_not_started_again(model: IrisModel):
    started: list[int] = []

    def handle(messages: list[Message], _: IrisModel) -> Any:
        started.append(len(messages))
        return replies_of.Replies()

    queue = SimpleNamespace(
        options=SimpleNamespace(task_seconds=60.0), stop=StandInStop(), delivery=DELIVERY, cancelled=NONE_CANCELLED
    )
    guard = protection.Protection(handle, model, queue)
    guard.replies_to(batch(1, attempts=3))
    assert started == [1]
    replies = guard.replies_to(batch(1, attempts=4))
    assert started == [1]
    (letter,) = replies.dead_letters
    assert (letter.attempts, letter.reason) == (3, "Its worker died 3 times while it was working on this task alone.")


def test_work_that_takes_too_long_for_a_worker_that_is_to_end_is_handed_back(model: IrisModel):
    started = time.monotonic()
    with pytest.raises(TakeAgainError):
        protected(model, spin, stop=StandInStop(requested=True)).replies_to(batch())
    assert time.monotonic() - started < 5


def test_an_empty_batch_has_no_replies(model: IrisModel):
    assert protected(model, fail).replies_to(batch(0)) == replies_of.Replies()


def test_a_sender_of_rubbish_is_a_warning_now_and_then(model: IrisModel, capsys: pytest.CaptureFixture[str]):
    def refuse(messages: list[Message], _: IrisModel) -> Any:
        replies = replies_of.Replies()
        for message in messages:
            replies.refuse(message, None, "invalid", "Not JSON.")
        return replies

    queue = SimpleNamespace(
        options=SimpleNamespace(task_seconds=60.0), stop=StandInStop(), delivery=DELIVERY, cancelled=NONE_CANCELLED
    )
    guard = protection.Protection(refuse, model, queue)
    guard.replies_to(batch(199))
    assert capsys.readouterr().err == ""
    for _ in range(10):
        assert len(guard.replies_to(batch(1)).dead_letters) == 1
    warning = capsys.readouterr().err
    assert warning.startswith("Most of the last 200 messages in tasks are not valid tasks.")
    assert warning.count("\n") == 1


HANG = """
import importlib, itertools, collections, types
time_limit = importlib.import_module("5_task_queue.worker.time_limit")
time_limit.HANG_SECONDS = 0.2
with time_limit.TimeLimit(0.2, types.SimpleNamespace(requested=False)):
    print("started", flush=True)
    collections.deque(itertools.repeat(0), maxlen=0)  # for ever, in C code that never looks at signals
"""


def test_a_task_that_hangs_in_c_code_ends_its_worker():
    ended = subprocess.run([sys.executable, "-c", HANG], cwd=ROOT, capture_output=True, timeout=30, check=False)
    assert ended.stdout == b"started\n"
    assert ended.returncode == -27  # SIGPROF
