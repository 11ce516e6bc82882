"""Which messages a worker takes next: as many as are waiting, and fewer after a crash.

Before a worker takes tasks from a partition, the metadata of the committed offset says how many it may have in hand
from there on. A worker that ends in order takes the mark away. So a mark that is met on assignment tells that its
writer has died, and with how many tasks in hand: one of them may have killed it. Then these are taken a few at a time,
and after another crash one by one. A task is charged only with a crash while it was alone in hand, and is buried after
MAX_ATTEMPTS of them: tasks that were near when somebody killed the worker from outside are not charged. Of several
partitions under suspicion one has its turn, and the marks of the others say that they wait: they are not charged.

The marks cost one commit per assignment and per turn; after that they travel with the commits that are made anyway.
"""

import json
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID, Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from common.kafka.connection import ANSWER_SECONDS
from common.kafka.offsets import edges, next_offsets, place
from common.kafka.stopping import Stop
from common.kafka.topics import TASKS

from .delivery import FEW

MAX_ATTEMPTS = 3  # crashes with the task alone in hand
FEWER = 20  # after a crash with n tasks in hand, n / 20 are taken at a time
SMALL_BATCH = 100  # tasks that may be taken however few came before
GROWTH = 4  # above, a batch is at most so many times the last one
SECONDS_IN_HAND = 0.5  # no more work is taken at once than this takes
ASSIGN_SECONDS = 20.0  # longest wait for committed offsets: more than a dead worker's transaction can stay open
QUIET_SECONDS = 2.0  # a partition under suspicion that has nothing for so long is past it


@dataclass
class Suspicion:
    """A stretch of a partition in which a worker died."""

    size: int  # tasks to take at a time
    until: int  # offset that ends it
    attempts: int  # how often the task at its beginning has been started alone, this time included


@dataclass
class Mark:
    """What a worker writes beside the committed offset of a partition before it takes tasks from it."""

    in_hand: int  # tasks, at most
    attempts: int  # where it is one task: how often it has been started alone
    by: str  # the worker
    waiting: int = 0  # tasks under suspicion from the offset on, where another partition has its turn first

    def to_json(self) -> str:
        """Return the metadata of a commit."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, metadata: str | None) -> "Mark | None":
        """Return the mark in a commit's metadata, None where there is none that we wrote."""
        try:
            mark = json.loads(metadata or "")
            waiting = int(mark.get("waiting", 0))
            return cls(max(1, int(mark["in_hand"])), int(mark["attempts"]), str(mark["by"]), waiting)
        except (ValueError, KeyError, TypeError):
            return None


class Intake:
    """Takes batches from the worker's partitions."""

    def __init__(self, consumer: Consumer, admin: AdminClient, max_batch: int, stop: Stop) -> None:
        self.max_batch = max_batch
        self.suspicions: dict[int, Suspicion] = {}
        self.seconds_per_task = 0.0  # measured
        self._consumer, self._admin, self._stop = consumer, admin, stop
        self._rebalances = 0
        self._turn: int | None = None  # the partition under suspicion whose mark says that it has its turn
        self._bound = min(max_batch, SMALL_BATCH)  # tasks that the next batch may have: a mark must not promise too few
        self._name = uuid.uuid4().hex
        self._next: dict[int, int] = {}  # per partition that the worker holds: the offset behind what it has done
        self._behind = False  # what is in hand was not committed: go back first
        self._last_message = 0.0  # when a message came, seconds on the monotonic clock

    @property
    def partitions(self) -> list[int]:
        """Return the partitions that the worker holds."""
        return sorted(self._next)

    def assigned(self, partitions: list[TopicPartition]) -> None:
        """Take over partitions: look for marks of the dead, and leave one's own."""
        numbers = [where.partition for where in partitions]
        deadline = time.monotonic() + ASSIGN_SECONDS
        starts: list[TopicPartition] = []
        while len(starts) < len(numbers) and time.monotonic() < deadline and not self._stop.requested:
            try:
                ends = edges(self._admin, TASKS, numbers)
                starts = [self._start(where, *ends[where.partition]) for where in self._committed(numbers)]
            except KafkaException:  # a dead worker's transaction may still be open, or Kafka has gone away again
                time.sleep(0.2)
        self._rebalances += 1
        self._next.update(dict.fromkeys(numbers, OFFSET_INVALID))
        self._next.update({where.partition: where.offset for where in starts})
        self._consumer.incremental_assign([TopicPartition(TASKS, s.partition, s.offset) for s in starts] or partitions)
        with suppress(KafkaException):  # without a mark the worker works as well; a crash is noticed later
            self._consumer.commit(offsets=starts, asynchronous=False)
        self._pause_others()

    def _start(self, committed: TopicPartition, low: int, high: int) -> TopicPartition:
        """Return where to begin in a partition and the mark to leave there; come to suspect it where one is found."""
        number = committed.partition
        start = low if committed.offset == OFFSET_INVALID else max(committed.offset, low)
        mark = Mark.from_json(committed.metadata)
        if mark and mark.by != self._name and start < high:  # one's own means that Kafka was away, not that one died
            if mark.waiting:
                suspicion = Suspicion(mark.in_hand, min(start + mark.waiting, high), mark.attempts)
            else:
                attempts = mark.attempts + 1 if mark.in_hand == 1 else 1
                suspicion = Suspicion(max(1, mark.in_hand // FEWER), min(start + mark.in_hand, high), attempts)
            self.suspicions[number] = suspicion
        return TopicPartition(TASKS, number, start, metadata=self._mark(number, start))

    def _committed(self, numbers: Iterable[int]) -> list[TopicPartition]:
        wanted = [TopicPartition(TASKS, number) for number in numbers]
        return self._consumer.committed(wanted, timeout=ANSWER_SECONDS)

    def revoked(self, partitions: list[TopicPartition], *, in_order: bool) -> None:
        """Give partitions back. In order: everything is committed, and the mark can go."""
        self._rebalances += 1
        held = {where.partition: self._next.pop(where.partition, OFFSET_INVALID) for where in partitions}
        if in_order:
            clean = [TopicPartition(TASKS, number, offset) for number, offset in held.items() if offset >= 0]
            with suppress(KafkaException):  # then the next owner will be more careful than it need be
                self._consumer.commit(offsets=clean, asynchronous=False)
        for number in held:
            self.suspicions.pop(number, None)
        self._turn = None
        self._consumer.incremental_unassign(partitions)
        self._pause_others()

    def take(self, seconds: float) -> list[Message]:
        """Return what is waiting, or wait for one message at most this long.

        One that is alone is not held back for the sake of a batch: `poll` returns it as soon as it comes, and
        `consume` with a timeout of 0 adds what has come already.
        """
        if self._behind and not self._go_back():
            return []
        if self.suspicions and not self._has_its_turn():
            return []
        before = self._rebalances
        first = self._consumer.poll(seconds)
        messages = [first] if first is not None else []
        limit = self._limit()
        if messages and limit > 1:
            messages += self._consumer.consume(limit - 1, 0)
        messages = [m for m in messages if not m.error()]
        self._bound = min(self.max_batch, max(SMALL_BATCH, GROWTH * len(messages), self._bound // 2))
        if self._rebalances != before:  # some may be another worker's by now: take again what is still ours
            self._put_back(messages)
            return []
        return self._only_suspected(messages) if self.suspicions else messages

    def offsets(self, messages: list[Message]) -> list[TopicPartition]:
        """Return what to commit after these messages: per partition the next offset, with the mark for what follows."""
        ends = next_offsets(messages)
        for number, end in ends.items():
            suspicion = self.suspicions.get(number)
            if suspicion:
                suspicion.attempts = 1  # the next task is started for the first time
                if end >= suspicion.until:
                    self._clear(number)
        return [TopicPartition(TASKS, number, end, metadata=self._mark(number, end)) for number, end in ends.items()]

    def done(self, committed: list[TopicPartition]) -> None:
        """Take note of what is delivered and committed: partitions are given back at these offsets, never behind."""
        self._next.update({where.partition: where.offset for where in committed if where.partition in self._next})

    def attempts(self, message: Message) -> int:
        """Return how often a task has been started alone, this time included."""
        suspicion = self.suspicions.get(place(message)[0])
        return suspicion.attempts if suspicion and suspicion.size == 1 else 1

    def measured(self, tasks: int, seconds: float) -> None:
        """Learn what a task costs, from a batch that took this long."""
        self.seconds_per_task += 0.3 * (seconds / tasks - self.seconds_per_task)

    def rewind(self) -> None:
        """Go back to the committed offsets in all partitions, before anything else is taken."""
        self._behind = True

    # --- inside ---

    def _go_back(self) -> bool:
        try:
            for where in self._committed(self._next):
                start = where.offset if where.offset >= 0 else OFFSET_BEGINNING
                self._consumer.seek(TopicPartition(TASKS, where.partition, start))
                self._next[where.partition] = where.offset
        except KafkaException:  # Kafka is away, or the partitions are leaving: once more at the next take
            self._consumer.poll(0)
            time.sleep(0.1)
            return False
        self._behind = False
        return True

    def _limit(self) -> int:
        if self.suspicions:
            return self.suspicions[self._first()].size
        if not self.seconds_per_task:
            return 1
        return max(1, min(self._bound, int(SECONDS_IN_HAND / self.seconds_per_task)))

    def _first(self) -> int:
        """Return the partition under suspicion that has its turn."""
        return next(iter(self.suspicions))

    def _has_its_turn(self) -> bool:
        """See to it that the mark of the partition that has its turn says so, before anything is taken from there."""
        number = self._first()
        if number != self._turn:
            mark = TopicPartition(TASKS, number, self._next[number], metadata=self._mark(number, self._next[number]))
            try:
                self._consumer.commit(offsets=[mark], asynchronous=False)
            except KafkaException:  # Kafka is away, or the partition is leaving
                self.rewind()
                return False
            self._turn = number
            self._last_message = time.monotonic()
        return True

    def _mark(self, number: int, offset: int) -> str:
        """Return the metadata for a commit: how many tasks may be in hand from its offset on until the next commit."""
        suspicion = self.suspicions.get(number)
        if suspicion:
            waiting = 0 if number == self._first() else suspicion.until - offset
            return Mark(suspicion.size, suspicion.attempts, self._name, waiting).to_json()
        in_hand = min((1 + GROWTH) * self._bound, 2 * self.max_batch) + FEW  # the next two batches; few uncommitted
        return Mark(in_hand, 0, self._name).to_json()

    def _only_suspected(self, messages: list[Message]) -> list[Message]:
        """Keep what comes from the partition that has its turn; the rest goes back: one task alone has to be alone."""
        number, now = self._first(), time.monotonic()
        kept = [m for m in messages if m.partition() == number][: self.suspicions[number].size]
        self._put_back([m for m in messages if m not in kept])
        if kept:
            self._last_message = now
        elif now - self._last_message > QUIET_SECONDS:
            self._clear(number)
        return kept

    def _put_back(self, messages: list[Message]) -> None:
        """Have these messages come again."""
        first: dict[int, int] = {}
        for number, offset in map(place, messages):
            first.setdefault(number, offset)
        for number, offset in first.items():
            try:
                if number in self._next:
                    self._consumer.seek(TopicPartition(TASKS, number, offset))
            except KafkaException:
                self.rewind()

    def _clear(self, number: int) -> None:
        del self.suspicions[number]
        self._turn = None
        self._pause_others()

    def _pause_others(self) -> None:
        """While there are suspected partitions, take from the one that has its turn alone."""
        every = {number: TopicPartition(TASKS, number) for number in self._next}
        if self.suspicions:
            self._consumer.resume([every.pop(self._first())])
            self._consumer.pause(list(every.values()))
        elif every:
            self._consumer.resume(list(every.values()))
