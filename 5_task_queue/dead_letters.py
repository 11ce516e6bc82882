"""Stage 5, the dead letters: messages that no worker could handle, also of stage 4. List, show and send them again.

- `list` prints a table, `show OFFSET` one letter in full: where it came from, its headers, its key, its bytes;
- `replay OFFSET ...` or `replay --all` sends the bytes, with their key and their own headers, back to the topic that
  they came from. The end of a wait that is over is left out, as no worker would do the task.

A letter stays in its topic for some weeks and can be replayed again: readers that go by the task id take one result.
First repair what was wrong, or the letters come back.

Run: python -m 5_task_queue.dead_letters list
"""

import time
from collections.abc import Iterable, Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from common.errors import ProgramError
from common.kafka.connection import (
    ANSWER_SECONDS,
    Config,
    check_reader,
    connect,
    producer_config,
    reader_config,
    run_with_kafka,
)
from common.kafka.delivery import Headers
from common.kafka.offsets import at_end, place
from common.kafka.topics import DEAD_LETTER, DEADLINE_HEADER, TIMEOUT_HEADER, partition_count
from common.terminal import ArgumentParser

PREFIX = "dead-letter-"  # of the headers that a worker put in front
READ_SECONDS = 10.0  # longest wait for the next message of the topic
DELIVERY_SECONDS = 10.0
ALL_SECONDS = 600.0  # longest time for a whole replay
REASON_CHARACTERS = 70  # in the table; `show` has the whole reason


def span(consumer: Consumer) -> tuple[int, int]:
    """Return the first offset of the dead letters and the one after the last; the topic has one partition."""
    if not partition_count(consumer, DEAD_LETTER):
        return 0, 0
    return consumer.get_watermark_offsets(TopicPartition(DEAD_LETTER, 0), timeout=ANSWER_SECONDS)


def read(consumer: Consumer, start: int, end: int) -> Iterator[Message]:
    """Yield the dead letters from offset `start` up to, not including, `end`."""
    if start >= end:
        return
    consumer.assign([TopicPartition(DEAD_LETTER, 0, start)])
    deadline = time.monotonic() + READ_SECONDS
    while True:
        message = consumer.poll(0.5)
        if message is not None and not message.error():  # `if message` would be false for an empty value
            if place(message)[1] < end:
                yield message
            if place(message)[1] >= end - 1:
                return
            deadline = time.monotonic() + READ_SECONDS
        elif message is not None and at_end(message):
            return
        elif message is not None:
            check_reader(message)
        elif time.monotonic() > deadline:
            raise ProgramError(f"Kafka does not answer: the topic {DEAD_LETTER} could not be read to its end.")


def find(consumer: Consumer, offset: int) -> Message:
    """Return the dead letter at an offset.

    Raises:
        ProgramError: there is none.
    """
    low, high = span(consumer)
    if low <= offset < high:
        for message in read(consumer, offset, offset + 1):
            return message
    raise ProgramError(
        f"There is no dead letter {offset}. See which there are: python -m 5_task_queue.dead_letters list"
    )


def told(message: Message, name: str) -> str:
    """Return what the worker said about a dead letter, or `-`; safe to print."""
    values = [value for header, value in message.headers() or [] if header == PREFIX + name]
    return printable(values[0]) if values else "-"


def came_from(message: Message) -> str:
    """Return where a dead letter came from: `tasks[2]@17`."""
    return f"{told(message, 'topic')}[{told(message, 'partition')}]@{told(message, 'offset')}"


def own_headers(message: Message, now_ms: float) -> Headers:
    """Return the headers that the message had before it was a dead letter, without the end of a wait that is over."""
    return [
        (name, value)
        for name, value in message.headers() or []
        if not (
            name.startswith(PREFIX) or name == TIMEOUT_HEADER or (name == DEADLINE_HEADER and _passed(value, now_ms))
        )
    ]


def _passed(value: str | bytes | None, now_ms: float) -> bool:
    try:
        return int(value or b"") < now_ms
    except ValueError:
        return False  # not a number: the workers ignore it


def printable(value: bytes | str | None) -> str:
    """Return text that can do nothing to a terminal: control characters and bytes that are not text are escaped.

    >>> printable(b'caf\\xc3\\xa9 \\x1b[31m \\xff')
    'café \\\\x1b[31m \\\\xff'
    """
    text = value.decode("utf-8", errors="backslashreplace") if isinstance(value, bytes) else value or ""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def list_letters(consumer: Consumer, limit: int) -> None:
    """Print the newest dead letters as a table."""
    low, high = span(consumer)
    print(f"{'offset':>6}  {'time':<20}  {'from':<20}  {'attempts':>8}  reason")
    count = 0
    for message in read(consumer, max(low, high - limit), high):
        reason = told(message, "reason")
        reason = reason if len(reason) <= REASON_CHARACTERS else reason[:REASON_CHARACTERS] + "..."
        when, attempts = told(message, "time"), told(message, "attempts")
        print(f"{place(message)[1]:>6}  {when:<20}  {came_from(message):<20}  {attempts:>8}  {reason}")
        count += 1
    older = f", and older ones from offset {low}" if high - low > limit else ""
    print(f"{count} dead letter{'s' if count != 1 else ''}{older}")


def show_letter(message: Message) -> None:
    """Print one dead letter in full. A line break in it is shown as `\\n`."""
    print(f"offset    {place(message)[1]}")
    print(f"time      {told(message, 'time')}")
    print(f"from      {came_from(message)}")
    print(f"attempts  {told(message, 'attempts')}")
    print(f"reason    {told(message, 'reason')}")
    for name, value in own_headers(message, 0):
        print(f"header    {printable(name)}: {printable(value)}")
    key, value = message.key(), message.value()
    print(f"key       {'none' if key is None else printable(key)}")
    print("value     none" if value is None else f"value     {len(value)} bytes\n{printable(value)}")


class Replay:
    """Sends dead letters back to where they came from and counts what has arrived."""

    def __init__(self) -> None:
        never_twice: Config = {"message.timeout.ms": int(DELIVERY_SECONDS * 1000)}
        self._producer = Producer(producer_config() | never_twice)
        self._known: dict[str, bool] = {}  # topic: whether there is one
        self.sent = self.failed = 0

    def send(self, message: Message) -> None:
        """Send one; whether it has arrived is printed later, while others are sent or by `finish`."""
        offset, topic = place(message)[1], told(message, "topic")
        problem = ""
        if topic == "-":
            problem = "does not say where it came from"
        elif told(message, "bytes") != "-":
            problem = f"was too large to be kept ({told(message, 'bytes')} bytes)"
        elif not self._exists(topic):
            problem = f"came from {topic}, a topic that no longer exists"
        if problem:
            self._tell(f"dead letter {offset} {problem}: not sent", ok=False)
            return

        def delivered(error: KafkaError | None, copy: Message) -> None:
            if error:
                self._tell(f"dead letter {offset}: not sent: {error.str()}", ok=False)
            else:
                self._tell(f"dead letter {offset} is now {topic}[{copy.partition()}]@{copy.offset()}", ok=True)

        headers = own_headers(message, time.time() * 1000)
        deadline = time.monotonic() + DELIVERY_SECONDS
        while True:
            try:
                self._producer.produce(topic, message.value(), message.key(), headers=headers, on_delivery=delivered)
                break
            except BufferError:  # its queue is full: wait until some have arrived
                self._producer.poll(0.1)
                if time.monotonic() > deadline:
                    raise ProgramError("Kafka does not take the messages; try again later.") from None
        self._producer.poll(0)

    def finish(self) -> None:
        """Wait until all have arrived, or Kafka has refused them."""
        self._producer.flush(DELIVERY_SECONDS + 1)

    def _exists(self, topic: str) -> bool:
        if topic not in self._known:
            self._known[topic] = partition_count(self._producer, topic) > 0
        return self._known[topic]

    def _tell(self, line: str, *, ok: bool) -> None:
        self.sent += ok
        self.failed += not ok
        print(line, flush=True)


def replay(messages: Iterable[Message]) -> int:
    """Send dead letters again, wait until they are delivered, print how it went; return the exit code."""
    sender = Replay()
    deadline = time.monotonic() + ALL_SECONDS
    try:
        for message in messages:
            sender.send(message)
            if time.monotonic() > deadline:
                raise ProgramError(f"Stopped after {ALL_SECONDS:g} s; replay the rest by their offsets.")
    finally:
        sender.finish()
    print(f"{sender.sent} sent, {sender.failed} not sent")
    return 1 if sender.failed else 0


def main(argv: list[str] | None = None) -> int:
    """List, show or replay."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers")
    parser.add_argument("command", choices=["list", "show", "replay"])
    parser.add_argument("offsets", nargs="*", type=int, metavar="OFFSET", help="which, as `list` numbers them")
    parser.add_argument("--all", action="store_true", help="replay every dead letter that there is now")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="how many `list` prints, the newest")
    args = parser.parse_args(argv)
    if args.command != "replay" and (args.all or len(args.offsets) != (args.command == "show")):
        parser.error(f"{args.command}: expected {'one offset' if args.command == 'show' else 'no offsets'}")
    if args.command == "replay" and bool(args.offsets) == args.all:
        parser.error("replay: expected offsets, or --all")
    if args.limit < 1:
        parser.error(f"--limit: {args.limit} is not a number above 0")

    connect()
    consumer = Consumer(reader_config() | {"enable.partition.eof": True})
    try:
        if args.command == "list":
            list_letters(consumer, args.limit)
        elif args.command == "show":
            show_letter(find(consumer, args.offsets[0]))
        elif args.all:
            return replay(read(consumer, *span(consumer)))
        else:  # first find all, then send: a wrong offset sends nothing
            return replay([find(consumer, offset) for offset in dict.fromkeys(args.offsets)])
    except KafkaException as error:
        raise ProgramError(f"Kafka does not answer: {error.args[0].str()}.") from None
    finally:
        consumer.close()
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
