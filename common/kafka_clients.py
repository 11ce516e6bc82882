"""What the Kafka programs of stages 4 and 5 share: names, connections, topics, dead letters, stopping."""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    NewPartitions,  # pyright: ignore[reportPrivateImportUsage]
    NewTopic,  # pyright: ignore[reportPrivateImportUsage]
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]
)

from common.errors import ProgramError
from common.settings import load_settings
from common.terminal import run

TASKS = "tasks"
RESULTS = "results"
DEAD_LETTER = "tasks.dead-letter"
DEADLINE_HEADER = "deadline-ms"  # on a task: Unix time in milliseconds after which nobody waits for its result

ANSWER_SECONDS = 5.0  # longest wait for a broker's answer at the start
GRACE_SECONDS = 2.0  # after a request to end: longest wait for what is in hand
HARD_STOP_SECONDS = 2.7  # after a request to end: the program is gone
ADMIN_SECONDS = 30.0  # longest wait for the broker to make a topic
MESSAGE_MAX_BYTES = 1_048_588  # Kafka's own default, for tasks and results
DEAD_LETTER_MAX_BYTES = MESSAGE_MAX_BYTES + 64 * 1024  # the largest message fits in with its headers
FASTER = (KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.INVALID_PARTITIONS)  # another program has just done it
DAY_MS = 24 * 60 * 60 * 1000
RETENTION_MS = {TASKS: 7 * DAY_MS, RESULTS: DAY_MS, DEAD_LETTER: 28 * DAY_MS}

Config = dict[str, Any]
Headers = list[tuple[str, str | bytes | None]]


class MembershipLostError(Exception):
    """The client library has given up its membership of a group for good: a new consumer has to join."""


class Connection:
    """Says once that Kafka has gone away, and once that it is back. librdkafka reconnects by itself."""

    def __init__(self) -> None:
        self.down = False

    def on_error(self, error: KafkaError) -> None:
        """Take what the client library reports while it is polled."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self.down:
            self.down = True
            print("Kafka does not answer. Waiting for it ...", file=sys.stderr, flush=True)

    def on_consumer_error(self, error: KafkaError) -> None:
        """Take what a member of a group reports; raises MembershipLostError, out of its poll()."""
        if error.fatal():
            raise MembershipLostError(error.str())
        self.on_error(error)

    def answered(self) -> None:
        """Take note that Kafka has answered."""
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
        "reconnect.backoff.max.ms": 1000,  # be back within about a second of the broker
        "error_cb": connection.on_error if connection else lambda error: None,
    }
    return config


def producer_config(connection: Connection | None = None) -> Config:
    """Return the settings of a producer whose messages arrive once and in order, as soon as possible."""
    return base_config(connection) | {
        "enable.idempotence": True,  # a retry is no second message, and acks=all
        "linger.ms": 0,  # a lone message does not wait for company
        "message.max.bytes": DEAD_LETTER_MAX_BYTES,
    }


def consumer_config(group: str, connection: Connection | None = None) -> Config:
    """Return the settings of a member of a consumer group that commits by itself, after the work."""
    return base_config(connection) | {
        "error_cb": connection.on_consumer_error if connection else lambda error: None,
        "group.id": group,
        "group.protocol": "consumer",  # KIP-848: members come and go without stopping the others
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",  # a new group begins with the oldest task
        "fetch.queue.backoff.ms": 10,  # the default, 1000, stalls a consumer whose local queue was full
    }


def reader_config(connection: Connection | None = None) -> Config:
    """Return the settings of a reader outside of any group: it assigns itself partitions and commits nothing."""
    return base_config(connection) | {
        "group.id": "unused",  # the library wants one even where no group is joined
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",  # results of an aborted transaction are not results
    }


def connect() -> AdminClient:
    """Return an admin client of a Kafka that answers.

    Raises:
        ProgramError: none does; the message has the command that starts one.
    """
    admin = AdminClient(base_config())
    try:
        admin.list_topics(timeout=ANSWER_SECONDS)
    except KafkaException:
        address = load_settings().kafka_bootstrap_servers
        raise ProgramError(f"No Kafka answers at {address}. Start one with: python -m common.embedded_kafka") from None
    return admin


def create_topics(admin: AdminClient, partitions: int = 1) -> dict[str, int]:
    """Create the three topics, or grow `tasks` and `results` to this many partitions; never shrink or change others.

    Returns: the number of partitions of each topic that was created or grown.

    Raises:
        ProgramError: the broker refuses; the message says why.
    """
    wanted = {TASKS: partitions, RESULTS: partitions, DEAD_LETTER: 1}
    existing = _counts(admin)
    new = [new_topic(name, count) for name, count in wanted.items() if name not in existing]
    small = [NewPartitions(name, count) for name, count in wanted.items() if existing.get(name, count) < count]
    futures = admin.create_topics(new, operation_timeout=ADMIN_SECONDS) if new else {}
    futures |= admin.create_partitions(small, operation_timeout=ADMIN_SECONDS) if small else {}
    done = {}
    for name, future in futures.items():
        try:
            future.result(timeout=ADMIN_SECONDS)
            done[name] = wanted[name]
        except KafkaException as error:
            if error.args[0].code() not in FASTER:
                raise ProgramError(f"Kafka does not make the topic {name}: {error.args[0].str()}") from None
    deadline = time.monotonic() + ADMIN_SECONDS
    while any(_counts(admin).get(name, 0) < wanted[name] for name in futures):  # brokers learn of it one by one
        if time.monotonic() > deadline:
            raise ProgramError(f"Kafka has not made its topics within {ADMIN_SECONDS:g} s.")
        time.sleep(0.05)
    return done


def _counts(admin: AdminClient) -> dict[str, int]:
    """Return how many partitions each topic has."""
    return {name: len(topic.partitions) for name, topic in admin.list_topics(timeout=ANSWER_SECONDS).topics.items()}


def new_topic(name: str, partitions: int) -> NewTopic:
    """Describe a topic. Its copies are left to the broker: 1 on one broker, 3 on three."""
    size = DEAD_LETTER_MAX_BYTES if name == DEAD_LETTER else MESSAGE_MAX_BYTES
    return NewTopic(
        name,
        num_partitions=partitions,
        replication_factor=-1,
        config={"retention.ms": str(RETENTION_MS[name]), "max.message.bytes": str(size)},
    )


def partition_count(client: Any, topic: str) -> int:
    """Return how many partitions a topic has, 0 where there is no such topic."""
    return len(client.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic].partitions)


def edges(admin: AdminClient, topic: str, numbers: Iterable[int]) -> dict[int, tuple[int, int]]:
    """Return, per partition, the offset of its first message and the one behind its last.

    A consumer could be asked as well, but there the answer waits behind its open fetch, half a second per partition.

    Raises:
        KafkaException: Kafka does not answer in time.
    """
    wanted = [TopicPartition(topic, number) for number in numbers]
    try:
        return _edges(admin, wanted)
    except KafkaException:  # what the client knows of the partitions' leaders may be old: it does not look by itself
        admin.list_topics(timeout=ANSWER_SECONDS)
        return _edges(admin, wanted)


def _edges(admin: AdminClient, wanted: list[TopicPartition]) -> dict[int, tuple[int, int]]:
    answers = [
        admin.list_offsets(dict.fromkeys(wanted, spec), request_timeout=ANSWER_SECONDS)  # pyright: ignore
        for spec in (OffsetSpec.earliest(), OffsetSpec.latest())
    ]
    low, high = ({where.partition: f.result().offset for where, f in futures.items()} for futures in answers)
    return {number: (low[number], high[number]) for number in low}


def assign_at_end(consumer: Consumer, topic: str, admin: AdminClient | None = None) -> None:
    """Position a reader behind the last message of every partition, before it returns.

    A reader that merely subscribes at `latest` finds its position some time later, and misses what comes before.
    """
    admin = AdminClient(base_config()) if admin is None else admin  # a client with an empty queue is falsy
    ends = edges(admin, topic, range(partition_count(admin, topic)))
    consumer.assign([TopicPartition(topic, number, high) for number, (_, high) in ends.items()])


def place(message: Message) -> tuple[int, int]:
    """Return partition and offset, which every message that was consumed has."""
    return message.partition(), message.offset()  # pyright: ignore[reportReturnType]


def next_offsets(messages: list[Message]) -> dict[int, int]:
    """Return per partition the offset behind the last of these messages, which are in order within a partition."""
    last = dict(zip(map(Message.partition, messages), map(Message.offset, messages), strict=True))
    return {number: offset + 1 for number, offset in last.items()}  # pyright: ignore


def dead_letter_headers(message: Message, reason: str, attempts: int = 1) -> Headers:
    """Return what a dead letter tells beside its bytes: where from, why, when, after how many attempts.

    The headers that the message had are kept behind them.
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


def deliver(stop: "Stop", *producers: Producer) -> bool:
    """Wait until Kafka has taken everything that these have produced, as long as that takes.

    Returns: False where the program was asked to end first; what is undelivered must not be committed then.
    """
    while any(producer.flush(0.5) for producer in producers):
        if stop.requested and stop.seconds_since() > GRACE_SECONDS:
            return False
    return True


def raise_undelivered(error: KafkaError | None, message: Message) -> None:
    """Take a delivery report: what Kafka refuses for good ends the program, before anything is committed.

    Raises:
        ProgramError: Kafka does not take the message.
    """
    if error:
        raise ProgramError(f"Kafka does not take a message for the topic {message.topic()}: {error.str()}.")


class Stop:
    """Set by SIGTERM or Ctrl-C: `while not stop.requested:` ends its round and leaves.

    A thread of its own takes the signal, as the main thread may be inside the client library, which can wait for a
    broker that is away for a minute. A program that has not ended by itself after HARD_STOP_SECONDS is ended as by a
    crash: what it had in hand is not committed, and so not lost.
    """

    def __init__(self, signals: Iterable[signal.Signals] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self._event = threading.Event()
        self._since = 0.0
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        numbers = set(signals)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)  # the interpreter writes each signal's number there
        threading.Thread(target=self._listen, args=(read, numbers), daemon=True).start()

    def _listen(self, read: int, numbers: set[signal.Signals]) -> None:
        while os.read(read, 1)[0] not in numbers:
            pass
        self._since = time.monotonic()
        self._event.set()
        # The client library can also wait while it keeps Python's lock; then this thread would not come to its end.
        faulthandler.dump_traceback_later(HARD_STOP_SECONDS + 0.1, exit=True, file=self._nowhere)
        time.sleep(HARD_STOP_SECONDS)
        print("Kafka does not answer. Ended without waiting for it; nothing is lost.", file=sys.stderr, flush=True)
        os._exit(1)

    def seconds_since(self) -> float:
        """Return how long ago the program was asked to end, in seconds."""
        return time.monotonic() - self._since

    @property
    def requested(self) -> bool:
        """Tell whether the program has been asked to end."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait, at most this long; tell whether the program has been asked to end."""
        return self._event.wait(seconds)


def run_with_kafka(main: Callable[[], int]) -> NoReturn:
    """Run a program's main() as `run` does; a failure of Kafka that nobody has dealt with is one line, too.

    A member that its group has lost for good, as can happen while an overloaded broker starts again, begins anew.
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
