"""Tasks that nobody waits for any more are not started: their senders say how long they wait.

The header `timeout-ms` holds a duration. It begins when the broker has appended the task, and it is over by the
broker's clock: neither the sender's clock nor the worker's counts. A worker learns the broker's clock from its own
delivery reports, and ends nobody's wait before the first one. (`deadline-ms`, which older clients send, is a time of
the sender's clock.)
"""

import time

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message

from common.kafka.topics import DEADLINE_HEADER, TIMEOUT_HEADER

from .codec import task_id_of
from .replies import Replies

LEARN_SECONDS = 30.0  # a worker's and a broker's clock do not drift apart by much meanwhile


class BrokerClock:
    """The broker's clock, as far as it is known. Always a little slow: a report takes a moment to arrive."""

    def __init__(self) -> None:
        self._ahead_ms: float | None = None  # of the monotonic clock
        self._learned = 0.0

    def learn(self, error: KafkaError | None, message: Message) -> None:
        """Take note of a delivery report: a message that the broker has appended carries its time."""
        kind, appended_ms = message.timestamp()
        if not error and kind == TIMESTAMP_LOG_APPEND_TIME:
            self._learned = time.monotonic()
            self._ahead_ms = appended_ms - self._learned * 1000

    @property
    def is_due(self) -> bool:
        """Whether it is time to learn it once more."""
        return self._ahead_ms is None or time.monotonic() - self._learned > LEARN_SECONDS

    def now_ms(self) -> float | None:
        """Return Unix time in milliseconds, None if it is not known yet."""
        return None if self._ahead_ms is None else time.monotonic() * 1000 + self._ahead_ms


def in_time(messages: list[Message], clock: BrokerClock) -> tuple[list[Message], Replies]:
    """Return the messages to work on, and the replies to those that come too late."""
    replies, now_ms = Replies(), clock.now_ms()
    if now_ms is None:
        return messages, replies
    return [m for m in messages if not (m.headers() and _too_late(m, now_ms, replies))], replies


def _too_late(message: Message, now_ms: float, replies: Replies) -> bool:
    end_ms = _end_ms(message)
    if end_ms is None or now_ms <= end_ms:
        return False
    text = f"Not started: its time was over {(now_ms - end_ms) / 1000:.1f} s before its turn came."
    replies.error(task_id_of(message), "deadline-passed", text)
    return True


def _end_ms(message: Message) -> float | None:
    """Return when nobody waits for a task any more, None if it does not say."""
    for name, value in message.headers() or []:
        if name in (TIMEOUT_HEADER, DEADLINE_HEADER):
            try:
                number = int(value or b"")
            except ValueError:
                return None
            return number + message.timestamp()[1] if name == TIMEOUT_HEADER else number
    return None
