"""Which messages a worker takes next: from the committed offsets on, and with care where a worker has died.

`suspects.py` says what the marks in the commits' metadata mean; here they are read, written and acted on. They cost one
commit per assignment and per tested partition; after that they travel with the commits that are made anyway.
"""

import time
import uuid
from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from common.kafka.connection import ANSWER_SECONDS
from common.kafka.group_reader import GroupReader
from common.kafka.offsets import edges, place
from common.kafka.stopping import Stop
from common.kafka.topics import TASKS

from .at_least_once import FEW
from .batch_size import BatchSize
from .suspects import Suspects

RETRY_SECONDS = 0.2
QUIET_SECONDS = 2.0  # a tested partition that has nothing for so long is past its suspects


class Intake(GroupReader):
    """Takes batches of tasks."""

    def __init__(self, consumer: Consumer, admin: AdminClient, stop: Stop, max_batch: int) -> None:
        super().__init__(consumer, TASKS, self._committed)
        self.size = BatchSize(max_batch)
        self.suspects = Suspects(uuid.uuid4().hex)
        self._admin, self._stop = admin, stop
        self._new: set[int] = set()  # partitions whose marks have not been looked at
        self._ends: dict[int, int] = {}  # of partitions, when they were last looked up
        self._tested: int | None = None  # the partition whose mark says that it is tested
        self._last_message = 0.0  # from there, seconds on the monotonic clock

    def assigned(self, partitions: list[TopicPartition]) -> None:
        """Take over partitions."""
        self._new.update(one.partition for one in partitions)
        super().assigned(partitions)

    def placed(self, start: list[TopicPartition]) -> None:
        """Look for marks of dead workers in new partitions, and leave one's own."""
        new = [one for one in start if one.partition in self._new]
        self._new.clear()
        for one in new:
            self.suspects.found(one.partition, one.offset, self._ends[one.partition], one.metadata)
        with suppress(KafkaException):  # without a mark the worker works as well; a crash is noticed later
            self._commit(self.marked({one.partition: one.offset for one in new}))
        self._pause_others()

    def revoked(self, partitions: list[TopicPartition]) -> None:
        """Give partitions back. If everything in hand is committed, the marks can go."""
        numbers = [one.partition for one in partitions]
        if not self.behind:
            clean = [TopicPartition(TASKS, number, self.next[number]) for number in numbers if number in self.next]
            with suppress(KafkaException):  # then the next owner will be more careful than it need be
                self._commit([one for one in clean if one.offset >= 0])
        self.lost(partitions)

    def lost(self, partitions: list[TopicPartition]) -> None:
        """Give up partitions that are another worker's by now."""
        super().revoked(partitions)
        for one in partitions:
            self.suspects.forget(one.partition)
            self._new.discard(one.partition)
        self._tested = None
        self._pause_others()

    def take_batch(self, seconds: float) -> list[Message]:
        """Return what is waiting, or wait for one message, at most this long."""
        if not (self.in_place() and self._mark_tested()):
            return []
        messages = self.take(self.suspects.size if self.suspects else self.size.next, seconds)
        self.size.taken(len(messages))
        return self._only_tested(messages) if self.suspects else messages

    def marked(self, ends: dict[int, int]) -> list[TopicPartition]:
        """Return these offsets to commit, each with the mark for what follows."""
        in_hand = self.size.next_two + FEW  # few may wait for their commit
        return [
            TopicPartition(TASKS, number, end, metadata=self.suspects.mark(number, end, in_hand))
            for number, end in ends.items()
        ]

    def survived(self, ends: dict[int, int]) -> None:
        """Note that the tasks before these offsets have not killed the worker."""
        if self.suspects:
            for number, end in ends.items():
                self.suspects.survived(number, end)
            self._pause_others()

    # --- inside ---

    def _commit(self, offsets: list[TopicPartition]) -> None:
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=False)

    def _committed(self, numbers: list[int]) -> list[TopicPartition]:
        """Return the group's committed offsets and their metadata; an empty list if Kafka cannot say now."""
        try:
            wanted = [TopicPartition(TASKS, number) for number in numbers]
            found = self._consumer.committed(wanted, timeout=ANSWER_SECONDS)
            ends = edges(self._admin, TASKS, numbers)
        except KafkaException:  # a dead worker's transaction may still be open, or Kafka is away
            self._stop.wait(RETRY_SECONDS)
            return []
        self._ends.update({number: high for number, (_, high) in ends.items()})
        for one in found:  # nothing committed yet is -1001: begin with the oldest task
            one.offset = max(one.offset, ends[one.partition][0])
        return found

    def _mark_tested(self) -> bool:
        """See to it that the mark of the tested partition says so, before anything is taken from it."""
        if not self.suspects or self.suspects.tested == self._tested:
            return True
        number = self.suspects.tested
        try:
            self._commit(self.marked({number: self.next[number]}))
        except KafkaException:  # Kafka is away, or the partition is leaving
            self.rewind()
            return False
        self._tested, self._last_message = number, time.monotonic()
        return True

    def _only_tested(self, messages: list[Message]) -> list[Message]:
        """Keep what comes from the tested partition; the rest goes back: one task alone has to be alone."""
        kept = [message for message in messages if place(message)[0] == self._tested][: self.suspects.size]
        self.put_back([message for message in messages if message not in kept])
        if kept:
            self._last_message = time.monotonic()
        elif time.monotonic() - self._last_message > QUIET_SECONDS and self._tested is not None:
            self.suspects.forget(self._tested)
            self._pause_others()
        return kept

    def _pause_others(self) -> None:
        """While partitions have suspects, take from the tested one alone."""
        every = {number: TopicPartition(TASKS, number) for number in self.next}
        if self.suspects:
            self._consumer.resume([every.pop(self.suspects.tested)])
            self._consumer.pause(list(every.values()))
        elif every:
            self._consumer.resume(list(every.values()))
