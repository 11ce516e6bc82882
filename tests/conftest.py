"""Fixtures of all tests: one model and one real Kafka per session, fresh topics and real programs per test."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import settings

from common.embedded_kafka import EmbeddedKafka
from common.embedded_kafka.broker_settings import JVM_OPTIONS
from common.embedded_kafka.jars import KafkaStartError
from common.iris_model import IrisModel, load_model, train_and_save
from common.kafka.topics import DEAD_LETTER, RESULTS, STAGE_5, TASKS, new_topic
from tests import java_cache
from tests.helpers import WAIT_SECONDS, Program, admin_of, until

GROUPS = ("iris-mq-workers", "iris-task-queue-workers")

# A shell that runs the tests in the background has them ignore Ctrl-C, and every program that they start would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault(JVM_OPTIONS, " ".join(java_cache.java_flags()))

# The same examples each time: a test fails where it is broken, not where the dice fall.
settings.register_profile("iris", derandomize=True, deadline=None, database=None, print_blob=True)
settings.load_profile("iris")


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file, trained once for all tests."""
    path = tmp_path_factory.mktemp("model") / "iris_classifier.joblib"
    train_and_save(path)
    return path


@pytest.fixture(scope="session")
def model(model_path: Path) -> IrisModel:
    return load_model(model_path)


@pytest.fixture
def env(model_path: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of a program: none of this machine's own settings, warnings are errors."""
    foreign = [name for name in os.environ if name.startswith(("IRIS_", "KAFKA_")) and name != JVM_OPTIONS]
    mine = {name: value for name, value in os.environ.items() if name not in foreign}
    return mine | {
        "IRIS_MODEL_PATH": str(model_path),
        "IRIS_DATABASE": str(tmp_path / "results.sqlite3"),
        "PYTHONWARNINGS": "error",
        "PYTHONPATH": "",
        "COLUMNS": "200",
    }


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka]:
    """The real Kafka, on a free port."""
    try:
        with EmbeddedKafka() as broker:
            yield broker
    except KafkaStartError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"Kafka cannot be started here: {error}")


@pytest.fixture
def kafka_env(kafka: EmbeddedKafka, env: dict[str, str]) -> dict[str, str]:
    """The variables of a program that uses Kafka."""
    return env | {"KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers}


@pytest.fixture
def program(env: dict[str, str]) -> Iterator[Callable[..., Program]]:
    """Start real programs: `program("1_monolith_cli....", "5.1", ..., env=..., stdin=...)`.

    Afterwards all are ended; the test fails where one is left or has shown a traceback.
    """
    started: list[Program] = []

    def start(
        module: str,
        *arguments: object,
        env: dict[str, str] = env,
        stdin: str | bytes | None = None,
        terminal: bool = False,
    ) -> Program:
        started.append(Program([sys.executable, "-m", module, *map(str, arguments)], env, stdin, terminal))
        return started[-1]

    yield start
    for one in started:
        one.terminate()  # all at once, then each is waited for
    wrong = [problem for problem in [one.leave() for one in started] if problem]
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def topics(kafka: EmbeddedKafka) -> Callable[..., str]:
    """Empty the topics and forget the groups: `servers = topics(partitions=4)`."""
    admin = admin_of(kafka.bootstrap_servers)

    def names() -> set[str]:
        return set(admin.list_topics(timeout=WAIT_SECONDS).topics)

    def delete() -> None:
        old = names() & {TASKS, RESULTS, DEAD_LETTER, *STAGE_5}
        if old:
            for future in admin.delete_topics(list(old), operation_timeout=WAIT_SECONDS).values():
                future.result(WAIT_SECONDS)
            until(lambda: not names() & old, what="topics deleted")

    def recreate(partitions: int = 1, create: bool = True) -> str:
        for group in GROUPS:
            forget(group)
        delete()
        if create:
            wanted = {TASKS: partitions, RESULTS: partitions, DEAD_LETTER: 1} | dict.fromkeys(STAGE_5, 1)
            made = admin.create_topics([new_topic(name, number) for name, number in wanted.items()])
            for future in made.values():
                future.result(WAIT_SECONDS)
            until(lambda: names() >= set(wanted), what="topics created")
        return kafka.bootstrap_servers

    def forget(group: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                admin.delete_consumer_groups([group], request_timeout=WAIT_SECONDS)[group].result(WAIT_SECONDS)
                return
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError.GROUP_ID_NOT_FOUND:
                    return
                # A killed member stays in its group until its session is over.
                assert code == KafkaError.NON_EMPTY_GROUP and time.monotonic() < deadline, error
                time.sleep(0.1)

    return recreate
