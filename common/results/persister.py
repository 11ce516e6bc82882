"""Reads the topic `results` and stores it exactly once, in a store that keeps its own positions: SQLite or PostgreSQL.

The consumer group only shares out the partitions. How far each has come stands in the store, written together with the
results; nothing is committed to Kafka. Killed anywhere, a persister goes on where the store says.
"""

import sys
import time
from collections.abc import Iterable
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from common.errors import ProgramError
from common.iris_dto import Result
from common.kafka.connection import ANSWER_SECONDS, Connection, base_config, consumer_config
from common.kafka.group_reader import GroupReader
from common.kafka.offsets import edges, next_offsets
from common.kafka.progress import hours_left, topic_settings
from common.kafka.stopping import Stop
from common.kafka.topics import RESULTS
from common.results.store import PositionMovedError, Row, Span

POLL_SECONDS = 0.5
LOOK_SECONDS = 60.0  # from one look at the age of what is stored to the next
MAX_BATCH = 5000  # results per transaction of the store
RETRY_SECONDS = (0.5, 1, 2, 4, 8)  # growing waits while the store or Kafka does not answer; the last one repeats


class Store(Protocol):
    """What a persister needs of a store."""

    @property
    def group(self) -> str:
        """The consumer group of this store's persisters."""
        ...

    def positions(self, topic: str, topic_id: str) -> dict[int, int]:
        """Return the next offset of each partition that has been stored from this very topic."""
        ...

    def known_topic_id(self, topic: str) -> str | None:
        """Return the id that the topic had when something was last stored from it."""
        ...

    def store(self, topic: str, topic_id: str, spans: Iterable[Span], rows: Iterable[Row]) -> int:
        """Write rows and the end of their spans in one transaction; may raise PositionMovedError."""
        ...


def results_consumer(group: str, connection: Connection) -> Consumer:
    """Return a consumer that says so when Kafka no longer has an offset, instead of jumping somewhere by itself."""
    return Consumer(consumer_config(group, connection) | {"auto.offset.reset": "error"})


class Persister:
    """Reads `results` from where the store says, and stores.

    `away` is the error of a store that cannot be written, `where` its name for people.
    """

    def __init__(
        self, admin: AdminClient, consumer: Consumer, store: Store, stop: Stop, away: type[Exception], where: str
    ) -> None:
        self.admin, self.consumer, self.store, self.stop = admin, consumer, store, stop
        self.away, self.where = away, where
        self.topic_id = ""
        self.skipped = 0
        self._next_look = 0.0  # at the age of what is not stored yet, on the monotonic clock
        self.reader = GroupReader(consumer, RESULTS, self._positions)

    def subscribe(self) -> None:
        """Join the group; partitions come and go with other persisters."""
        self.consumer.subscribe([RESULTS], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def _assigned(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.reader.assigned(partitions)

    def _revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.reader.revoked(partitions)

    def take(self) -> list[Message]:
        """Return what is waiting, or wait for one message."""
        messages = self.reader.take(MAX_BATCH, POLL_SECONDS)
        if messages and time.monotonic() > self._next_look:
            self._warn_if_late(messages[0])
        return messages

    def _warn_if_late(self, oldest: Message) -> None:
        """Say so before Kafka deletes results by age that are not stored yet."""
        self._next_look = time.monotonic() + LOOK_SECONDS
        left = hours_left(oldest.timestamp()[1], topic_settings(self.admin, RESULTS))
        if left is not None:
            print(f"The oldest result not stored yet will be deleted by age in {left:.1f} hours.", file=sys.stderr)

    def persist(self, messages: list[Message]) -> int:
        """Store the results among the messages; return how many rows are new."""
        ends = next_offsets(messages)
        spans = [Span(number, self.reader.next[number], end) for number, end in ends.items()]
        rows = [row for row in map(to_row, messages) if row]
        self.skipped += len(messages) - len(rows)
        for attempt in range(sys.maxsize):
            try:
                if current_topic_id(self.admin) != self.topic_id:  # what was read is of a topic that has been deleted
                    raise PositionMovedError
                written = self.store.store(RESULTS, self.topic_id, spans, rows)
                self.reader.finished(ends)
                return written
            except PositionMovedError:
                break
            except (self.away, KafkaException) as error:
                self._wait(error, attempt)
                if self.stop.requested or self.reader.behind or not ends.keys() <= self.reader.next.keys():
                    break  # asked to end, or the topic is a new one now, or another persister has these
        self.reader.rewind()
        return 0

    def _wait(self, error: Exception, attempt: int) -> None:
        """Wait while the store or Kafka does not answer. Polling goes on, so that the group keeps this member."""
        self._note(error, attempt)
        self.consumer.pause(self.consumer.assignment())
        if self.consumer.poll(_seconds(attempt)) is not None:
            self.reader.rewind()  # a message was on its way when we paused: read it again
        self.consumer.resume(self.consumer.assignment())

    def _note(self, error: Exception, attempt: int) -> None:
        """Say so once. An admin client whose broker was away may wait for ever: the next try is a new one's."""
        if isinstance(error, KafkaException):
            self.admin = AdminClient(base_config())
        if attempt == 0:
            text = error.args[0].str() if isinstance(error, KafkaException) else str(error)
            lines = text.splitlines() or [type(error).__name__]
            print(f"Cannot store in {self.where}: {lines[0]}. Waiting; nothing is lost.", file=sys.stderr, flush=True)

    # --- where to go on ---

    def _positions(self, numbers: list[int]) -> list[TopicPartition]:
        """Return where to go on, as soon as Kafka and the store answer; an empty list if asked to end first."""
        for attempt in range(sys.maxsize):
            try:
                topic_id = current_topic_id(self.admin)
                ends = edges(self.admin, RESULTS, numbers)
                if current_topic_id(self.admin) == topic_id:  # else the ends may be those of a deleted topic
                    self._note_topic(topic_id)
                    return [self._position(number, *ends[number]) for number in numbers]
            except PositionMovedError:
                continue  # another persister has moved on: ask again
            except (self.away, KafkaException) as error:
                self._note(error, attempt)
                if self.stop.wait(_seconds(attempt)):
                    break
        return []

    def _note_topic(self, topic_id: str) -> None:
        """Note which topic is there now. Messages in hand of a deleted one must not be stored."""
        if topic_id != self.topic_id:
            if self.store.known_topic_id(RESULTS) not in (None, topic_id):
                print(f"The topic {RESULTS} has been made anew: reading it from its beginning.", flush=True)
            if self.topic_id:
                self.reader.rewind()
            self.topic_id = topic_id

    def _position(self, number: int, low: int, high: int) -> TopicPartition:
        """Return where to go on in a partition: the store knows, and Kafka must still have it."""
        stored = self.store.positions(RESULTS, self.topic_id).get(number)
        if stored is None:  # from now on there is a position to compare with
            self.store.store(RESULTS, self.topic_id, [Span(number, low, low)], [])
            stored = low
        if stored > high:
            raise ProgramError(f"Kafka has lost results: {RESULTS}[{number}] ends at {high}, stored up to {stored}.")
        if stored < low:
            lost = low - stored
            print(f"{RESULTS}[{number}]: {lost} results were deleted by age before they could be stored.", flush=True)
            self.store.store(RESULTS, self.topic_id, [Span(number, stored, low)], [])
        return TopicPartition(RESULTS, number, max(stored, low))


def _seconds(attempt: int) -> float:
    return RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]


def current_topic_id(admin: AdminClient) -> str:
    """Return Kafka's id of the topic `results`. Raises KafkaException where Kafka does not answer in time."""
    future = admin.describe_topics(TopicCollection([RESULTS]), request_timeout=ANSWER_SECONDS)[RESULTS]
    try:
        return str(future.result(timeout=ANSWER_SECONDS).topic_id)
    except TimeoutError:  # the request's own time limit does not always end it
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None


def to_row(message: Message) -> Row | None:
    """Return what is stored of a message, or None if it is not a result."""
    try:
        result = Result.model_validate_json(message.value() or b"")
    except ValidationError:
        return None
    y = result.y
    text = (message.value() or b"").decode("utf-8")
    return Row(result.task_id, y.iris_type if y else None, y.species if y else None, text)
