"""Tasks that somebody has cancelled are not started: their ids stand in the topic `tasks.cancelled`.

A worker reads it to its end before its first task, and goes on reading in a thread. While no id is there, which is
nearly always, looking costs nothing; afterwards a look at each task's key.
"""

import threading
import time
from contextlib import closing

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from common.errors import ProgramError
from common.kafka.connection import check_reader, reader_config
from common.kafka.offsets import edges, place
from common.kafka.stopping import Stop
from common.kafka.topics import CANCELLED

from .codec import task_id_of
from .replies import Replies

CODE = "cancelled"  # of the error that such a task is answered with
MOST = 1_000_000  # ids that are kept, the newest
AT_ONCE, POLL_SECONDS = 1000, 0.5
START_SECONDS = 30.0  # longest wait for the end of the topic


class CancelledTasks:
    """The ids of the tasks that nobody wants any more."""

    def __init__(self, admin: AdminClient, stop: Stop) -> None:
        self._ids: dict[bytes, None] = {}
        self._stop, self._admin = stop, admin
        self._at_end = threading.Event()
        self._refused: ProgramError | None = None
        threading.Thread(target=self._read, name="cancelled", daemon=True).start()

    def wait_until_read(self) -> None:
        """Wait until everything that stands in the topic has been read.

        Raises:
            ProgramError: this worker may not read it, or Kafka does not answer.
        """
        deadline = time.monotonic() + START_SECONDS
        while not self._at_end.wait(0.1) and not self._stop.requested:
            if time.monotonic() > deadline:
                raise ProgramError(f"The topic {CANCELLED} could not be read to its end within {START_SECONDS:g} s.")
        if self._refused:
            raise self._refused

    def without(self, messages: list[Message], replies: Replies) -> list[Message]:
        """Return the messages to work on; the others are answered with an error."""
        if not self._ids:
            return messages
        ids = self._ids
        kept = [message for message in messages if message.key() not in ids]
        if len(kept) < len(messages):
            for message in messages:
                if message.key() in ids:
                    replies.error(task_id_of(message), CODE, "Cancelled before a worker began with it.")
        return kept

    # --- in the thread ---

    def _read(self) -> None:
        try:
            with closing(Consumer(reader_config() | {"queued.max.messages.kbytes": 4096})) as consumer:
                goal = self._begin(consumer)
                while not self._stop.requested:
                    goal = self._take(consumer, goal)
        except ProgramError as error:
            self._refused = error
            self._at_end.set()

    def _begin(self, consumer: Consumer) -> int:
        """Go to the beginning; return the offset at which the topic ends now."""
        while not self._stop.requested:
            try:
                low, high = edges(self._admin, CANCELLED, [0])[0]
            except KafkaException:
                self._stop.wait(POLL_SECONDS)
                continue
            consumer.assign([TopicPartition(CANCELLED, 0, max(low, high - MOST))])
            if low == high:
                self._at_end.set()
            return high
        return 0

    def _take(self, consumer: Consumer, goal: int) -> int:
        """Read what is there, or wait for something, a moment; return up to where the start has to wait."""
        first = consumer.poll(POLL_SECONDS)
        for message in [] if first is None else [first, *consumer.consume(AT_ONCE, 0)]:
            if message.error():
                check_reader(message)
                continue
            if key := message.key():
                self._ids[key if isinstance(key, bytes) else key.encode()] = None
            if place(message)[1] >= goal - 1:
                self._at_end.set()
        while len(self._ids) > MOST:
            del self._ids[next(iter(self._ids))]
        return goal
