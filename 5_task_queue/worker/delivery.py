"""Deliver, then commit: the two ways in which a worker hands over its results, chosen by name.

- `at-least-once`: results are delivered, then their offsets are committed. A worker killed in between leaves a batch
  that the next worker does again: a result can stand in `results` twice. Readers ignore a task id that they have seen.
- `exactly-once`: results and offsets are one Kafka transaction. What a killed worker left unfinished is never seen by
  readers of committed results.

Both let the delivery of one batch run while the next one is being worked on: `deliver()` sends a batch on its way,
`then_commit()` says what to commit after it, `finish()` waits until it has arrived and is committed.

Source of the transactional loop: KIP-98 and KIP-447.
"""

import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Protocol

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from common.errors import ProgramError
from common.kafka.connection import Connection, producer_config
from common.kafka.delivery import dead_letter_headers, raise_undelivered, wait_until_delivered
from common.kafka.stopping import GRACE_SECONDS, Stop
from common.kafka.topics import DEAD_LETTER, RESULTS

from .replies import Replies

TRANSACTION_SECONDS = 6.0  # a slot that never comes back holds up readers for this long at most
LONGEST_COMMIT_SECONDS = 5.0  # after a broker's restart the client library may not find its coordinator for long
RETRY_MS = 5  # Kafka says that a transaction is committed, and ends it a moment later; the next one asks until then
FEW = 20  # tasks: their results leave at once, and one commit may do for all of them
PATIENCE_SECONDS = 0.02  # a commit takes the broker's time: it waits so long for more tasks, while they are few
# A batch of ours goes out in few requests.
IN_BATCHES = {"linger.ms": 5, "batch.size": 1_000_000, "queue.buffering.max.messages": 1_000_000}

Offsets = list[TopicPartition]


class TakeAgainError(Exception):
    """What is in hand will not be committed: go back to the committed offsets and take it again."""


class Delivery(Protocol):
    """What the worker's loop asks of either way."""

    pending: bool  # something has been sent on its way and is not committed yet

    @property
    def patience(self) -> float:
        """How long finish() may wait for more to commit with what is pending, in seconds."""
        ...

    def deliver(self, replies: Replies) -> None:
        """Send replies on their way."""

    def then_commit(self, offsets: Offsets, tasks: int) -> None:
        """Have the offsets, behind so many tasks, committed once what was sent on its way has arrived."""

    def finish(self, *, sure: bool = False) -> Offsets:
        """Wait until what was sent on its way has arrived, and commit it; `sure`: wait for the commit's answer as well.

        Returns: the offsets committed, none where nothing was on its way.

        Raises:
            TakeAgainError: it has not arrived, or is not committed.
        """
        ...


class AtLeastOnce:
    """Commits the offsets of a batch after all its replies have been delivered.

    Tasks that come one after the other share a commit: while they are fewer than FEW, and than a batch may have, it
    waits for more.
    """

    def __init__(self, consumer: Consumer, stop: Stop, connection: Connection, max_batch: int) -> None:
        self.pending = False
        self._consumer, self._stop = consumer, stop
        self._offsets: dict[int, TopicPartition] = {}
        self._tasks, self._since = 0, 0.0  # that wait for their commit, since when
        self._few = min(FEW, max_batch)
        never_give_up = {"message.timeout.ms": 0, "delivery.report.only.error": True, "on_delivery": raise_undelivered}
        config = producer_config(connection) | never_give_up
        self._at_once, self._in_batches = Producer(config), Producer(config | IN_BATCHES)

    @property
    def patience(self) -> float:
        """See Delivery."""
        return max(0.0, self._since + PATIENCE_SECONDS - time.monotonic()) if self._tasks < self._few else 0.0

    def deliver(self, replies: Replies) -> None:
        """See Delivery. Dead letters keep their order, as all of them leave through the same producer."""
        few = len(replies.results) <= FEW and not replies.dead_letters
        produce(self._at_once if few else self._in_batches, replies)

    def then_commit(self, offsets: Offsets, tasks: int) -> None:
        """See Delivery."""
        if not self.pending:
            self._since, self.pending = time.monotonic(), True
        self._offsets.update({where.partition: where for where in offsets})
        self._tasks += tasks

    def finish(self, *, sure: bool = False) -> Offsets:
        """See Delivery."""
        if not self.pending:
            return []
        offsets = list(self._offsets.values())
        self._offsets, self._tasks, self.pending = {}, 0, False
        if not wait_until_delivered(self._stop, self._at_once, self._in_batches):
            raise TakeAgainError  # asked to end while Kafka is away: another worker does it again
        try:
            if sure:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:  # the next batch need not wait; should this commit fail, the batch is done again
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException:
            raise TakeAgainError from None  # the partitions are another worker's by now, or Kafka is away
        return offsets


class ExactlyOnce:
    """Commits results and offsets together, in one Kafka transaction per batch.

    `slot` is a number that no other living worker has. It makes the transactional id: a worker that takes over the slot
    of a dead one ends its unfinished transaction, and readers need not wait for the transaction's timeout.
    """

    def __init__(self, consumer: Consumer, stop: Stop, connection: Connection, transactional_id: str) -> None:
        self.pending, self.patience = False, 0.0
        self._consumer, self._stop, self._connection = consumer, stop, connection
        self._id = transactional_id
        self._committing: Future[Offsets] | None = None
        self._producer: Producer | None = None
        with suppress(TakeAgainError):  # asked to end already
            self._ready_producer()  # ends the transaction of a dead worker that had this slot: nobody waits for it

    def deliver(self, replies: Replies) -> None:
        """See Delivery."""
        try:
            producer = self._ready_producer()
            producer.begin_transaction()
            produce(producer, replies)
        except KafkaException as error:
            raise self._abort(error) from None

    def then_commit(self, offsets: Offsets, tasks: int) -> None:
        """See Delivery. The commit runs in a thread while the next batch is being worked on."""
        member = self._consumer.consumer_group_metadata()  # fresh: Kafka refuses what a former member sends
        self._committing = Future()
        threading.Thread(
            target=self._commit, args=(self._ready_producer(), offsets, member, self._committing), daemon=True
        ).start()
        self.pending = True

    def finish(self, *, sure: bool = False) -> Offsets:
        """See Delivery."""
        if self._committing is None:
            return []
        committing, self._committing, self.pending = self._committing, None, False
        deadline = time.monotonic() + LONGEST_COMMIT_SECONDS
        while True:
            try:
                return committing.result(timeout=0.2)
            except TimeoutError:
                asked_to_end = self._stop.requested and self._stop.seconds_since() > GRACE_SECONDS
                if asked_to_end or time.monotonic() > deadline:
                    raise self._give_up() from None
            except KafkaException as error:
                raise self._abort(error) from None

    def _commit(self, producer: Producer, offsets: Offsets, member: object, committing: "Future[Offsets]") -> None:
        try:
            producer.send_offsets_to_transaction(offsets, member, TRANSACTION_SECONDS)
            producer.commit_transaction(TRANSACTION_SECONDS)
            committing.set_result(offsets)
        except Exception as error:  # finish() raises it where it can be dealt with
            committing.set_exception(error)

    def _abort(self, error: KafkaException) -> TakeAgainError:
        """Undo the transaction; return what to raise."""
        if self._producer and error.args[0].txn_requires_abort():
            with suppress(KafkaException):
                self._producer.abort_transaction(TRANSACTION_SECONDS)
                return TakeAgainError()
        return self._give_up()

    def _give_up(self) -> TakeAgainError:
        """Leave a transaction in whose state nobody knows; return what to raise.

        A new producer with the same id ends it, one way or the other. This must come before anybody asks for the
        committed offsets: else the old one might still commit what is about to be done again.
        """
        self._producer = None
        if not self._stop.requested:  # else whoever has the slot next ends the transaction
            with suppress(TakeAgainError):
                self._ready_producer()
        return TakeAgainError()

    def _ready_producer(self) -> Producer:
        """Return the producer, a new one where the last one could not go on."""
        if self._producer is None:
            timeouts = {"message.timeout.ms": 5000, "transaction.timeout.ms": int(TRANSACTION_SECONDS * 1000)}
            config = producer_config(self._connection) | IN_BATCHES | timeouts | {"retry.backoff.ms": RETRY_MS}
            producer = Producer(config | {"transactional.id": self._id})
            while self._producer is None:
                try:
                    producer.init_transactions(1.0)
                    self._producer = producer
                except KafkaException as error:
                    if self._stop.requested:
                        raise TakeAgainError from None
                    if not error.args[0].retriable():
                        raise ProgramError(f"No transactions on this Kafka: {error.args[0].str()}.") from None
        return self._producer


def produce(producer: Producer, replies: Replies) -> None:
    """Put replies into the producer's queue, which has room for several batches; they leave in the background."""
    for task_id, value in replies.results:
        producer.produce(RESULTS, value, task_id)
    for letter in replies.dead_letters:
        message = letter.message
        headers = dead_letter_headers(message, letter.reason, letter.attempts)
        producer.produce(DEAD_LETTER, message.value(), message.key(), headers=headers)
