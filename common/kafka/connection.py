"""How a program reaches Kafka: the settings of its clients, what it says while Kafka is away, how it runs."""

import logging
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from common.errors import ProgramError
from common.settings import load_settings
from common.terminal import run

ANSWER_SECONDS = 5.0  # longest wait for a broker's answer at the start
MESSAGE_MAX_BYTES = 1_048_588  # Kafka's own default, for tasks and results
DEAD_LETTER_MAX_BYTES = MESSAGE_MAX_BYTES + 64 * 1024  # the largest message fits in with its headers

SILENT = logging.getLogger("librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False

Config = dict[str, Any]


class MembershipLostError(Exception):
    """The client library has given up its membership of a group for good: a new consumer has to join."""


class Connection:
    """Says once that Kafka has gone away, and once that it is back. librdkafka reconnects by itself."""

    def __init__(self) -> None:
        self.down = False

    def on_error(self, error: KafkaError) -> None:
        """Handle an error that the client library reports while it is polled."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self.down:
            self.down = True
            print("Kafka does not answer. Waiting for it ...", file=sys.stderr, flush=True)

    def on_consumer_error(self, error: KafkaError) -> None:
        """Handle an error of a group member; MembershipLostError comes out of its poll()."""
        if error.fatal():
            raise MembershipLostError(error.str())
        self.on_error(error)

    def answered(self) -> None:
        """Note that Kafka has answered."""
        if self.down:
            self.down = False
            print("Kafka is back.", file=sys.stderr, flush=True)

    def check(self, client: Any) -> None:
        """While Kafka is away, ask whether it is back; costs nothing otherwise."""
        if self.down:
            try:
                client.list_topics(timeout=0.2)
            except KafkaException:
                return
            self.answered()


def base_config(connection: Connection | None = None) -> Config:
    """Return what every client needs. Errors come through `connection`, not as the library's log lines."""
    config: Config = {
        "bootstrap.servers": load_settings().kafka_bootstrap_servers,
        "log_level": 0,
        "logger": SILENT,  # what is fatal is printed at any level
        "reconnect.backoff.max.ms": 1000,  # be back within about a second of the broker
        "error_cb": connection.on_error if connection else lambda error: None,
    }
    return config


def producer_config(connection: Connection | None = None) -> Config:
    """Return the settings of a producer whose messages arrive once and in order, as soon as possible."""
    return base_config(connection) | {
        "enable.idempotence": True,  # a retry does not send the message twice; implies acks=all
        "linger.ms": 0,  # a lone message does not wait for others
        "message.max.bytes": DEAD_LETTER_MAX_BYTES,
    }


def consumer_config(group: str, connection: Connection | None = None) -> Config:
    """Return the settings of a member of a consumer group that commits by itself, after the work."""
    return base_config(connection) | {
        "error_cb": connection.on_consumer_error if connection else lambda error: None,
        "group.id": group,
        "group.protocol": "consumer",  # KIP-848: members come and go without stopping the others
        "enable.auto.commit": False,
        "isolation.level": "read_committed",  # what an aborted transaction sent is not a task, and not a result
        "auto.offset.reset": "earliest",  # a new group begins with the oldest task
        "fetch.queue.backoff.ms": 10,  # the default, 1000, stalls a consumer whose local queue was full
    }


def reader_config(connection: Connection | None = None) -> Config:
    """Return the settings of a reader outside of any group: it assigns itself partitions and commits nothing."""
    return base_config(connection) | {
        "group.id": "unused",  # the library wants one even if no group is joined
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",  # results of an aborted transaction do not count
    }


def connect() -> AdminClient:
    """Return an admin client of a Kafka that answers.

    Raises:
        ProgramError: no Kafka answers; the message has the command that starts one.
    """
    admin = AdminClient(base_config())
    try:
        admin.list_topics(timeout=ANSWER_SECONDS)
    except KafkaException:
        address = load_settings().kafka_bootstrap_servers
        raise ProgramError(f"No Kafka answers at {address}. Start one with: python -m common.embedded_kafka") from None
    return admin


def run_with_kafka(main: Callable[[], int]) -> NoReturn:
    """Run a program's main() as `run` does; an unhandled Kafka error is one line, too.

    A member that its group has lost for good, as can happen while an overloaded broker restarts, joins again.
    """

    def guarded() -> int:
        while True:
            try:
                return main()
            except MembershipLostError as error:
                print(f"Kafka has lost this program's membership ({error}). Joining again ...", file=sys.stderr)
            except KafkaException as error:
                raise ProgramError(f"Kafka does not answer as it should: {error.args[0].str()}.") from None

    run(guarded)
