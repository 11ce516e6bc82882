"""Stage 4, the client: stage 3's prompt over topics. It reads input, validates and shows.

Unlike stage 3, the client of the server:
- it sends a measurement and goes on: it does not matter whether a worker is running;
- it shows every result, those of other clients too: a result does not say whose it is.

Run: python -m 4_message_queue.iris_classifier_cli_client_mq
"""

import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, Message, Producer
from pydantic import ValidationError

from common.errors import ProgramError
from common.iris_dto import InvalidMeasurement, Result, validate
from common.kafka.connection import Connection, connect, producer_config, reader_config, run_with_kafka
from common.kafka.offsets import Tail
from common.kafka.topics import RESULTS, TASKS, create_topics
from common.terminal import PROMPT, ArgumentParser, read_lines, show

DELIVERY_SECONDS = 10.0


class ResultPrinter(threading.Thread):
    """Shows results as they come, while the prompt waits for the next line."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen = 0
        self._ended = threading.Event()
        self._results = Tail(Consumer(reader_config()), RESULTS, connect())
        self._results.go_to_end()  # before anything is sent: no answer can be missed

    def run(self) -> None:
        try:
            self._show_all()
        except ProgramError as error:  # it may not read them
            print(error, file=sys.stderr, flush=True)
        self._results.close()

    def _show_all(self) -> None:
        person = sys.stdin.isatty()
        while not self._ended.is_set():
            message = self._results.poll(0.2)
            if message is None or message.error():
                continue
            text = describe(message.value())
            if text:
                print(f"\n{text}\n{PROMPT}" if person else text, end="" if person else "\n", flush=True)
                self.seen += 1

    def end(self, wait_for: int, seconds: float) -> None:
        """End when this many results have been shown, or the time is over."""
        deadline = time.monotonic() + seconds
        while self.seen < wait_for and time.monotonic() < deadline:
            self.join(0.05)
        self._ended.set()
        self.join(5)


def describe(value: bytes | None) -> str:
    """Return the lines for a result, an empty string if it is not a result."""
    try:
        result = Result.model_validate_json(value or b"")
    except ValidationError:
        return ""
    return f"result for {result.X}: {show(result.y)}" if result.y else ""


def delivered(error: KafkaError | None, message: Message) -> None:
    """Say whether Kafka has taken a task."""
    print(f"Not sent: {error.str()}." if error else "sent", flush=True)


def main(argv: list[str] | None = None) -> int:
    """Send one measurement per line until `q`."""
    parser = ArgumentParser(__doc__, "kafka_bootstrap_servers")
    parser.add_argument("--wait", type=float, default=10.0, help="piped input: longest wait for results, in seconds")
    args = parser.parse_args(argv)

    create_topics(connect())
    connection = Connection()
    producer = Producer(producer_config(connection) | {"message.timeout.ms": int(DELIVERY_SECONDS * 1000)})
    results = ResultPrinter()
    results.start()
    sent = 0
    try:
        for words in read_lines():  # 2. read input
            try:
                measurement = validate(words)  # 3. validate
            except InvalidMeasurement as error:
                print(error, flush=True)
                continue
            value = measurement.model_dump_json()
            producer.produce(TASKS, value, on_delivery=delivered)  # 4. predict: some worker will
            producer.flush(DELIVERY_SECONDS + 1)
            connection.check(producer)
            sent += 1
    finally:
        results.end(wait_for=0 if sys.stdin.isatty() else sent, seconds=args.wait)  # 5. show
    return 0


if __name__ == "__main__":
    run_with_kafka(main)
