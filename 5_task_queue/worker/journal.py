"""What a worker writes down about single tasks, with the id of the HTTP request that each came with.

A task that came over HTTP and ends with an error has a line, at most LINES_PER_SECOND; with `IRIS_LOG_TASKS=1` each
task has one. Without either it costs a look at an empty list per batch.
"""

import os
import sys
import time

from confluent_kafka import Message

from common.kafka.topics import REQUEST_HEADER

from .codec import task_id_of
from .replies import Replies

EVERY_TASK = "IRIS_LOG_TASKS"
LINES_PER_SECOND = 100


class Journal:
    """Writes lines about tasks to standard error."""

    def __init__(self, worker: str) -> None:
        self._worker, self._every = worker, os.environ.get(EVERY_TASK) == "1"
        self._second, self._lines = 0, 0

    def note(self, messages: list[Message], replies: Replies) -> None:
        """Write down what became of the tasks of a batch."""
        if not replies.errors and not self._every:
            return
        errors = dict(replies.errors)
        for message in messages:
            task_id = task_id_of(message)
            code = errors.get(task_id or "")
            if task_id and (self._every or (code and request_of(message))) and self._has_room():
                print(self._line(message, task_id, code or "done"), file=sys.stderr)

    def _has_room(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        return self._every or self._lines <= LINES_PER_SECOND

    def _line(self, message: Message, task_id: str, what: str) -> str:
        where = f"partition {message.partition()} offset {message.offset()}"
        return f"worker {self._worker} task {ascii(task_id)[1:-1]} {where} {what}{request_of(message)}"


def request_of(message: Message) -> str:
    """Return the request that a task came with, as it is logged; nothing if it does not say so."""
    for name, value in message.headers() or []:
        if name == REQUEST_HEADER and value:
            text = value if isinstance(value, str) else value.decode("utf-8", "replace")
            return f" request_id={ascii(text)[1:-1][:64]}"  # a sender could forge lines
    return ""
