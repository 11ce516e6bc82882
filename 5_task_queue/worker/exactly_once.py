"""Exactly once: results and offsets are one Kafka transaction per batch.

What a killed worker left unfinished is never seen by readers of committed results.

Source of the transactional loop: KIP-98 and KIP-447.
"""

import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from common.errors import ProgramError
from common.kafka.connection import Config, Connection, producer_config
from common.kafka.delivery import dead_letter, is_too_large, stub
from common.kafka.offsets import place
from common.kafka.refusals import raise_if_forbidden
from common.kafka.stopping import GRACE_SECONDS, Stop
from common.kafka.topics import RESULTS

from .deadlines import BrokerClock
from .delivery import IN_BATCHES, Offsets, TakeAgainError, produce
from .replies import DeadLetter, Replies

TRANSACTION_SECONDS = 6.0  # a slot that never comes back holds up readers for this long at most
LONGEST_COMMIT_SECONDS = 5.0  # after a broker's restart the client library may not find its coordinator for long
SAY_AFTER = 3  # failures in a row: one alone is part of a rebalance
LONGEST_PAUSE_SECONDS = 2.0
FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)
RETRY_MS = 5  # Kafka says that a transaction is committed, and ends it a moment later; the next one asks until then


class ExactlyOnce:
    """Commits results and offsets together, in one Kafka transaction per batch.

    No other living worker has its transactional id, see `slot.py`. The next worker with this id ends what a dead
    one has left unfinished: readers need not wait for the transaction's timeout.
    """

    def __init__(self, consumer: Consumer, stop: Stop, connection: Connection, transactional_id: str) -> None:
        self.pending, self.patience, self.clock = False, 0.0, BrokerClock()
        self._consumer, self._stop, self._connection = consumer, stop, connection
        self._id = transactional_id
        self._committing: Future[Offsets] | None = None
        self._producer: Producer | None = None
        self._failures = 0  # transactions in a row
        self._too_large: set[tuple[int, int]] = set()  # where dead letters came from that their topic has refused
        with suppress(TakeAgainError):  # asked to end already
            self._ready_producer()  # ends the transaction of a dead worker that had this slot: nobody waits for it

    def send(self, replies: Replies) -> None:
        """See Delivery."""
        try:
            producer = self._ready_producer()
            producer.begin_transaction()
            if self.clock.is_due and replies.results:
                task_id, value = replies.results.pop()
                producer.produce(RESULTS, value, task_id, on_delivery=self.clock.learn)
            produce(producer, Replies(replies.results))
            for letter in replies.dead_letters:
                self._produce_letter(producer, letter)
        except KafkaException as error:
            raise self._abort(error) from None

    def _produce_letter(self, producer: Producer, letter: DeadLetter) -> None:
        """Produce a dead letter. If its topic refuses it, so fails the transaction; the next one has a stub instead."""
        source, reply = place(letter.message), dead_letter(letter.message, letter.reason, letter.attempts)

        def reported(error: KafkaError | None, _: Message) -> None:
            if is_too_large(error):
                self._too_large.add(source)

        reply = stub(reply) if source in self._too_large else reply
        producer.produce(**reply._asdict(), on_delivery=reported)

    def commit_when_delivered(self, offsets: Offsets, tasks: int) -> None:
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
                offsets = committing.result(timeout=0.2)
                self._failures = 0
                return offsets
            except TimeoutError:
                asked_to_end = self._stop.requested and self._stop.seconds_since() > GRACE_SECONDS
                if asked_to_end or time.monotonic() > deadline:
                    self._pause("Kafka does not answer in time")
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
        """Undo the transaction, and wait a moment if others failed before it; return what to raise.

        Raises:
            ProgramError: another producer has this transactional id now. To take it back would fence that one.
        """
        self._pause(error.args[0].str())
        try:
            if error.args[0].code() not in FENCED and error.args[0].txn_requires_abort() and self._producer:
                self._producer.abort_transaction(TRANSACTION_SECONDS)
                return TakeAgainError()
        except KafkaException as failed:
            error = failed
        if error.args[0].code() in FENCED:
            self._producer = None
            raise ProgramError(
                f"Kafka has given the transactional id {self._id} to another worker. Are there two workers with one "
                f"name? Or did this one stand still for over {TRANSACTION_SECONDS:g} s? Ended; nothing is lost."
            )
        return self._give_up()

    def _pause(self, reason: str) -> None:
        """Do not try again and again at full speed and without a word."""
        if self._failures == SAY_AFTER:
            print(f"Transactions fail ({reason}). Their tasks are taken again.", file=sys.stderr, flush=True)
        if self._failures:
            self._stop.wait(min(LONGEST_PAUSE_SECONDS, 0.05 * 2**self._failures))
        self._failures += 1

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
            producer = self.make_producer(config | {"transactional.id": self._id})
            while self._producer is None:
                try:
                    producer.init_transactions(1.0)
                    self._producer = producer
                except KafkaException as error:
                    if self._stop.requested:
                        raise TakeAgainError from None
                    raise_if_forbidden(error.args[0], f"the transactional id {self._id}")
                    if not error.args[0].retriable():
                        raise ProgramError(f"No transactions on this Kafka: {error.args[0].str()}.") from None
        return self._producer

    def make_producer(self, config: Config) -> Producer:
        """Return a producer; a subclass may have another one."""
        return Producer(config)

    def forget(self, partitions: list[int]) -> None:
        """See Delivery. Kafka itself refuses the commit: what is sent along tells which member it comes from."""

    def commit_again(self, offsets: Offsets) -> None:
        """See Delivery. Never called: no commit is made outside of a transaction."""
