"""The embedded Kafka, tested as a user meets it: the real program, the real broker, real signals."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # pyright: ignore[reportPrivateImportUsage]

from common.embedded_kafka import EmbeddedKafka
from common.embedded_kafka.jars import KafkaStartError, class_path
from common.embedded_kafka.probe import broker_ids
from common.kafka.connection import base_config
from common.kafka.offsets import edges
from common.programs import Program, end_all, free_ports, until
from common.settings import ROOT

WAIT_SECONDS = 60.0
PROGRAM = [sys.executable, "-W", "error", "-m", "common.embedded_kafka"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


class KafkaProgram(Program):
    """`python -m common.embedded_kafka` in a session of its own, as in a terminal of its own."""

    def __init__(self, *arguments: object) -> None:
        super().__init__([*PROGRAM, *arguments])

    def ready_line(self) -> str:
        line = self.wait_for_line("")
        assert line.startswith("Kafka is ready: "), line
        return line

    def brokers(self) -> list[psutil.Process]:
        return [child for child in self.ps.children() if "kafka.Kafka" in child.cmdline()]

    def end_with(self, number: signal.Signals) -> tuple[int, str, str, float]:
        """Send a signal; return the exit code, the output, the error output and the seconds it took."""
        began = time.monotonic()
        self.signal(number)
        return self.wait(), self.output, self.errors, time.monotonic() - began


@pytest.fixture
def start() -> Iterator[Callable[..., KafkaProgram]]:
    programs: list[KafkaProgram] = []

    def start_program(*arguments: object) -> KafkaProgram:
        programs.append(KafkaProgram(*arguments))
        return programs[-1]

    yield start_program
    end_all(programs)


def run_program(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *map(str, arguments)]
    variables = os.environ | environment
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, encoding="utf-8", timeout=WAIT_SECONDS
    )


def create_topic(servers: str, copies: int) -> None:
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    admin.create_topics([NewTopic("t", 1, copies)])["t"].result(WAIT_SECONDS)


def produce(servers: str, value: bytes) -> None:
    failures: list[object] = []
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "log_level": 0})
    producer.produce("t", value, on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(WAIT_SECONDS) == 0
    assert not failures


def consume(servers: str, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "g", "enable.auto.commit": False, "log_level": 0})
    consumer.assign([TopicPartition("t", 0, 0)])
    try:
        return [message.value() for message in consumer.consume(count, WAIT_SECONDS)]
    finally:
        consumer.close()


def test_a_day_with_one_broker(
    start: Callable[..., KafkaProgram], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, data_dir = free_ports(1)[0], tmp_path / "kafka"
    arguments = ("--port", port, "--data-dir", data_dir)
    servers = f"localhost:{port}"

    first = start(*arguments)
    line = first.ready_line()
    assert re.fullmatch(
        rf"Kafka is ready: {servers} \(1 broker, data in .+, log in .+\)\. Press Ctrl-C to stop\.", line
    )
    assert (data_dir / "broker-1" / "kafka.log").stat().st_size > 0
    create_topic(servers, copies=1)
    produce(servers, b"before")
    assert consume(servers, 1) == [b"before"]

    for other in (arguments, ("--port", port, "--data-dir", tmp_path / "other"), ("--port", 1, "--data-dir", data_dir)):
        second = run_program(*other)  # finds the first by its port, or by its folder
        assert (second.returncode, second.stdout, second.stderr) == (0, f"Kafka is already running: {servers}\n", "")
    more = run_program("--brokers", 3, *arguments)
    assert (more.returncode, more.stdout) == (1, "")
    assert more.stderr == f"Kafka is already running: {servers}, with 1 broker, not 3: stop it first.\n"

    admin = AdminClient(base_config() | {"bootstrap.servers": servers})
    assert edges(admin, "t", [0]) == {0: (0, 1)}
    [broker] = first.brokers()
    first.end_with(signal.SIGKILL)
    if sys.platform == "linux":
        until(lambda: not broker.is_running(), seconds=3)
    (again := start(*arguments)).ready_line()  # elsewhere, this start ends what was left
    assert not broker.is_running()
    produce(servers, b"after")
    assert consume(servers, 2) == [b"before", b"after"]
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    assert edges(admin, "t", [0]) == {0: (0, 2)}  # a client from before the restart finds its way
    log = (data_dir / "broker-1" / "kafka.log").read_text(encoding="utf-8")
    assert "DuplicateBrokerRegistration" not in log  # its former self was declared dead before: see kafka_fencing

    [broker] = again.brokers()
    code, output, errors, seconds = again.end_with(signal.SIGINT)
    assert (code, len(output.splitlines()), errors) == (0, 1, "")
    assert seconds < 3
    assert not broker.is_running()

    wrong_count = run_program("--brokers", 2, *arguments)
    assert (wrong_count.returncode, wrong_count.stderr) == (
        1,
        f"{data_dir} holds the data of --brokers 1: use another --data-dir.\n",
    )
    (data_dir / "broker-1" / "data" / "meta.properties").write_text("nonsense", encoding="utf-8")
    damaged = run_program(*arguments)
    assert (damaged.returncode, damaged.stdout) == (1, "")
    assert re.fullmatch(r"Broker 1 ended: Error: node ID not found in .+ \(log: .+kafka\.log\)\n", damaged.stderr)
    (data_dir / "cluster.json").write_text("nonsense", encoding="utf-8")
    assert run_program(*arguments).stderr.startswith(f"{data_dir / 'cluster.json'} is damaged")
    no_folder = run_program("--port", port, "--data-dir", data_dir / "cluster.json")
    assert (no_folder.returncode, no_folder.stdout) == (1, "")
    assert re.fullmatch(r".+cluster\.json cannot be used: .+\n", no_folder.stderr)


def test_a_port_taken_by_something_else_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = run_program("--port", port, "--data-dir", tmp_path)
    message = f"Port {port} is taken by a program that is not Kafka: stop it, or use --port.\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", message)


def test_a_kafka_elsewhere_is_not_started_here() -> None:
    result = run_program(KAFKA_BOOTSTRAP_SERVERS="kafka.example:9092")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "KAFKA_BOOTSTRAP_SERVERS says kafka.example:9092, which is not a port of this machine: "
        "unset it, or use --port.\n"
    )


def test_no_jars_and_no_network_is_one_line(tmp_path: Path) -> None:
    code = (  # the real program, with a folder of its own for the list of jars
        f"import pathlib, common.settings; common.settings.RUN_DIR = pathlib.Path({str(tmp_path / 'run')!r})\n"
        "from common.embedded_kafka.__main__ import main, run; run(main)"
    )
    nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
    variables = {"M2_REPO": str(tmp_path / "jars"), "HTTPS_PROXY": nowhere, "HTTP_PROXY": nowhere, "ALL_PROXY": nowhere}
    variables |= {name.lower(): value for name, value in variables.items() if name != "M2_REPO"} | {"NO_PROXY": ""}
    result = subprocess.run(
        [sys.executable, "-c", code, "--port", str(free_ports(1)[0])],
        cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=WAIT_SECONDS,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (1, "")
    looking, failed = result.stderr.splitlines()
    assert looking.startswith("Looking for Apache Kafka's jars")
    assert failed.startswith("Kafka's jars cannot be fetched from Maven Central: ")


def test_a_class_path_with_a_missing_jar_is_resolved_again(tmp_path: Path) -> None:
    jars = class_path(tmp_path)
    [cache] = tmp_path.glob("*.classpath")
    cache.write_text(f"{tmp_path / 'gone.jar'}\n", encoding="utf-8")
    assert class_path(tmp_path) == jars
    assert cache.read_text(encoding="utf-8").splitlines() == jars


def test_a_broker_that_is_killed_leaves_the_cluster_and_rejoins() -> None:
    with EmbeddedKafka(brokers=3) as kafka:
        pids, data_dir = [kafka.pid(i) for i in kafka.ids], kafka.data_dir
        create_topic(kafka.bootstrap_servers, copies=3)
        produce(kafka.bootstrap_servers, b"with three")
        kafka.kill(2)
        assert not kafka.is_running(2)
        produce(kafka.bootstrap_servers, b"with two")  # acks=all: both of those left have it
        kafka.start(2)
        until(lambda: broker_ids(kafka.ports[1]) == {1, 2, 3})
        until(lambda: in_sync(kafka) == [1, 2, 3])
        kafka.pause(3)
        until(lambda: is_frozen(kafka.ports[3]))  # a signal takes a moment to reach every thread
        kafka.resume(3)
        assert consume(kafka.bootstrap_servers, 2) == [b"with three", b"with two"]
        pids.append(kafka.pid(2))
        kafka.pause(3)  # one that is frozen is stopped as well
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not data_dir.exists()


def is_frozen(port: int) -> bool:
    try:
        broker_ids(port)
    except OSError:
        return True
    return False


def in_sync(kafka: EmbeddedKafka) -> list[int]:
    topics = AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0}).list_topics("t", WAIT_SECONDS)
    return sorted(topics.topics["t"].partitions[0].isrs)


def test_a_start_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.embedded_kafka.cluster.jvm_flags", lambda _: ["-Xmx1k"])  # less than Java can live with
    kafka = EmbeddedKafka()
    with pytest.raises(KafkaStartError, match=r"Broker 1 ended: .*heap"), kafka:
        pass
    assert not kafka.data_dir.exists()
    assert not kafka.is_running(1)
