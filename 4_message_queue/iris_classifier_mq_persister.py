"""Stage 4, the persister: a second subscriber of `results`, which alone writes SQLite.

Unlike the worker and the client:
- it knows neither model nor measurement: it stores each result once, however often it is stopped or killed;
- it commits nothing to Kafka: how far it has come stands in the SQLite file, written together with the results.

Run: python -m 4_message_queue.iris_classifier_mq_persister
     python -m 4_message_queue.iris_classifier_mq_persister --list
"""

import sqlite3
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from common.errors import ProgramError
from common.iris_dto import Result
from common.kafka_clients import (
    ANSWER_SECONDS,
    RESULTS,
    Connection,
    Stop,
    connect,
    consumer_config,
    create_topics,
    next_offsets,
    place,
)
from common.result_store import PositionMovedError, ResultStore, Row, Span
from common.settings import load_settings
from common.terminal import ArgumentParser, run

GROUP = "iris-persisters"
POLL_SECONDS = 0.5
MAX_BATCH = 5000  # results per SQLite transaction
RETRY_SECONDS = (0.5, 1, 2, 4, 8)  # growing waits while SQLite cannot be written; the last one repeats


class Persister:
    """Reads `results` from where the store says, and stores."""

    def __init__(self, admin: AdminClient, consumer: Consumer, store: ResultStore, stop: Stop) -> None:
        self.admin, self.consumer, self.store, self.stop = admin, consumer, store, stop
        self.topic_id = ""
        self.next: dict[int, int] = {}  # per partition: where the next span starts
        self.skipped = 0

    def subscribe(self) -> None:
        """Join the group; partitions come and go with other persisters."""
        self.consumer.subscribe([RESULTS], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke)

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        positions: list[TopicPartition] = []
        while len(positions) < len(partitions) and not self.stop.requested:
            try:
                positions = [self._position(partition.partition) for partition in partitions]
            except KafkaException:  # away again so soon: ask until it answers
                self.stop.wait(POLL_SECONDS)
        consumer.incremental_assign(positions or partitions)

    def _revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(partitions)
        for partition in partitions:
            self.next.pop(partition.partition, None)

    def _position(self, number: int) -> TopicPartition:
        """Return where to go on in a partition: the store says, and Kafka must still have it."""
        self.topic_id = current_topic_id(self.admin)
        known = self.store.known_topic_id(RESULTS)
        if known not in (None, self.topic_id):
            print(f"The topic {RESULTS} has been made anew: reading it from its beginning.", flush=True)
        where = TopicPartition(RESULTS, number)
        low, high = self.consumer.get_watermark_offsets(where, timeout=ANSWER_SECONDS)
        where.offset = self.store.positions(RESULTS, self.topic_id).get(number, low)
        if where.offset > high:
            raise ProgramError(
                f"Kafka has lost results: {RESULTS}[{number}] ends at {high}, stored up to {where.offset}."
            )
        if where.offset < low:
            lost = low - where.offset
            print(f"{RESULTS}[{number}]: {lost} results were deleted by age before they could be stored.", flush=True)
            self.store.store(RESULTS, self.topic_id, [Span(number, where.offset, low)], [])
            where.offset = low
        self.next[number] = where.offset
        return where

    def rewind(self) -> None:
        """Go back to what is stored, in every partition."""
        for number in list(self.next):
            self.consumer.seek(self._position(number))

    def take(self) -> list[Message]:
        """Return what is waiting, or wait for one message."""
        first = self.consumer.poll(POLL_SECONDS)
        messages = [first, *self.consumer.consume(MAX_BATCH - 1, 0)] if first else []
        for message in messages:
            error = message.error()
            if error and error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                self.rewind()
                return []
        return [m for m in messages if not m.error() and self._is_new(*place(m))]

    def _is_new(self, number: int, offset: int) -> bool:
        return number in self.next and offset >= self.next[number]

    def persist(self, messages: list[Message]) -> int:
        """Store the results among the messages; return how many rows are new."""
        ends = next_offsets(messages)
        spans = [Span(number, self.next[number], end) for number, end in ends.items()]
        rows = [row for row in map(to_row, messages) if row]
        self.skipped += len(messages) - len(rows)
        for attempt in range(sys.maxsize):
            try:
                if current_topic_id(self.admin) != self.topic_id:  # what was read is of a topic that is no more
                    raise PositionMovedError
                written = self.store.store(RESULTS, self.topic_id, spans, rows)
                self.next.update(ends)
                return written
            except PositionMovedError:
                self.rewind()
                return 0
            except (sqlite3.OperationalError, KafkaException) as error:
                self._wait(error, attempt)
                if self.stop.requested or not ends.keys() <= self.next.keys():
                    return 0
        return 0

    def _wait(self, error: Exception, attempt: int) -> None:
        """Wait in place while SQLite or Kafka is away. Polling goes on, so that the group keeps this member."""
        if attempt == 0:
            print(f"Cannot store in {self.store.path}: {error}. Waiting; nothing is lost.", file=sys.stderr, flush=True)
        self.consumer.pause(self.consumer.assignment())
        message = self.consumer.poll(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
        if message and not message.error():  # was under way when we paused: not yet its turn
            self.consumer.seek(TopicPartition(RESULTS, *place(message)))
        self.consumer.resume(self.consumer.assignment())


def current_topic_id(admin: AdminClient) -> str:
    """Return Kafka's id of the topic `results`."""
    future = admin.describe_topics(TopicCollection([RESULTS]), request_timeout=ANSWER_SECONDS)[RESULTS]
    return str(future.result(timeout=ANSWER_SECONDS).topic_id)


def to_row(message: Message) -> Row | None:
    """Return what is stored of a message; None where it is no result."""
    try:
        result = Result.model_validate_json(message.value() or b"")
    except ValidationError:
        return None
    y = result.y
    text = (message.value() or b"").decode("utf-8")
    return Row(result.task_id, y.iris_type if y else None, y.species if y else None, text)


def list_results(limit: int) -> int:
    """Print the newest results, as a table."""
    with ResultStore(load_settings().database) as store:
        for row in store.newest(limit):
            answer = row.species or (f"iris type {row.iris_type}" if row.iris_type is not None else "error")
            print(f"{answer:<12} {row.task_id or '-':<36} {row.value}")
        print(f"{store.count()} results in {store.path}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Take and store, until Ctrl-C or SIGTERM."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers", "database")
    parser.add_argument("--list", action="store_true", help="print what is stored and end")
    parser.add_argument("--limit", type=int, default=20, help="how many results --list prints")
    args = parser.parse_args(argv)
    if args.list:
        return list_results(args.limit)

    stop, connection = Stop(), Connection()
    admin = connect()
    create_topics(admin)
    # On an offset that Kafka no longer has, the client library says so instead of jumping somewhere by itself.
    consumer = Consumer(consumer_config(GROUP, connection) | {"auto.offset.reset": "error"})
    with ResultStore(load_settings().database) as store:
        persister = Persister(admin, consumer, store, stop)
        persister.subscribe()
        print(f"Persister is ready, storing in {store.path}. Ctrl-C ends it.", flush=True)
        try:
            while not stop.requested:
                messages = persister.take()
                if not messages:
                    connection.check(consumer)
                    continue
                written = persister.persist(messages)
                print(f"stored {written} results, {store.count()} in all, skipped {persister.skipped}", flush=True)
        finally:
            consumer.close()
    return 0


if __name__ == "__main__":
    run(main)
