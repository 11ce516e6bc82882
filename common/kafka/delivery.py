"""What both workers do with replies: wait until they are delivered, and describe dead letters."""

import time
from typing import NamedTuple

from confluent_kafka import KafkaError, Message, Producer

from common.errors import ProgramError

from .connection import DEAD_LETTER_MAX_BYTES
from .refusals import raise_if_forbidden
from .stopping import GRACE_SECONDS, Stop
from .topics import DEAD_LETTER, TIMEOUT_HEADER

FRAME_BYTES = 16 * 1024  # what our headers and Kafka's own bytes around a message take at most

Headers = list[tuple[str, str | bytes | None]]


class Reply(NamedTuple):
    """A message to produce."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers | None = None


def ends_after(seconds: float) -> Headers:
    """Return the headers of a task that no worker starts once it has waited for so long."""
    return [(TIMEOUT_HEADER, str(int(seconds * 1000)))]


def dead_letter(message: Message, reason: str, attempts: int = 1) -> Reply:
    """Return a message that cannot be done as a dead letter: its bytes, and headers that say more.

    They say where it came from, why it was refused, when, and after how many attempts; the headers that it had follow.
    A message that came compressed can be larger than one that may be sent: then a stub says so, and holds no bytes.
    """
    told = {
        "dead-letter-topic": message.topic(),
        "dead-letter-partition": message.partition(),
        "dead-letter-offset": message.offset(),
        "dead-letter-reason": reason,
        "dead-letter-time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "dead-letter-attempts": attempts,
    }
    headers: Headers = [(name, value) for name, value in message.headers() or [] if name not in told]
    parts = [message.value(), message.key(), *(text for header in headers for text in header)]
    size = sum(len(part) for part in parts if part)
    value, key = message.value(), message.key()
    if size > DEAD_LETTER_MAX_BYTES - FRAME_BYTES:
        told["dead-letter-bytes"] = size
        value, key, headers = None, None, []
    return Reply(DEAD_LETTER, value, key, [(name, str(text).encode("utf-8")) for name, text in told.items()] + headers)


def wait_until_delivered(stop: Stop, *producers: Producer) -> bool:
    """Wait until Kafka has acknowledged everything that these have produced, however long that takes.

    Returns: False if the program was asked to end first; what is not delivered must not be committed then.
    """
    while any(producer.flush(0.5) for producer in producers):
        if stop.requested and stop.seconds_since() > GRACE_SECONDS:
            return False
    return True


def raise_undelivered(error: KafkaError | None, message: Message) -> None:
    """Handle a delivery report: a message that Kafka refuses for good ends the program, before anything is committed.

    Raises:
        ProgramError: Kafka refused the message.
    """
    raise_if_refused(error, message)
    if error:
        raise ProgramError(f"Kafka does not take a message for the topic {message.topic()}: {error.str()}.")


def raise_if_refused(error: KafkaError | None, message: Message) -> None:
    """Handle a delivery report of a program that goes on where one message is not delivered.

    Raises:
        ProgramError: it may not write to this topic at all.
    """
    raise_if_forbidden(error, f"to write to the topic {message.topic()}")
