"""What the Kafka programs share, and what all of them promise when no Kafka answers."""

import os
import signal
import sys
import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from common.embedded_kafka import EmbeddedKafka
from common.errors import ProgramError
from common.kafka.connection import (
    Connection,
    MembershipLostError,
    connect,
    consumer_config,
    producer_config,
    reader_config,
    run_with_kafka,
)
from common.kafka.delivery import dead_letter, raise_undelivered, wait_until_delivered
from common.kafka.offsets import assign_at_end
from common.kafka.stopping import Stop
from common.kafka.topics import DEAD_LETTER, RESULTS, TASKS, create_topics, partition_count
from common.programs import Program, free_ports
from tests.helpers import WAIT_SECONDS, produce

PROGRAMS = [
    "4_message_queue.iris_classifier_mq_worker",
    "4_message_queue.iris_classifier_cli_client_mq",
    "4_message_queue.iris_classifier_mq_persister",
    "5_task_queue.kafka_setup",
    "5_task_queue.iris_classifier_task_queue_worker",
    "5_task_queue.iris_classifier_cli_client_task_queue",
]


@pytest.fixture
def here(kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    return kafka.bootstrap_servers


def test_every_program_says_in_one_line_that_no_kafka_answers(program, env: dict[str, str]):
    address = f"localhost:{free_ports(1)[0]}"
    started = [program(module, env=env | {"KAFKA_BOOTSTRAP_SERVERS": address}) for module in PROGRAMS]
    for one in started:
        assert one.wait() == 1
        assert one.output == ""
        assert one.errors == f"No Kafka answers at {address}. Start one with: python -m common.embedded_kafka\n"


def test_topics_are_created_and_grown_but_never_shrunk(topics, here: str):
    topics(create=False)
    admin = connect()
    assert create_topics(admin) == {TASKS: 1, RESULTS: 1, DEAD_LETTER: 1}
    assert create_topics(admin) == {}
    assert create_topics(admin, 3) == {TASKS: 3, RESULTS: 3}
    assert create_topics(admin, 2) == {}
    assert [partition_count(admin, name) for name in (TASKS, RESULTS, DEAD_LETTER, "none")] == [3, 3, 1, 0]


def test_an_answer_that_was_lost_is_looked_up(topics, here: str):
    """The connection ends while Kafka makes the topics."""
    topics(create=False)

    class LosesAnswers(AdminClient):
        def create_topics(self, *arguments: Any, **named: Any) -> Any:
            made = super().create_topics(*arguments, **named)
            for future in made.values():
                future.result(WAIT_SECONDS)
            lost: dict[str, Future[None]] = {name: Future() for name in made}
            for future in lost.values():
                future.set_exception(KafkaException(KafkaError(KafkaError._TRANSPORT)))
            return lost

    admin = LosesAnswers({"bootstrap.servers": here})
    assert create_topics(admin, 2) == {}  # who has made them is not known
    assert [partition_count(admin, name) for name in (TASKS, RESULTS, DEAD_LETTER)] == [2, 2, 1]


def test_programs_that_create_topics_at_once_all_succeed(topics, here: str):
    topics(create=False)
    admin = connect()
    failures: list[Exception] = []

    def create() -> None:
        try:
            create_topics(admin, 2)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=create) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert failures == []
    assert partition_count(admin, TASKS) == 2


def test_a_reader_positioned_at_the_end_misses_nothing_that_comes_after(topics, here: str):
    topics(partitions=3)
    produce(here, RESULTS, [b"before"] * 10, [str(i) for i in range(10)])
    reader = Consumer(reader_config())
    assign_at_end(reader, RESULTS)  # and only now is something sent
    produce(here, RESULTS, [b"after"] * 10, [str(i) for i in range(10)])
    found = reader.consume(10, WAIT_SECONDS)
    reader.close()
    assert [message.value() for message in found] == [b"after"] * 10


def test_a_message_at_the_limit_fits_and_so_does_its_dead_letter(topics, here: str):
    topics()
    producer = Producer(producer_config() | {"on_delivery": raise_undelivered})
    producer.produce(DEAD_LETTER, b"x" * 1_048_000, b"k", headers=[("dead-letter-reason", b"r" * 1000)])
    stop = Stop(signals=())
    assert wait_until_delivered(stop, producer)
    producer.produce(TASKS, b"x" * 1_060_000)  # larger than the broker takes for tasks
    with pytest.raises(ProgramError, match=r"^Kafka does not take a message for the topic tasks: .+\.$"):
        wait_until_delivered(stop, producer)


def test_a_dead_letter_tells_the_story_and_keeps_what_was_there():
    message = Message(  # type: ignore[call-arg]
        topic=TASKS, partition=2, offset=5, value=b"x", headers=[("trace", b"1"), ("dead-letter-topic", b"forged")]
    )
    letter = dead_letter(message, "Not JSON. ü", attempts=3)
    headers = letter.headers or []
    assert (letter.topic, letter.value, letter.key) == (DEAD_LETTER, b"x", None)
    assert dict(headers) | {"dead-letter-time": b""} == {
        "dead-letter-topic": b"tasks",
        "dead-letter-partition": b"2",
        "dead-letter-offset": b"5",
        "dead-letter-reason": "Not JSON. ü".encode(),
        "dead-letter-time": b"",
        "dead-letter-attempts": b"3",
        "trace": b"1",
    }
    assert len(headers) == 7


@pytest.mark.parametrize(
    "parts",
    [{"value": b"x" * 2_000_000}, {"key": b"x" * 2_000_000}, {"headers": [("h", b"x" * 2_000_000)]}],
    ids=["value", "key", "headers"],
)
def test_a_dead_letter_of_a_message_too_large_to_be_sent_is_a_stub(parts: dict[str, Any]):
    letter = dead_letter(Message(topic=TASKS, partition=2, offset=5, **parts), "Not JSON.")  # type: ignore[call-arg]
    headers = dict(letter.headers or [])
    assert (letter.value, letter.key, len(headers)) == (None, None, 7)
    assert int(headers["dead-letter-bytes"] or 0) >= 2_000_000
    assert (headers["dead-letter-offset"], headers["dead-letter-reason"]) == (b"5", b"Not JSON.")


def test_a_connection_says_once_that_kafka_is_away_and_once_that_it_is_back(capsys: pytest.CaptureFixture[str]):
    class Client:
        answers = False

        def list_topics(self, timeout: float) -> None:
            if not self.answers:
                raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    connection, client = Connection(), Client()
    connection.check(client)
    connection.on_error(KafkaError(KafkaError._TRANSPORT))
    assert capsys.readouterr() == ("", "")
    for _ in range(3):
        connection.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
        connection.check(client)
    assert capsys.readouterr() == ("", "Kafka does not answer. Waiting for it ...\n")
    client.answers = True
    connection.check(client)
    connection.check(client)
    assert capsys.readouterr() == ("", "Kafka is back.\n")


def test_a_stop_is_set_by_a_signal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("common.kafka.stopping.HARD_STOP_SECONDS", 3600)  # this program is not to end
    before = signal.getsignal(signal.SIGUSR1)
    try:
        stop = Stop(signals=[signal.SIGUSR1])
        assert not stop.requested and not stop.wait(0)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.wait(WAIT_SECONDS) and stop.requested
        assert 0 <= stop.seconds_since() < WAIT_SECONDS
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.set_wakeup_fd(-1)


def test_a_member_that_its_group_has_lost_begins_anew(capsys: pytest.CaptureFixture[str]):
    starts: list[int] = []

    def main() -> int:
        starts.append(1)
        if len(starts) == 1:
            Connection().on_consumer_error(KafkaError(KafkaError.GROUP_ID_NOT_FOUND, "gone", True))
        return 7

    with pytest.raises(SystemExit) as ended:
        run_with_kafka(main)
    assert (ended.value.code, len(starts)) == (7, 2)
    assert capsys.readouterr().err == "Kafka has lost this program's membership (gone). Joining again in 1 s ...\n"


def test_what_a_member_reports_comes_out_of_its_poll(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_ports(1)[0]}")

    class Lost(Connection):
        def on_error(self, error: KafkaError) -> None:
            raise MembershipLostError(error.str())

    consumer = Consumer(consumer_config("a-group", Lost()))
    consumer.subscribe([TASKS])
    with pytest.raises(MembershipLostError):
        consumer.poll(WAIT_SECONDS)
    consumer.close()


HANGS_WITH_THE_LOCK = """
import ctypes, time
from common.kafka.stopping import Stop
stop = Stop()
print("ready", flush=True)
while not stop.requested:
    time.sleep(0.01)
ctypes.PyDLL(None).sleep(60)  # keeps Python's lock, as a call into the client library may
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM")
def test_a_program_that_hangs_inside_the_client_library_ends_within_three_seconds():
    with Program(["python", "-W", "error", "-c", HANGS_WITH_THE_LOCK]) as program:
        program.wait_for("ready")
        asked = time.monotonic()
        program.terminate()
        assert program.wait(WAIT_SECONDS) == 1
        assert time.monotonic() - asked < 3.5
