"""The tasks that a gateway knows of, in memory: put together from what stands in Kafka, and never more than so many.

Whoever sent a task and through whichever gateway: all of them stand in `tasks`, their outcomes in `results`, what
workers take in `tasks.events`. So a gateway that starts anew knows the newest tasks again, and two know the same.
Everything here runs in the event loop's one thread.
"""

import asyncio
import struct
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from common.iris_codec import NOT_FAST, FastMeasurement, json_decoder
from common.iris_dto import FEATURES

WAITING, RUNNING, DONE, FAILED, CANCELLED = STATES = ("waiting", "running", "done", "failed", "cancelled")
CANCELLED_CODE = "cancelled"  # of the error with which a worker answers a cancelled task
RANGES_KEPT = 500  # per partition: what workers have taken
pack = struct.Struct("<4d").pack
unpack = struct.Struct("<4d").unpack


class Known:
    """A task. What is not known of it is None or -1."""

    __slots__ = ("accepted_ms", "cancel_asked", "done_ms", "done_offset", "number", "offset", "outcome", "partition",
                 "row", "state", "task_id")  # fmt: skip

    def __init__(self, task_id: str, row: bytes | None, number: int) -> None:
        self.task_id, self.row, self.number = task_id, row, number  # row: the measurement, packed; number: which task
        self.partition = self.offset = self.done_offset = -1
        self.accepted_ms = self.done_ms = 0  # Unix time of the broker
        self.outcome: bytes | None = None  # the message in `results`
        self.state = WAITING  # or that of its outcome
        self.cancel_asked = False


class Taken(msgspec.Struct):
    """A worker's event: it has taken the tasks from `first` up to, not including, `end` of a partition."""

    worker: str
    partition: int
    first: int
    end: int
    time_ms: int
    attempts: int = 1


class Answer(msgspec.Struct):
    """Of a result's message what says how it ended."""

    task_id: str | None = None
    X: msgspec.Raw = msgspec.Raw(b"null")
    y: msgspec.Raw = msgspec.Raw(b"null")
    error: dict[str, Any] | None = None


read_answer = msgspec.json.Decoder(Answer).decode
_read_measurement = json_decoder(FastMeasurement)


class KnownTasks:
    """Remembers the newest tasks, and of as many older ones that they were there."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.by_id: dict[str, Known] = {}
        self.changed = asyncio.Event()  # is set, and replaced, whenever something has changed
        self._forgotten: dict[str, None] = {}
        # Accepted ones, in their order: the first one that has no outcome waits longest
        self._line: deque[Known] = deque()
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self._taken: dict[int, deque[Taken]] = {}
        self._numbers = 0

    # --- what happens ---

    def sent(self, task_id: str, row: bytes) -> Known:
        """Remember a task that is on its way to Kafka."""
        return self.by_id.get(task_id) or self._new(task_id, row)

    def accepted(self, task_id: str, row: bytes | None, partition: int, offset: int, when_ms: int) -> None:
        """Note that Kafka has a task. If it stands there twice, the first one counts."""
        task = self.by_id.get(task_id) or self._new(task_id, row)
        if task.offset < 0:
            self._in_line(task, when_ms)
            task.partition, task.offset, task.accepted_ms = partition, offset, when_ms
        if task.row is None:
            task.row = row

    def accepted_somewhere(self, task: Known) -> None:
        """Note that Kafka has a task of a batch. Where, tells `tasks` itself."""
        self._in_line(task, int(time.time() * 1000))

    def finished(self, task_id: str, value: bytes, offset: int, when_ms: int) -> None:
        """Note an outcome. The first one decides."""
        task = self.by_id.get(task_id) or self._new(task_id, None)
        if task.outcome is None:
            try:
                error = read_answer(value).error
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return  # of another program: no result
            task.state = DONE if not error else CANCELLED if error.get("code") == CANCELLED_CODE else FAILED
            task.outcome, task.done_offset, task.done_ms = value, offset, when_ms
        for waiter in self._waiters.pop(task_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def taken(self, event: Taken) -> None:
        """Note which tasks a worker has taken."""
        self._taken.setdefault(event.partition, deque(maxlen=RANGES_KEPT)).append(event)

    def cancelled(self, task_id: str) -> None:
        """Note that somebody does not want a task any more."""
        if task := self.by_id.get(task_id):
            task.cancel_asked = True

    def tell(self) -> None:
        """Wake whoever follows the tasks."""
        self.changed.set()
        self.changed = asyncio.Event()

    def forget(self, task: Known) -> None:
        """Forget a task that never came to Kafka."""
        if not is_accepted(task):
            self.by_id.pop(task.task_id, None)

    def _new(self, task_id: str, row: bytes | None) -> Known:
        self._numbers += 1
        task = self.by_id[task_id] = Known(task_id, row, self._numbers)
        if len(self.by_id) > self.most:
            oldest = next(iter(self.by_id))
            del self.by_id[oldest]
            self._forgotten[oldest] = None
            if len(self._forgotten) > 2 * self.most:
                del self._forgotten[next(iter(self._forgotten))]
        return task

    def _in_line(self, task: Known, when_ms: int) -> None:
        if task.accepted_ms:
            return  # it is there already
        task.accepted_ms = when_ms
        self._line.append(task)
        if len(self._line) > 2 * self.most:
            self.oldest_waiting_ms()
            while len(self._line) > self.most:
                self._line.popleft()

    # --- what is asked ---

    def was_here(self, task_id: str) -> bool:
        """Return whether a task was known once, and is forgotten by now."""
        return task_id in self._forgotten

    def state_of(self, task: Known) -> str:
        """Return the state: partitions are taken in their order, so what stands before the last one taken is too."""
        if task.outcome is None and task.offset >= 0 and (ranges := self._taken.get(task.partition)):
            return RUNNING if task.offset < ranges[-1].end else WAITING
        return task.state

    def takings(self, task: Known) -> list[Taken]:
        """Return each time that a worker took a task, as far as workers have said so."""
        ranges = self._taken.get(task.partition, ()) if task.offset >= 0 else ()
        return [one for one in ranges if one.first <= task.offset < one.end]

    async def wait(self, task_id: str, seconds: float) -> bool:
        """Wait until a task has an outcome, at most this long; return whether it has one."""
        task = self.by_id.get(task_id)
        if task and task.outcome is not None:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(task_id, []).append(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter
            return True
        except TimeoutError:
            return False
        finally:
            if (left := self._waiters.get(task_id)) and waiter in left:
                left.remove(waiter)
                if not left:
                    del self._waiters[task_id]

    def newest(self, state: str | None, after: Known | None) -> Iterator[Known]:
        """Yield the tasks, the newest first, those that came before `after`."""
        for task in reversed(self.by_id.values()):
            if not is_accepted(task):
                continue
            if (after is None or task.number < after.number) and (state is None or self.state_of(task) == state):
                yield task

    def oldest_waiting_ms(self) -> int:
        """Return since when the oldest task without an outcome waits (Unix time in ms), 0 if none does."""
        line = self._line
        while line and (line[0].outcome is not None or self.by_id.get(line[0].task_id) is not line[0]):
            line.popleft()
        return line[0].accepted_ms if line else 0

    def counts(self) -> dict[str, int]:
        """Return how many tasks there are by state."""
        found: dict[str, int] = dict.fromkeys(STATES, 0)
        for task in filter(is_accepted, self.by_id.values()):
            found[self.state_of(task)] += 1
        return found


def is_accepted(task: Known) -> bool:
    """Return whether Kafka has a task for sure."""
    return task.accepted_ms > 0 or task.outcome is not None


def row_of(task: Known) -> bytes | None:
    """Return a task's measurement, packed; where only its outcome is known, it may stand there."""
    if task.row is None and task.outcome is not None:
        try:
            task.row = pack(*_read_measurement(read_answer(task.outcome).X).row())
        except NOT_FAST:
            return None
    return task.row


def measurement_of(task: Known) -> dict[str, float] | None:
    """Return a task's measurement in cm, None if it is not known."""
    row = row_of(task)
    return None if row is None else dict(zip(FEATURES, unpack(row), strict=True))
