"""Sends tasks to Kafka and lets requests wait until it has acknowledged them, in one event loop.

Lone tasks: one thread polls the client library, and hands over all delivery reports that have come at once. (The
library's own AIOProducer collects messages first, and took ten times as long for a lone one.) Batches leave through a
producer of their own, which reports failures only: what arrived, `tasks` itself tells soon after.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from anyio.to_thread import run_sync
from confluent_kafka import KafkaError, Message, Producer

from common.kafka.connection import Config, producer_config
from common.kafka.topics import REQUEST_HEADER, TASKS
from common.web.limiter import RETRY_AFTER_SECONDS
from common.web.problems import Problem

from .connection import GatewayConnection

POLL_SECONDS = 0.2
LOOK_SECONDS = 0.25  # from one look for what takes too long to the next
ROOM = 100_000  # messages in a producer's queue at most: bounds memory while Kafka is slow


class Place(NamedTuple):
    """Where Kafka has put a message, and when (Unix time in ms)."""

    partition: int
    offset: int
    when_ms: int


class Sender:
    """Two producers, and who waits for what they have sent."""

    def __init__(self, connection: GatewayConnection, seconds: float, most: int, batches: int) -> None:
        self.connection, self._seconds, self._most = connection, seconds, most
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, tuple[float, asyncio.Future[Place]]] = {}  # in the order of sending
        self._reports: list[tuple[KafkaError | None, Message]] = []
        self._ended = threading.Event()
        config: Config = producer_config(connection) | {
            "message.timeout.ms": int(seconds * 1000),
            "queue.buffering.max.messages": ROOM,
        }
        self._lone = Producer(config | {"on_delivery": self._report})
        in_batches: Config = {"linger.ms": 5, "batch.size": 1_000_000, "delivery.report.only.error": True}
        self._batches = Producer(config | in_batches)
        self._one_batch, self._most_batches, self._batches_waiting = asyncio.Lock(), batches, 0
        self._thread = threading.Thread(target=self._poll, name="deliveries", daemon=True)
        self._thread.start()
        self._looking = self._loop.call_later(LOOK_SECONDS, self._look)

    @property
    def in_flight(self) -> int:
        """Return how many lone tasks are on their way."""
        return len(self._waiting)

    async def send(self, task_id: str, value: bytes, request_id: str, topic: str = TASKS) -> Place:
        """Send a message and wait until Kafka has acknowledged it.

        Raises:
            Problem: 503, Kafka is away, or too much is on its way: nothing was sent; or nobody knows what became of it.
        """
        name = _name(topic, task_id)
        if found := self._waiting.get(name):  # sent twice at the same time: it is one
            return await asyncio.shield(found[1])
        self.connection.require()
        if len(self._waiting) >= self._most:
            raise full("tasks", self._most, len(self._waiting))
        future = self._loop.create_future()
        self._waiting[name] = time.monotonic(), future
        headers: list[tuple[str, str | bytes | None]] = [(REQUEST_HEADER, request_id)]
        try:
            self._lone.produce(topic, value, task_id, headers=headers)
        except BufferError:
            del self._waiting[name]
            raise full("tasks", ROOM, ROOM) from None
        return await future

    async def send_batch(self, messages: Sequence[tuple[str, bytes]], request_id: str) -> int:
        """Send messages and wait until Kafka has acknowledged all; return of how many nobody knows: 0 if all is well.

        Raises:
            Problem: 503, nothing was sent, as Kafka is away or other batches are on their way.
        """
        self.connection.require()
        if self._batches_waiting >= self._most_batches:
            raise full("batches", self._most_batches, self._batches_waiting)
        self._batches_waiting += 1
        try:
            async with self._one_batch:
                self.connection.require()
                left = await run_sync(self._send_all, messages, request_id)
        finally:
            self._batches_waiting -= 1
        if left:
            self.connection.silent()
        return left

    def _send_all(self, messages: Iterable[tuple[str, bytes]], request_id: str) -> int:
        """Runs in a thread: encoding and waiting, without the loop."""
        produce, failed = self._batches.produce, list[object]()
        headers: list[tuple[str, str | bytes | None]] = [(REQUEST_HEADER, request_id)]
        for task_id, value in messages:
            produce(TASKS, value, task_id, headers=headers, on_delivery=lambda error, _: failed.append(error))
        left = self._batches.flush(self._seconds)
        return left + len(failed)

    # --- in the thread that polls ---

    def _report(self, error: KafkaError | None, message: Message) -> None:
        self._reports.append((error, message))

    def _poll(self) -> None:
        while not self._ended.is_set():
            self._lone.poll(POLL_SECONDS)
            if self._reports:
                reports, self._reports = self._reports, []
                self._hand_over(reports)
            else:
                self.connection.check(self._lone)
                self._batches.poll(0)

    def _hand_over(self, reports: list[tuple[KafkaError | None, Message]]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._delivered, reports)
        except RuntimeError:  # the loop has ended
            self._ended.set()

    # --- in the loop ---

    def _delivered(self, reports: list[tuple[KafkaError | None, Message]]) -> None:
        waiting = self._waiting
        for error, message in reports:
            task_id = (message.key() or b"").decode()
            found = waiting.pop(_name(message.topic(), task_id), None)
            if error is None:
                self.connection.answered()
            if found and not found[1].done():
                if error:
                    found[1].set_exception(unknown_fate(task_id))
                else:
                    found[1].set_result(Place(message.partition(), message.offset(), message.timestamp()[1]))  # pyright: ignore

    def _look(self) -> None:
        """Answer whoever waits for too long: Kafka may have the task, or may not."""
        now = time.monotonic()
        while self._waiting:
            name, (since, future) = next(iter(self._waiting.items()))
            if now - since < self._seconds:
                break
            del self._waiting[name]
            self.connection.silent()
            if not future.done():
                future.set_exception(unknown_fate(name.rpartition("/")[2]))
        self._looking = self._loop.call_later(LOOK_SECONDS, self._look)

    def close(self) -> None:
        """End the thread. Whoever waited has been answered before."""
        self._looking.cancel()
        self._ended.set()
        self._thread.join(2 * POLL_SECONDS + 0.5)
        self._lone.flush(0.5)


def _name(topic: str | None, task_id: str) -> str:
    return task_id if topic == TASKS else f"{topic}/{task_id}"


def full(what: str, limit: int, count: int) -> Problem:
    """Return the problem of a limit that is reached."""
    return Problem(
        503,
        "The gateway is full",
        f"{count} {what} are on their way to Kafka, the limit is {limit}. Try again in {RETRY_AFTER_SECONDS:g} s.",
        RETRY_AFTER_SECONDS,
        limit=limit,
        count=count,
    )


def unknown_fate(task_id: str) -> Problem:
    """Return the problem of a task that Kafka may have, or may not."""
    return Problem(
        503,
        "Fate unknown",
        f"Kafka has not acknowledged the task {task_id} in time. Its fate is unknown: ask for it at /tasks/{task_id}, "
        "or send it again with the same key.",
        RETRY_AFTER_SECONDS,
        task_id=task_id,
    )
