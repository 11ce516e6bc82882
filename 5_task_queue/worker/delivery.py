"""Deliver, then commit: what the worker's loop asks of either way to hand over results.

- `at_least_once.py`: results are delivered, then their offsets are committed.
- `exactly_once.py`: results and offsets are one Kafka transaction.

Both let the delivery of one batch run while the next one is being worked on.
"""

from typing import Protocol

from confluent_kafka import Producer, TopicPartition

from common.kafka.delivery import dead_letter, produce_reply
from common.kafka.topics import RESULTS

from .deadlines import BrokerClock
from .replies import Replies

# A batch of results goes out in few requests.
IN_BATCHES = {"linger.ms": 5, "batch.size": 1_000_000, "queue.buffering.max.messages": 1_000_000}

Offsets = list[TopicPartition]


class TakeAgainError(Exception):
    """What is in hand will not be committed: go back to the committed offsets and take it again."""


class Delivery(Protocol):
    """One way to hand over results."""

    pending: bool  # something was sent and is not committed yet
    clock: BrokerClock  # learned from the delivery reports

    @property
    def patience(self) -> float:
        """How long `finish` may wait for more to commit together with what is pending, in seconds."""
        ...

    def send(self, replies: Replies) -> None:
        """Send replies; they are delivered in the background."""

    def commit_when_delivered(self, offsets: Offsets, tasks: int) -> None:
        """Have the offsets after so many tasks committed once what was sent is delivered."""

    def finish(self, *, sure: bool = False) -> Offsets:
        """Wait until what was sent is delivered, and commit it; `sure`: wait for the commit's answer as well.

        Returns: the offsets committed; an empty list if nothing was pending.

        Raises:
            TakeAgainError: it is not delivered, or not committed.
        """
        ...

    def forget(self, partitions: list[int]) -> None:
        """Commit nothing in partitions that are another worker's by now."""

    def commit_again(self, offsets: Offsets) -> None:
        """Take back offsets whose commit Kafka has refused."""


def produce(producer: Producer, replies: Replies) -> None:
    """Put replies into the producer's queue, which has room for several batches; they leave in the background."""
    for task_id, value in replies.results:
        producer.produce(RESULTS, value, task_id)
    for letter in replies.dead_letters:
        produce_reply(producer, dead_letter(letter.message, letter.reason, letter.attempts))
