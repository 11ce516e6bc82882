"""The queue as a worker's loop sees it: take a batch, deliver its replies, commit it.

What a batch promises is kept in here: what fails inside `with tasks.take() as batch` is taken again, a commit takes
effect only when the replies are delivered, and the delivery of one batch runs while the next one is being worked on.
"""

import gc
import time
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from common.kafka.connection import Config, Connection, connect, consumer_config
from common.kafka.names import named
from common.kafka.offsets import next_offsets
from common.kafka.stopping import Stop
from common.kafka.topics import STAGE_5, TASKS, create_topics
from common.terminal import say_ready

from .at_least_once import AtLeastOnce
from .cancelled import CancelledTasks
from .delivery import Delivery, TakeAgainError
from .exactly_once import ExactlyOnce
from .intake import Intake
from .journal import Journal
from .options import Options
from .replies import Replies
from .slot import take_slot, transactional_id
from .taken import Taken
from .tally import Tally

GROUP = named("iris-task-queue-workers")
POLL_SECONDS = 0.5


class TaskQueue:
    """The topic `tasks` for one worker of the consumer group, for the length of a `with` block."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.stop, self.connection = Stop(), Connection()

    def __enter__(self) -> Self:
        admin = connect()
        create_topics(admin, also=STAGE_5)
        self.cancelled = CancelledTasks(admin, self.stop)
        self.name, self._lock = take_slot(self.options.slot)
        self.taken, self.journal = Taken(self.name, self.stop), Journal(self.name)
        self.consumer = self.make_consumer(
            consumer_config(GROUP, self.connection)
            | {"client.id": f"worker-{self.name}", "on_commit": self._commit_answered}
        )
        self.intake = Intake(self.consumer, admin, self.stop, self.options.max_batch)
        self.tally = Tally(self.name)
        self.delivery = self.make_delivery()
        self.cancelled.wait_until_read()
        self.consumer.subscribe([TASKS], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)
        gc.freeze()  # the collector need not look through what has been imported after every batch
        say_ready(f"Worker {self.name} is ready ({self.options.delivery})")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # what is in hand may be what ended the worker: its marks must stay
            self.intake.rewind()
        try:
            self.delivery.finish(sure=True)
        except TakeAgainError:  # not committed: another worker does it again
            self.intake.rewind()
        finally:
            self.consumer.close()
            self.tally.show()
            self._lock.release()

    # --- the loop ---

    def take(self) -> "Batch":
        """Return what is waiting, or wait a moment for a task: the batch may be empty."""
        messages = self.intake.take_batch(self.delivery.patience if self.delivery.pending else POLL_SECONDS)
        batch = Batch(self, messages, self.intake.suspects.attempts)
        if messages:
            self.taken.note(self.intake.next, batch.ends, batch.attempts)
        return batch

    def deliver(self, messages: list[Message], replies: Replies) -> None:
        """Send the replies to a batch; before that, see to it that the batch before it is delivered and committed."""
        if not (messages and self.delivery.patience):
            self.delivery.finish()
        if messages:
            self.delivery.send(replies)

    def commit(self, messages: list[Message], replies: Replies, ends: dict[int, int]) -> None:
        """Have a batch committed once its replies are delivered."""
        if not messages:
            self.tally.show_in_time()
            self.connection.check(self.consumer)
            return
        after_a_crash = bool(self.intake.suspects)
        self.intake.survived(ends)
        self.delivery.commit_when_delivered(self.intake.marked(ends), len(messages))
        if after_a_crash:  # nothing new before this is committed
            self.delivery.finish(sure=True)
        self.intake.finished(ends)
        self.tally.count(messages, replies.skipped)
        self.journal.note(messages, replies)

    # --- what a subclass may change ---

    def make_consumer(self, config: Config) -> Consumer:
        """Return the consumer."""
        return Consumer(config)

    def make_delivery(self) -> Delivery:
        """Return the way to deliver and commit."""
        if self.options.delivery == "exactly-once":
            return ExactlyOnce(self.consumer, self.stop, self.connection, transactional_id(GROUP, self.name))
        return AtLeastOnce(self.consumer, self.stop, self.connection, self.options.max_batch)

    # --- called by the client library, out of take() and close() ---

    def _assigned(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.intake.assigned(partitions)
        self.tally.partitions(self.intake.partitions)

    def _revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self.delivery.finish(sure=True)
        except TakeAgainError:
            self.intake.rewind()  # of the partitions that stay, what is in hand is not committed either
        self.delivery.forget([one.partition for one in partitions])
        self.intake.revoked(partitions)
        self.tally.partitions(self.intake.partitions)

    def _lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.delivery.forget([one.partition for one in partitions])
        self.intake.lost(partitions)
        self.tally.partitions(self.intake.partitions)

    def _commit_answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self.delivery.commit_again([one for one in partitions if error or one.error])


class Batch:
    """Messages in hand, for the length of a `with` block."""

    def __init__(self, queue: TaskQueue, messages: list[Message], attempts: int) -> None:
        self.messages, self.ends = messages, next_offsets(messages)
        self.attempts = attempts  # how often a single task was started alone, this time included
        self._queue, self._replies = queue, Replies()

    def deliver(self, replies: Replies) -> None:
        """Send the replies; they are delivered in the background."""
        if self.messages:
            self._queue.intake.size.worked(len(self.messages), time.perf_counter() - self._taken)
        self._replies = replies
        self._queue.deliver(self.messages, replies)

    def commit(self) -> None:
        """Have the batch committed once its replies are delivered."""
        self._queue.commit(self.messages, self._replies, self.ends)

    def __enter__(self) -> Self:
        self._taken = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        """Take the batch again if it could not be finished."""
        if not isinstance(error, TakeAgainError):
            return False
        self._queue.intake.rewind()
        return True
