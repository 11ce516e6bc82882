"""What Kafka's topics say about tasks, put into `KnownTasks`. The urgent results have a reader of their own."""

import time
from collections import deque
from itertools import islice
from typing import NamedTuple

import msgspec
from confluent_kafka import Message

from common.iris_codec import NOT_FAST, json_decoder
from common.kafka.topics import CANCELLED, EVENTS, RESULTS, RETENTION_MS, TASKS

from ..formats.bodies import TaskMessage
from .follower import Follower
from .known import KnownTasks, Taken, pack

EVENTS_BACK = 5000  # events of workers that are read again at the start
RECENT = 10_000  # results that are kept to be streamed; older ones are read from Kafka
_task = json_decoder(TaskMessage)
_taken = msgspec.json.Decoder(Taken).decode


class Recent(NamedTuple):
    """A result that came lately."""

    partition: int
    offset: int
    value: bytes


class View:
    """Follows the four topics."""

    def __init__(self, known: KnownTasks) -> None:
        self.known = known
        self.recent: deque[Recent] = deque(maxlen=RECENT)
        self.came = 0  # results so far
        self.ends: dict[int, int] = {}  # per partition of `results` the offset after the last one
        # More results than tasks: a task that was done long ago must not look as if it waited
        back = {TASKS: int(0.8 * known.most), CANCELLED: known.most, EVENTS: EVENTS_BACK}
        self._followers = [Follower({RESULTS: 2 * known.most}, self._results), Follower(back, self._others)]

    @property
    def caught_up(self) -> bool:
        """Return whether everything is known that there was when the gateway started, as far back as it remembers."""
        return all(one.caught_up for one in self._followers)

    def close(self) -> None:
        """Stop following."""
        for one in self._followers:
            one.close()

    def recent_from(self, number: int) -> list[Recent]:
        """Return some of the results that came after the first `number` ones."""
        start = max(0, number - (self.came - len(self.recent)))
        return list(islice(self.recent, start, start + 500))

    def _results(self, messages: list[Message]) -> None:
        finished = self.known.finished
        for message in messages:
            value, key = message.value() or b"", message.key()
            partition, offset = message.partition() or 0, message.offset() or 0
            self.recent.append(Recent(partition, offset, value))
            self.came += 1
            self.ends[partition] = offset + 1
            if key:
                finished(key.decode("utf-8", "replace"), value, offset, message.timestamp()[1])  # pyright: ignore
        self.known.tell()

    def _others(self, messages: list[Message]) -> None:
        by_id = self.known.by_id
        for message in messages:
            topic, key = message.topic(), (message.key() or b"").decode("utf-8", "replace")  # pyright: ignore
            if topic == TASKS:
                if (task := by_id.get(key)) is None or task.offset < 0:
                    self._task(message)
            elif topic == CANCELLED:
                self.known.cancelled(key)
            else:
                self._event(message)
        self.known.tell()

    def _task(self, message: Message) -> None:
        try:
            task = _task(message.value() or b"")
        except NOT_FAST:
            return  # of stage 4, or not valid: its worker says so
        row, when = pack(*task.X.row()), message.timestamp()[1]
        if when < time.time() * 1000 - RETENTION_MS[RESULTS] and task.task_id not in self.known.by_id:
            return  # its result may be deleted by now: nobody can say whether it still waits
        self.known.accepted(task.task_id, row, message.partition() or 0, message.offset() or 0, when)

    def _event(self, message: Message) -> None:
        try:
            self.known.taken(_taken(message.value() or b""))
        except NOT_FAST:
            return  # another kind of event
