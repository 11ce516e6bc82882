"""Sends to the topic `tasks` what the clients do not: thousands of tasks at once, or any text at all. For exercises.

Nobody waits for the answers. Each task is a flower of random size; `--stage 4` leaves out the task ids.

Run: python -m tour.send --count 10000
     python -m tour.send --count 10000 --stage 4
     python -m tour.send --raw "not a measurement"
"""

import random
import uuid
from collections.abc import Iterator

from confluent_kafka import KafkaError, Message, Producer

from common.iris_dto import FEATURES, Measurement, Task
from common.kafka.connection import connect, producer_config, run_with_kafka
from common.kafka.topics import TASKS, create_topics
from common.terminal import ArgumentParser

CM = ((4.3, 7.9), (2.0, 4.4), (1.0, 6.9), (0.1, 2.5))  # least and greatest of each of FEATURES in Fisher's data
DELIVERY_SECONDS = 30.0


def flower() -> Measurement:
    """Return a measurement of plausible size."""
    values = (round(random.uniform(*span), 1) for span in CM)
    return Measurement(**dict(zip(FEATURES, values, strict=True)))


def tasks(count: int, stage: int) -> Iterator[tuple[str | None, str]]:
    """Yield key and value of so many tasks, as the clients of stage 4 or 5 write them."""
    for _ in range(count):
        if stage == 4:
            yield None, flower().model_dump_json()
        else:
            task_id = str(uuid.uuid4())
            yield task_id, Task(task_id=task_id, X=flower()).model_dump_json()


class Sender:
    """Sends messages to `tasks` and counts those that Kafka has taken."""

    def __init__(self) -> None:
        self.delivered = 0
        self._producer = Producer(producer_config() | {"message.timeout.ms": int(DELIVERY_SECONDS * 1000)})

    def send(self, key: str | None, value: str) -> None:
        """Send one message."""
        while True:
            try:
                self._producer.produce(TASKS, value, key, on_delivery=self._count)
                break
            except BufferError:  # the producer's own queue is full: wait until Kafka has taken some of it
                self._producer.poll(0.1)
        self._producer.poll(0)

    def wait_until_delivered(self) -> None:
        """Wait until Kafka has taken or refused everything."""
        self._producer.flush(DELIVERY_SECONDS + 1)

    def _count(self, error: KafkaError | None, _: Message) -> None:
        self.delivered += error is None


def main(argv: list[str] | None = None) -> int:
    """Send, wait until all is delivered, and say how much was."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--count", type=int, default=1, metavar="N", help="send N tasks (default: 1)")
    what.add_argument("--raw", metavar="TEXT", help="send one message with this text")
    parser.add_argument("--stage", type=int, choices=[4, 5], default=5, help="whose tasks to send (default: 5)")
    args = parser.parse_args(argv)
    if not 1 <= args.count <= 10_000_000:
        parser.error(f"--count: {args.count} is not a number from 1 to 10 000 000")

    create_topics(connect())
    sender, sent = Sender(), 0
    for key, value in tasks(args.count, args.stage) if args.raw is None else [(None, args.raw)]:
        sender.send(key, value)
        sent += 1
    sender.wait_until_delivered()
    print(f"sent {sender.delivered} message{'s' if sender.delivered != 1 else ''} to {TASKS}")
    if sender.delivered < sent:
        print(f"Kafka has not acknowledged the other {sent - sender.delivered}.")
    return 0 if sender.delivered == sent else 1


if __name__ == "__main__":
    run_with_kafka(main)
