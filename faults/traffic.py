"""Tasks in, results out: a steady load in bursts, and an observer who notes when each result was first seen."""

import contextlib
import itertools
import json
import random
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from benchmarks.broker import Kafka, measurements
from common.iris_dto import Measurement, Task
from common.kafka.connection import producer_config, reader_config
from common.kafka.offsets import assign_at_end
from common.kafka.topics import RESULTS, TASKS, TIMEOUT_HEADER, partition_count
from common.programs import until

from .answers import Row, row_of

BURSTS_PER_SECOND = 4  # so that a worker finds batches of several sizes
PLAIN_SHARE = 0.5  # results without a task id, as of stage 4, per task: only their offsets tell two of them apart
TIMEOUT_MS = 30_000  # as the client's own: then nobody waits for the answer any more
TOO_LATE = "deadline-passed"  # the code of the error that says so
PLAIN_MARK = b"without an id"
POSITION_SECONDS = 20.0  # longest wait until the end of `results` is known
LOOK_SECONDS = 0.5  # from one look for new partitions to the next
SENTINEL = b"end of the trial"


class Load(threading.Thread):
    """Sends `rate` tasks per second until it is told to stop, or `limit` of them."""

    def __init__(self, servers: str, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self.rate, self.limit = 600.0, sys.maxsize
        self.sent: dict[str, float] = {}  # task id: when it was sent, seconds on the monotonic clock
        self.messages: Counter[str] = Counter()  # task id: messages
        self.rows: dict[str, Row] = {}  # task id: its measurement
        self.timeouts: dict[
            str, int
        ] = {}  # task id: how long its sender waits, milliseconds, where it is not TIMEOUT_MS
        self.plain: set[str] = set()  # results without an id that Kafka has taken, by number
        self.plain_mark = f"{PLAIN_MARK.decode()} {uuid.uuid4().hex}"  # tells them from an earlier trial's
        self.refused: set[str] = set()
        self.choose_timeout_ms: Callable[[], int] = lambda: TIMEOUT_MS
        self.acknowledged = 0  # messages that Kafka has taken
        self._numbers, self._flowers, self._rng = itertools.count(), measurements(sys.maxsize), rng
        self._producer = Producer(
            producer_config() | {"bootstrap.servers": servers, "message.timeout.ms": 0, "on_delivery": self._delivered}
        )
        self._stop_event = threading.Event()

    def run(self) -> None:
        """Send bursts."""
        due = time.monotonic()
        while not self._stop_event.is_set() and len(self.sent) < self.limit:
            self.send(min(max(1, int(self.rate / BURSTS_PER_SECOND)), self.limit - len(self.sent)))
            self._producer.poll(0)
            due = max(due + 1 / BURSTS_PER_SECOND, time.monotonic() - 1)
            self._stop_event.wait(max(0.0, due - time.monotonic()))

    def send(self, count: int, copies: int = 1) -> None:
        """Send so many tasks, each as so many messages; and now and then a result without an id."""
        for flower in itertools.islice(self._flowers, count):
            task_id = self.new_id()
            for _ in range(copies):
                self.task(task_id, flower)
            if self._rng.random() < PLAIN_SHARE:
                number = str(next(self._numbers))
                value = json.dumps({"X": {self.plain_mark: number}, "y": {"iris_type": 0}})
                self._producer.produce(RESULTS, value, key=number)

    def new_id(self) -> str:
        """Return a UUID4 out of the seeded dice."""
        return str(uuid.UUID(int=self._rng.getrandbits(128), version=4))

    def task(self, task_id: str, measurement: Measurement, timeout_ms: int | None = None) -> None:
        """Send one task message."""
        self.rows[task_id] = row_of(measurement)
        timeout_ms = timeout_ms or self.choose_timeout_ms()
        if timeout_ms != TIMEOUT_MS:
            self.timeouts[task_id] = timeout_ms
        headers: dict[str, str | bytes | None] = {TIMEOUT_HEADER: str(timeout_ms)}
        self.raw(task_id, Task(task_id=task_id, X=measurement).model_dump_json().encode(), headers)

    def raw(self, key: str, value: bytes, headers: dict[str, str | bytes | None] | None = None) -> None:
        """Send bytes to `tasks`; whoever has the key as its id waits for an answer."""
        self.sent.setdefault(key, time.monotonic())
        self.messages[key] += 1
        self._producer.produce(TASKS, value, key=key, headers=headers)

    def was_too_late(self, task_id: str, seen: float) -> bool:
        """Return whether nobody waited for a task any more at a time on the monotonic clock."""
        return seen - self.sent[task_id] >= self.timeouts.get(task_id, TIMEOUT_MS) / 1000

    def look_again(self) -> None:
        """Ask Kafka which topics there are: a topic made anew is unknown to a producer for a moment, and refused."""
        self._producer.list_topics(timeout=POSITION_SECONDS)

    def stop(self, seconds: float = 60.0) -> None:
        """End the load and wait until Kafka has all of it.

        Raises:
            TimeoutError: Kafka has not.
        """
        self._stop_event.set()
        if self.is_alive():
            self.join(seconds)
        if self._producer.flush(seconds):
            raise TimeoutError("Kafka does not take the load.")

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error:
            self.refused.add(f"the load was refused: {message.topic()}: {error.str()}")
            return
        self.acknowledged += 1
        if message.topic() == RESULTS:
            self.plain.add((message.key() or b"").decode())


class Observer(threading.Thread):
    """Reads committed results from the moment it was made."""

    def __init__(self, topics: Kafka, before: "Observer | None" = None) -> None:
        """`before` is who has read until now, from a topic that was made anew since."""
        super().__init__(daemon=True)
        self.first: dict[str, float] = before.first if before else {}  # task id: when its first result was seen
        self.count: Counter[str] = before.count if before else Counter()
        self.errors: dict[str, str] = before.errors if before else {}  # task id: the code of its error result
        self.answers: dict[str, Any] = before.answers if before else {}  # task id: its answer
        self.other_answers: list[tuple[str, Any]] = before.other_answers if before else []  # of the same tasks
        self.plain: Counter[str] = before.plain if before else Counter()  # results without an id, by number
        self.ended: set[int] = set()  # partitions in which the sentinel was seen
        self._topics, self._stop_event = topics, threading.Event()
        self._producer = Producer(producer_config() | {"bootstrap.servers": topics.servers})
        self._consumer = Consumer(reader_config() | {"bootstrap.servers": topics.servers, "fetch.queue.backoff.ms": 10})
        until(self._is_positioned, POSITION_SECONDS, "the end of `results`")

    def _is_positioned(self) -> bool:
        try:
            assign_at_end(self._consumer, RESULTS, self._topics.admin)
        except KafkaException:  # a topic that was just made, or a connection that is just being made
            return False
        return True

    def run(self) -> None:
        """Read until the end."""
        looked, partitions = time.monotonic(), len(self._consumer.assignment())
        while not self._stop_event.is_set():
            if time.monotonic() - looked > LOOK_SECONDS:
                looked, partitions = time.monotonic(), self._add_new(partitions)
            first = self._consumer.poll(0.1)
            for message in [first, *self._consumer.consume(5000, 0)] if first is not None else []:
                if not message.error():
                    self._note(message)
        self._consumer.close()

    def _add_new(self, known: int) -> int:
        """Read partitions that have been added from their beginning; return how many there are."""
        with contextlib.suppress(KafkaException):  # Kafka is away
            count = partition_count(self._consumer, RESULTS, 0.5)
            if count > known:
                self._consumer.incremental_assign([TopicPartition(RESULTS, n, 0) for n in range(known, count)])
                return count
        return known

    def _note(self, message: Message) -> None:
        key, value = (message.key() or b"").decode("utf-8", "replace"), message.value() or b""
        if value == SENTINEL:
            self.ended.add(message.partition() or 0)
        elif PLAIN_MARK in value:
            self.plain[key] += 1
        elif b'"task_id"' in value:
            self.first.setdefault(key, time.monotonic())
            self.count[key] += 1
            result = json.loads(value)
            if error := result.get("error"):
                self.errors.setdefault(key, error["code"])
            elif self.answers.setdefault(key, result["y"]) != result["y"]:
                self.other_answers.append((key, result["y"]))

    def send_sentinels(self, partitions: int) -> None:
        """Write a last message into each partition: once it is seen, everything before it was seen."""
        for number in range(partitions):
            self._producer.produce(RESULTS, SENTINEL, key=b"end", partition=number)
        self._producer.flush(30)

    def stop(self) -> None:
        """End reading."""
        self._stop_event.set()
        if self.is_alive():
            self.join(10)
