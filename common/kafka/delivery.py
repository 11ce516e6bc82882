"""What both workers do with replies: wait until they are delivered, and describe dead letters."""

import time
from typing import NamedTuple

from confluent_kafka import KafkaError, Message, Producer

from common.errors import ProgramError

from .stopping import GRACE_SECONDS, Stop

Headers = list[tuple[str, str | bytes | None]]


class Reply(NamedTuple):
    """A message to produce."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: Headers | None = None


def dead_letter_headers(message: Message, reason: str, attempts: int = 1) -> Headers:
    """Return what a dead letter says beside its bytes: where from, why, when, after how many attempts.

    The headers that the message had are kept, after these.
    """
    told = {
        "dead-letter-topic": message.topic(),
        "dead-letter-partition": message.partition(),
        "dead-letter-offset": message.offset(),
        "dead-letter-reason": reason,
        "dead-letter-time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "dead-letter-attempts": attempts,
    }
    headers: Headers = [(name, str(value).encode("utf-8")) for name, value in told.items()]
    return headers + [(name, value) for name, value in message.headers() or [] if name not in told]


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
    if error:
        raise ProgramError(f"Kafka does not take a message for the topic {message.topic()}: {error.str()}.")
