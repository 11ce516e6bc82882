"""What a worker has taken, told to whoever watches: small events in `tasks.events`, at most ten a second.

Between two events the ranges of offsets that were taken are put together, so an event is as small after ten thousand
tasks as after one. A thread sends them, over a producer of its own: the worker's loop only notes numbers. Nothing
depends on an event: one that cannot be sent is left out.
"""

import json
import threading
import time
from contextlib import suppress

from confluent_kafka import KafkaException, Producer

from common.kafka.connection import Config, base_config
from common.kafka.stopping import Stop
from common.kafka.topics import EVENTS

AFTER_SECONDS, EVERY_SECONDS = 0.02, 0.1  # the loop has its answer out by then; from one event to the next
SETTINGS: Config = {"acks": 1, "message.timeout.ms": 5000, "queue.buffering.max.messages": 1000, "linger.ms": 5}


class Taken:
    """Notes and tells which offsets a worker has taken."""

    def __init__(self, worker: str, stop: Stop) -> None:
        self._worker, self._stop = worker, stop
        self._ranges: dict[int, tuple[int, int]] = {}  # by partition: the first offset, and the one after the last
        self._attempts, self._time = 1, 0.0
        self._lock, self._noted = threading.Lock(), threading.Event()
        threading.Thread(target=self._tell, name="taken", daemon=True).start()

    def note(self, starts: dict[int, int], ends: dict[int, int], attempts: int) -> None:
        """Note that the tasks between these offsets, per partition, are in hand."""
        with self._lock:
            for number, end in ends.items():
                start, old = starts.get(number, end), self._ranges.get(number)
                self._ranges[number] = (old[0], end) if old and old[1] == start else (start, end)
            self._attempts, self._time = attempts, time.time()
        self._noted.set()

    def _tell(self) -> None:
        with suppress(KafkaException):
            producer = Producer(base_config() | SETTINGS)
            while not self._stop.requested:
                if not self._noted.wait(0.5):
                    continue
                time.sleep(AFTER_SECONDS)
                self._noted.clear()
                self._send(producer)
                time.sleep(EVERY_SECONDS - AFTER_SECONDS)

    def _send(self, producer: Producer) -> None:
        with self._lock:
            ranges, self._ranges = self._ranges, {}
            attempts, when = self._attempts, int(self._time * 1000)
        for number, (first, end) in ranges.items():
            told = {"worker": self._worker, "partition": number, "first": first, "end": end}
            value = json.dumps(told | {"time_ms": when, "attempts": attempts})
            with suppress(BufferError, KafkaException):
                producer.produce(EVENTS, value, self._worker)
        producer.poll(0)
