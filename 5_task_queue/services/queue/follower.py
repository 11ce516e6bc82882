"""Follows topics from a thread: what stood in them last, and whatever comes, handed over to the event loop in batches.

It begins as far before the end as asked for, looks for new partitions now and then, and goes on by itself when Kafka is
back. Not more than two batches wait for the loop: a loop that is busy slows the reading down, and no memory fills up.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from common.errors import ProgramError
from common.kafka.connection import base_config, check_reader, reader_config
from common.kafka.offsets import edges, place
from common.kafka.topics import STAGE_5, create_topics, partition_count

AT_ONCE = 1000  # messages in a batch
BATCHES = 2  # that wait for the loop
POLL_SECONDS = 0.2
LOOK_SECONDS = 5.0  # from one look for new partitions to the next
ANSWER_SECONDS = 2.0
SMALL = {"queued.max.messages.kbytes": 4096, "fetch.max.bytes": 4_000_000, "message.max.bytes": 2_000_000}
logger = logging.getLogger("iris")

Where = tuple[str, int]  # topic and partition


class Follower:
    """Reads topics outside of any group. `back`: how many messages before the end it begins, per topic."""

    def __init__(self, back: dict[str, int], apply: Callable[[list[Message]], None]) -> None:
        self._back, self._apply = back, apply
        self._loop = asyncio.get_running_loop()
        self._next: dict[Where, int] = {}  # the offset after the last message that was read
        self._goal: dict[Where, int] = {}  # the ends when it began
        self._looked = -math.inf
        self._room, self._ended = threading.Semaphore(BATCHES), threading.Event()
        self.caught_up = False  # whether what stood in the topics at the start has been handed over
        self._thread = threading.Thread(target=self._run, name=f"follows {', '.join(back)}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._room.release()
        self._thread.join(3.0)

    # --- in the thread ---

    def _run(self) -> None:
        consumer, admin = Consumer(reader_config() | SMALL), AdminClient(base_config())
        try:
            while not self._ended.is_set():
                try:
                    self._look_for_partitions(consumer, admin)
                    self._hand_over(self._read(consumer))
                except KafkaException as error:  # away: whoever sends says so
                    logger.debug("Cannot follow the topics yet: %s", error)
                    self._ended.wait(POLL_SECONDS)
                except ProgramError as error:  # not allowed
                    logger.warning("Cannot follow the topics: %s", error)
                    self._ended.wait(LOOK_SECONDS)
        finally:
            consumer.close()

    def _look_for_partitions(self, consumer: Consumer, admin: AdminClient) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS and self._next:
            return
        if not self._next:
            create_topics(admin, also=STAGE_5)
        new = False
        for topic, back in self._back.items():
            known = [number for name, number in self._next if name == topic]
            numbers = range(partition_count(admin, topic, ANSWER_SECONDS))
            if len(numbers) <= len(known):
                continue
            for number, (low, high) in edges(admin, topic, numbers).items():
                if (topic, number) not in self._next:  # one that was added is read from its beginning
                    start = low if known else max(low, high - max(1, back // len(numbers)))
                    self._next[topic, number], self._goal[topic, number] = start, high
                    new = True
        if new:
            consumer.assign([TopicPartition(*where, offset) for where, offset in self._next.items()])
        self._looked = time.monotonic()

    def _read(self, consumer: Consumer) -> list[Message]:
        first = consumer.poll(POLL_SECONDS)
        if first is None:
            return []
        messages = []
        for message in [first, *consumer.consume(AT_ONCE - 1, 0)]:
            if message.error():
                check_reader(message)
                continue
            number, offset = place(message)
            where = (message.topic() or "", number)
            if offset >= self._next.get(where, 0):  # after a new assignment some come twice
                self._next[where] = offset + 1
                messages.append(message)
        return messages

    def _hand_over(self, messages: list[Message]) -> None:
        caught_up = self.caught_up or self._is_caught_up(messages)
        if not messages and caught_up == self.caught_up:
            return
        self._room.acquire()
        try:
            self._loop.call_soon_threadsafe(self._take, messages, caught_up)
        except RuntimeError:  # the loop has ended
            self._ended.set()

    def _is_caught_up(self, messages: list[Message]) -> bool:
        """Marks of transactions at the end are no messages: nothing new for a moment means the end as well."""
        behind = [where for where, goal in self._goal.items() if self._next[where] < goal]
        return bool(self._next) and (not behind or (not messages and time.monotonic() - self._looked > 1.0))

    # --- in the loop ---

    def _take(self, messages: list[Message], caught_up: bool) -> None:
        self._room.release()
        self.caught_up = caught_up
        self._apply(messages)
