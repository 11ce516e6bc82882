"""At least once: results are delivered, then their offsets are committed.

A worker killed in between leaves a batch that the next worker does again: a result can stand in `results` twice.
Readers ignore a task id that they have seen.

A commit takes the broker's time. Lone tasks that come one after the other share one: while they are few, it waits up to
PATIENCE_SECONDS for more.
"""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from common.kafka.connection import Config, Connection, producer_config
from common.kafka.delivery import raise_undelivered, wait_until_delivered
from common.kafka.stopping import Stop

from .deadlines import BrokerClock
from .delivery import IN_BATCHES, Offsets, TakeAgainError, produce
from .replies import Replies

FEW = 20  # tasks: their results leave at once, and one commit may do for all of them
PATIENCE_SECONDS = 0.02
# 0: keep trying for ever
NEVER_GIVE_UP = {"message.timeout.ms": 0, "delivery.report.only.error": True, "on_delivery": raise_undelivered}


class AtLeastOnce:
    """Commits the offsets of a batch after all its replies are delivered."""

    def __init__(self, consumer: Consumer, stop: Stop, connection: Connection, max_batch: int) -> None:
        self.pending, self.clock = False, BrokerClock()
        self._consumer, self._stop = consumer, stop
        self._offsets: dict[int, TopicPartition] = {}
        self._last: dict[int, TopicPartition] = {}  # per partition the last commit, with its mark
        self._tasks, self._since = 0, 0.0  # that wait for their commit, since when
        self._few = min(FEW, max_batch)
        config = producer_config(connection) | NEVER_GIVE_UP
        self._at_once = self.make_producer(
            config | {"delivery.report.only.error": False, "on_delivery": self._reported}
        )
        self._in_batches = self.make_producer(config | IN_BATCHES)

    @property
    def patience(self) -> float:
        """See Delivery."""
        return max(0.0, self._since + PATIENCE_SECONDS - time.monotonic()) if self._tasks < self._few else 0.0

    def send(self, replies: Replies) -> None:
        """See Delivery. Dead letters keep their order, as all of them leave through the same producer."""
        few = len(replies.results) <= FEW and not replies.dead_letters
        if not few and self.clock.is_due and replies.results:  # batches are not reported, for the sake of speed
            produce(self._at_once, Replies([replies.results.pop()]))
        produce(self._at_once if few else self._in_batches, replies)

    def _reported(self, error: KafkaError | None, message: Message) -> None:
        raise_undelivered(error, message)
        self.clock.learn(error, message)

    def commit_when_delivered(self, offsets: Offsets, tasks: int) -> None:
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
        self._wait_until_delivered()
        if offsets:
            self._commit(offsets, sure)
        return offsets

    def make_producer(self, config: Config) -> Producer:
        """Return a producer; a subclass may have another one."""
        return Producer(config)

    def _wait_until_delivered(self) -> None:
        if not wait_until_delivered(self._stop, self._at_once, self._in_batches):
            raise TakeAgainError  # asked to end while Kafka is away: another worker does it again

    def _commit(self, offsets: Offsets, sure: bool) -> None:
        self._last.update({where.partition: where for where in offsets})
        try:  # unless it has to be sure, the next batch need not wait for the answer
            self._consumer.commit(offsets=offsets, asynchronous=not sure)
        except KafkaException:
            raise TakeAgainError from None  # the partitions are another worker's by now, or Kafka is away

    def forget(self, partitions: list[int]) -> None:
        """See Delivery."""
        for number in partitions:
            self._offsets.pop(number, None)
            self._last.pop(number, None)

    def commit_again(self, offsets: Offsets) -> None:
        """See Delivery. A later commit of the same partition makes it needless."""
        for where in offsets:
            last = self._last.get(where.partition)
            if last and last.offset == where.offset and where.partition not in self._offsets:
                self.commit_when_delivered([last], 0)
