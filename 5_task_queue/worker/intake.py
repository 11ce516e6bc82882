"""Which messages a worker takes next: as many as are waiting, and fewer after a crash.

Before a worker takes tasks from a partition, the metadata of the committed offset says how many it may have in hand
from there on. A worker that ends in order takes the mark away. So a mark that is met on assignment tells that its
writer has died, and with how many tasks in hand: one of them may have killed it. Then these are taken a few at a time,
and after another crash one by one. A task is charged only with a crash while it was alone in hand, and is buried after
MAX_ATTEMPTS of them: tasks that were near when somebody killed the worker from outside are not charged.

The marks cost one commit per assignment; after that they travel with the commits that are made anyway.
"""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, Message, TopicPartition

from common.kafka_clients import ANSWER_SECONDS, TASKS, next_offsets, place

MAX_ATTEMPTS = 3  # crashes with the task alone in hand
FEWER = 32  # after a crash with n tasks in hand, n / 32 are taken at a time
SECONDS_IN_HAND = 0.5  # no more work is taken at once than this takes
ASSIGN_SECONDS = 20.0  # longest wait for committed offsets: more than a dead worker's transaction can stay open
QUIET_SECONDS = 2.0  # a partition under suspicion that has nothing for so long is past it


@dataclass
class Suspicion:
    """A stretch of a partition in which a worker died."""

    size: int  # tasks to take at a time
    until: int  # offset that ends it
    attempts: int  # how often the task at its beginning has been started alone, this time included


class Intake:
    """Takes batches from the worker's partitions."""

    def __init__(self, consumer: Consumer, max_batch: int) -> None:
        self.max_batch = max_batch
        self.suspicions: dict[int, Suspicion] = {}
        self.seconds_per_task = 0.0  # measured
        self._consumer = consumer
        self._owned: set[int] = set()
        self._last_message = 0.0  # when a message came, seconds on the monotonic clock

    @property
    def partitions(self) -> list[int]:
        """Return the partitions that the worker holds."""
        return sorted(self._owned)

    def assigned(self, partitions: list[TopicPartition]) -> None:
        """Take over partitions: look for marks of the dead, and leave one's own."""
        numbers = [where.partition for where in partitions]
        deadline = time.monotonic() + ASSIGN_SECONDS
        starts: list[TopicPartition] = []
        while not starts and time.monotonic() < deadline:
            try:
                starts = [self._start(where) for where in self._committed(numbers)]
            except KafkaException:  # a dead worker's transaction may still be open, or Kafka has gone away again
                time.sleep(0.2)
        self._owned.update(numbers)
        self._consumer.incremental_assign([TopicPartition(TASKS, s.partition, s.offset) for s in starts] or partitions)
        with suppress(KafkaException):  # without a mark the worker works as well; a crash is noticed later
            self._consumer.commit(offsets=starts, asynchronous=False)
        self._pause_unsuspected()

    def _start(self, committed: TopicPartition) -> TopicPartition:
        """Return where to begin in a partition and the mark to leave there; come to suspect it where one is found."""
        number = committed.partition
        low, high = self._consumer.get_watermark_offsets(TopicPartition(TASKS, number), timeout=ANSWER_SECONDS)
        start = low if committed.offset == OFFSET_INVALID else max(committed.offset, low)
        mark = _read_mark(committed.metadata)
        if mark and start < high:
            size = max(1, mark["in_hand"] // FEWER)
            attempts = mark["attempts"] + 1 if mark["in_hand"] == 1 else 1
            self.suspicions[number] = Suspicion(size, min(start + mark["in_hand"], high), attempts)
        return TopicPartition(TASKS, number, start, metadata=self._mark(number))

    def _committed(self, numbers: Iterable[int]) -> list[TopicPartition]:
        wanted = [TopicPartition(TASKS, number) for number in numbers]
        return self._consumer.committed(wanted, timeout=ANSWER_SECONDS)

    def revoked(self, partitions: list[TopicPartition], *, in_order: bool) -> None:
        """Give partitions back. In order: everything is committed, and the mark can go."""
        numbers = {where.partition for where in partitions}
        if in_order:
            with suppress(KafkaException):  # then the next owner will be more careful than it need be
                clean = [
                    TopicPartition(TASKS, c.partition, c.offset) for c in self._committed(numbers) if c.offset >= 0
                ]
                self._consumer.commit(offsets=clean, asynchronous=False)
        self._owned -= numbers
        for number in numbers:
            self.suspicions.pop(number, None)
        self._consumer.incremental_unassign(partitions)
        self._pause_unsuspected()

    def take(self, seconds: float) -> list[Message]:
        """Return what is waiting, or wait for one message at most this long.

        One that is alone is not held back for the sake of a batch: `poll` returns it as soon as it comes, and
        `consume` with a timeout of 0 adds what has come already.
        """
        first = self._consumer.poll(seconds)
        messages = [first] if first is not None else []
        limit = self._limit()
        if messages and limit > 1:
            messages += self._consumer.consume(limit - 1, 0)
        messages = [m for m in messages if not m.error() and m.partition() in self._owned]
        if self.suspicions:
            messages = self._only_suspected(messages)
        return messages

    def offsets(self, messages: list[Message]) -> list[TopicPartition]:
        """Return what to commit after these messages: per partition the next offset, with the mark for what follows."""
        ends = next_offsets(messages)
        for number, end in ends.items():
            suspicion = self.suspicions.get(number)
            if suspicion:
                suspicion.attempts = 1  # the next task is started for the first time
                if end >= suspicion.until:
                    self._clear(number)
        return [TopicPartition(TASKS, number, end, metadata=self._mark(number)) for number, end in ends.items()]

    def attempts(self, message: Message) -> int:
        """Return how often a task has been started alone, this time included."""
        suspicion = self.suspicions.get(place(message)[0])
        return suspicion.attempts if suspicion and suspicion.size == 1 else 1

    def measured(self, tasks: int, seconds: float) -> None:
        """Learn what a task costs, from a batch that took this long."""
        self.seconds_per_task += 0.3 * (seconds / tasks - self.seconds_per_task)

    def rewind(self) -> None:
        """Go back to the committed offsets in all partitions.

        Raises:
            KafkaException: Kafka does not answer; try again.
        """
        for where in self._committed(self._owned):
            if where.offset >= 0:
                self._consumer.seek(TopicPartition(TASKS, where.partition, where.offset))

    # --- inside ---

    def _limit(self) -> int:
        if self.suspicions:
            return min(suspicion.size for suspicion in self.suspicions.values())
        if not self.seconds_per_task:
            return 1
        return max(1, min(self.max_batch, int(SECONDS_IN_HAND / self.seconds_per_task)))

    def _mark(self, number: int) -> str:
        suspicion = self.suspicions.get(number)
        in_hand = suspicion.size if suspicion else 2 * self.max_batch  # one being delivered, one being worked on
        return json.dumps({"in_hand": in_hand, "attempts": suspicion.attempts if suspicion else 0})

    def _only_suspected(self, messages: list[Message]) -> list[Message]:
        """Keep what comes from one suspected partition; the rest goes back, as one task alone has to be alone."""
        now = time.monotonic()
        if not messages:
            if now - self._last_message > QUIET_SECONDS:
                self._clear(next(iter(self.suspicions)))
                self._last_message = now
            return []
        self._last_message = now
        chosen = next((m.partition() for m in messages if m.partition() in self.suspicions), None)
        kept = [m for m in messages if m.partition() == chosen]
        if chosen is not None:
            size = self.suspicions[chosen].size
            kept, late = kept[:size], kept[size:]
        else:
            late = []
        back: dict[int, int] = {}
        for message in [*late, *(m for m in messages if m.partition() != chosen)]:
            back.setdefault(*place(message))
        for number, offset in back.items():
            self._consumer.seek(TopicPartition(TASKS, number, offset))
        return kept

    def _clear(self, number: int) -> None:
        del self.suspicions[number]
        self._pause_unsuspected()

    def _pause_unsuspected(self) -> None:
        """While there are suspected partitions, take from them alone."""
        suspected = [TopicPartition(TASKS, n) for n in self._owned if n in self.suspicions]
        others = [TopicPartition(TASKS, n) for n in self._owned if n not in self.suspicions]
        if suspected and others:
            self._consumer.pause(others)
        elif others:
            self._consumer.resume(others)


def _read_mark(metadata: str | None) -> dict[str, int] | None:
    """Return the mark in a committed offset's metadata, None where there is none that we wrote."""
    try:
        mark = json.loads(metadata or "")
        return {"in_hand": max(1, int(mark["in_hand"])), "attempts": int(mark["attempts"])}
    except (ValueError, KeyError, TypeError):
        return None
