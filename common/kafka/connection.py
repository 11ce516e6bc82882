"""How a program reaches Kafka: the settings of its clients, what it says while Kafka is away, how it runs."""

import logging
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka.admin import AdminClient

from common.errors import ProgramError
from common.settings import load_settings
from common.terminal import run

from .group_protocol import NoSuchProtocolError, member_config, raise_if_too_new, use_classic
from .names import named
from .refusals import Config, bad_property, does_not_answer, not_let_in, raise_if_forbidden
from .security import security_config
from .stopping import default_signals

ANSWER_SECONDS = 5.0  # longest wait for a broker's answer at the start
LOOK_SECONDS = 0.5  # between two looks whether Kafka has refused us meanwhile
PAUSE_SECONDS = (1, 2, 4, 8)  # growing pauses before a program joins its group again; the last one repeats
MESSAGE_MAX_BYTES = 1_048_588  # Kafka's own default, for tasks and results
DEAD_LETTER_MAX_BYTES = MESSAGE_MAX_BYTES + 64 * 1024  # the largest message fits in with its headers

# The client library prints what is fatal at any level; a logger of our own takes it, and drops it.
SILENT = logging.getLogger("librdkafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


class MembershipLostError(Exception):
    """The client library has given up its membership of a group for good: a new consumer has to join."""


class Connection:
    """Says once that Kafka has gone away, and once that it is back. librdkafka reconnects by itself."""

    def __init__(self) -> None:
        self.down = False

    def on_error(self, error: KafkaError) -> None:
        """Handle an error that the client library reports while it is polled."""
        if self.down:
            return
        if line := not_let_in(error, base_config()):
            self._say(f"{line} Trying again ...")
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._say("Kafka does not answer. Waiting for it ...")

    def _say(self, line: str) -> None:
        self.down = True
        print(line, file=sys.stderr, flush=True)

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

    def check(self, client: Any, message: Message | None = None) -> None:
        """While Kafka is away, ask whether it is back; costs nothing otherwise. `message` holds an error, if any."""
        if message is not None:
            check_member(message)
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
        "reconnect.backoff.max.ms": 1000,  # be back within about a second of the broker
        # A request without an answer: the connection has died and nobody was told, as a firewall has forgotten it, or
        # a host is off. The default is 60 s. The library allows no more than a transaction of ours may take, 6 s.
        "socket.timeout.ms": 6000,
        # One that is not used may have died as well. Whoever closes it by then makes a new one when it is needed, in
        # milliseconds, instead of finding out for 6 s; and a worker has five connections that it needs one by one.
        # The library also closes one whose answer is still awaited, and takes up to 2 s off 4000 or more, by its dice.
        "connections.max.idle.ms": 3900,
        # A connection that is being made: the kernel asks after 1, 3, 7, 15, 31 s, the default is to wait for 30 s. So
        # after a long cut the next try is never more than 4 s away.
        "socket.connection.setup.timeout.ms": 8000,
    }
    return (
        config
        | security_config()
        | {
            "log_level": 0,
            "logger": SILENT,
            "error_cb": connection.on_error if connection else lambda error: None,
        }
    )


def producer_config(connection: Connection | None = None) -> Config:
    """Return the settings of a producer whose messages arrive once and in order, as soon as possible."""
    return base_config(connection) | {
        "enable.idempotence": True,  # a retry does not send the message twice; implies acks=all
        "linger.ms": 0,  # a lone message does not wait for others
        "message.max.bytes": DEAD_LETTER_MAX_BYTES,
    }


def consumer_config(group: str, connection: Connection | None = None) -> Config:
    """Return the settings of a member of a consumer group that commits by itself, after the work."""
    return member_config(base_config(connection)) | {
        "error_cb": connection.on_consumer_error if connection else lambda error: None,
        "group.id": group,
        "enable.auto.commit": False,
        "isolation.level": "read_committed",  # what an aborted transaction sent is not a task, and not a result
        "auto.offset.reset": "earliest",  # a new group begins with the oldest task
        "fetch.queue.backoff.ms": 10,  # the default, 1000, stalls a consumer whose local queue was full
    }


def reader_config(connection: Connection | None = None) -> Config:
    """Return the settings of a reader outside of any group: it assigns itself partitions and commits nothing."""
    return base_config(connection) | {
        "group.id": named("iris-readers"),  # the library wants one even if no group is joined
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",  # results of an aborted transaction do not count
        "fetch.queue.backoff.ms": 10,  # one that was idle has a full queue, and would begin anew after a second
    }


def connect() -> AdminClient:
    """Return an admin client of a Kafka that answers.

    Raises:
        ProgramError: no Kafka answers, with the command that starts one; or it does not let us in, and why.
    """
    errors: list[KafkaError] = []
    config = base_config()
    config["error_cb"] = errors.append
    try:
        admin = AdminClient(config)
    except KafkaException as error:
        raise bad_property(error) from None
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            admin.list_topics(timeout=LOOK_SECONDS)
            return admin
        except KafkaException:
            admin.poll(0)  # what the errors were
        for error in errors:
            if line := not_let_in(error, config):
                raise ProgramError(line)
        if time.monotonic() > deadline:
            break
    address = config["bootstrap.servers"]
    raise ProgramError(
        does_not_answer(config) or f"No Kafka answers at {address}. Start one with: python -m common.embedded_kafka"
    )


def check_reader(message: Message) -> None:
    """Look at what a reader outside of any group gets. Raises ProgramError if it may not read this topic.

    The client library looks for the group's coordinator all the same; that this is forbidden does no harm.
    """
    error = message.error()
    if error and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        raise_if_forbidden(error, f"to read the topic {message.topic()}")


def check_member(message: Message) -> None:
    """Look at an error that a group member gets in place of a message.

    Raises:
        ProgramError: it may not read this topic, or be in this group.
        NoSuchProtocolError: Kafka does not know the new group protocol.
        MembershipLostError: the client library has given up its membership for another reason.
    """
    error = message.error()
    raise_if_forbidden(error, f"to read the topic {message.topic()}" if message.topic() else "")
    if error and error.code() == KafkaError._FATAL:
        raise_if_too_new(error)
        raise MembershipLostError(error.str())


def run_with_kafka(main: Callable[[], int]) -> NoReturn:
    """Run a program's main() as `run` does; an unhandled Kafka error is one line, too.

    A member that its group has lost for good, as can happen while an overloaded broker restarts, joins again, after a
    pause. One whose Kafka does not know the new group protocol joins by the classic one.
    """

    def guarded() -> int:
        lost = 0
        while True:
            try:
                return main()
            except NoSuchProtocolError:
                use_classic()
                print(
                    "This Kafka does not know the new group protocol (KIP-848). Joining by the classic one ...",
                    file=sys.stderr,
                    flush=True,
                )
            except MembershipLostError as error:
                seconds = PAUSE_SECONDS[min(lost, len(PAUSE_SECONDS) - 1)]
                print(
                    f"Kafka has lost this program's membership ({error}). Joining again in {seconds} s ...",
                    file=sys.stderr,
                    flush=True,
                )
                default_signals()  # nothing is in hand: Ctrl-C and SIGTERM end the pause, and the program
                time.sleep(seconds)
                lost += 1
            except KafkaException as error:
                raise_if_forbidden(error.args[0])
                raise ProgramError(f"Kafka does not answer as it should: {error.args[0].str()}.") from None

    run(guarded)
