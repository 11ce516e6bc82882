"""What both workers do with replies: wait until they are delivered, and describe dead letters."""

import time
from typing import NamedTuple

from confluent_kafka import KafkaError, Message, Producer

from common.errors import ProgramError

from .connection import DEAD_LETTER_MAX_BYTES
from .refusals import raise_if_forbidden
from .stopping import GRACE_SECONDS, Stop
from .topics import DEAD_LETTER, TIMEOUT_HEADER

# What the headers of a dead letter say of its message; a message's own headers of these names are dropped.
STORY = tuple(f"dead-letter-{what}" for what in ("topic", "partition", "offset", "reason", "time", "attempts"))
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
    A message that came compressed can be larger than one that may be sent: then it is a stub.
    """
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    story = message.topic(), message.partition(), message.offset(), reason, now, attempts
    headers: Headers = [(name, str(text).encode("utf-8")) for name, text in zip(STORY, story, strict=True)]
    headers += [(name, value) for name, value in message.headers() or [] if name not in STORY]
    letter = Reply(DEAD_LETTER, message.value(), message.key(), headers)
    return stub(letter) if _size(letter) > DEAD_LETTER_MAX_BYTES - FRAME_BYTES else letter


def stub(letter: Reply) -> Reply:
    """Return a dead letter without its bytes: where they came from, why, and how many bytes there were."""
    headers = [(name, value) for name, value in letter.headers or [] if name in STORY]
    return letter._replace(value=None, key=None, headers=[*headers, ("dead-letter-bytes", str(_size(letter)).encode())])


def _size(letter: Reply) -> int:
    """Return how many bytes a dead letter has kept of its message: value, key and headers."""
    headers = [header for header in letter.headers or [] if header[0] not in STORY]
    return sum(
        len(part) for part in [letter.value, letter.key, *(text for header in headers for text in header)] if part
    )


def produce_reply(producer: Producer, reply: Reply) -> None:
    """Produce a message; a dead letter that its topic refuses as too large is produced again as a stub.

    Its delivery report raises ProgramError, see `raise_undelivered`.
    """

    def reported(error: KafkaError | None, message: Message) -> None:
        if reply.topic == DEAD_LETTER and is_too_large(error):
            producer.produce(**stub(reply)._asdict(), on_delivery=raise_undelivered)
        else:
            raise_undelivered(error, message)

    producer.produce(**reply._asdict(), on_delivery=reported)


def is_too_large(error: KafkaError | None) -> bool:
    """Return whether Kafka has refused a message for its size: its topic has a limit (`max.message.bytes`)."""
    return error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE


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
