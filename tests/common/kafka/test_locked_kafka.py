"""Every program on a Kafka with TLS, passwords and access control lists, each with exactly the rights of the table."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from common.embedded_kafka.certificates import Authority
from common.errors import ProgramError
from common.kafka.connection import connect
from common.kafka.rights import PROGRAMS, RIGHTS, rights_table
from common.kafka.topics import TASKS
from common.settings import ROOT
from tests.common.kafka.locked_kafka import LockedKafka, locked_kafka
from tests.helpers import LINE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs the embedded Kafka")

SETUP, WORKER, CLIENT = (PROGRAMS[role][-1] for role in ("setup", "worker", "client"))
PERSISTER, STATUS, LETTERS = (PROGRAMS[role][0] for role in ("persister", "status", "dead-letters"))


POD = "iris-task-queue-workers-pod-0"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockedKafka]:
    with locked_kafka(tmp_path_factory.mktemp("locked")) as kafka:
        yield kafka


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, locked: LockedKafka):
    for name in [*locked.settings(""), "KAFKA_CLIENT_PROPERTIES", "KAFKA_SASL_PASSWORD"]:
        monkeypatch.delenv(name, raising=False)


def test_every_program_does_its_work_with_exactly_its_rights(program, env: dict[str, str], locked: LockedKafka):
    def start(module: str, role: str, *arguments: str, **options: str):
        return program(module, *arguments, env=env | locked.user(role), **options)

    assert start(SETUP, "setup", "--partitions", "2").finish()[0] == "tasks: created, 2 partitions"
    assert start(SETUP, "setup", "--partitions", "3").finish()[0] == "tasks: grown, 3 partitions"
    persister = start(PERSISTER, "persister")
    persister.wait_for("Persister is ready")
    for delivery in ("at-least-once", "exactly-once"):
        worker = start(WORKER, "worker", "--delivery", delivery)
        worker.wait_for("holds partitions")
        client = start(CLIENT, "client", stdin=f"{LINE}\n" * 2)
        assert [line.split()[0] for line in client.finish()] == ["setosa", "setosa"]
        assert start(STATUS, "status", "--check").finish()[-1] == "healthy: none waits"
        worker.terminate()
        assert worker.wait() == 0
        assert "Kafka" not in worker.errors
    persister.wait_for_line(re.compile("stored . results, 4 in all"))

    mq_worker = start(PROGRAMS["mq-worker"][0], "mq-worker")  # it skips the tasks of stage 5
    mq_worker.wait_for("Worker is ready")
    mq_client = start(PROGRAMS["client"][0], "client", stdin=f"{LINE}\n")
    assert "setosa" in mq_client.finish()[-1]
    for one in (mq_worker, persister):
        one.terminate()
        assert one.wait() == 0
    bad = start("tour.send", "client", "--raw", "not a task")
    assert bad.finish()[-1] == f"sent 1 message to {TASKS}"
    share_worker = start(PROGRAMS["share-worker"][0], "share-worker", "--max-tasks", "100")
    share_worker.wait_for(re.compile(r"did \d+ tasks"))
    assert start(LETTERS, "dead-letters", "list").finish()[-1] == "1 dead letter"
    assert start(LETTERS, "dead-letters", "replay", "--all").finish()[-1] == "1 sent, 0 not sent"


def test_the_page_shows_the_rights_that_these_tests_run_with():
    assert rights_table() in (ROOT / "5_task_queue" / "HOSTED_KAFKA.md").read_text(encoding="utf-8")


def test_the_printed_settings_let_a_program_in(locked: LockedKafka, monkeypatch: pytest.MonkeyPatch):
    printed = dict(locked.printed)
    assert printed.pop("KAFKA_CLIENT_PROPERTIES") == locked.user("worker")["KAFKA_CLIENT_PROPERTIES"]
    assert printed == locked.settings("iris")
    for name, value in printed.items():
        monkeypatch.setenv(name, value)
    connect()


def test_no_password_stands_in_a_log_on_a_command_line_or_in_what_is_printed(locked: LockedKafka):
    passwords = locked.passwords()
    assert len(passwords) == len(RIGHTS) + 1
    broker = locked.folder.parent / "broker-1"
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in broker.glob("*.*") if path.is_file()]
    texts += [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    texts += [locked.program.output, locked.program.errors]
    assert not [text for text in texts for password in passwords if password in text]
    private = [*locked.folder.glob("*.password"), *locked.folder.glob("*.properties"), locked.folder / "ca-key.pem"]
    assert {path.stat().st_mode & 0o077 for path in private} == {0}


WRONG_PASSWORD = {"KAFKA_SASL_PASSWORD": "wrong", "KAFKA_SASL_PASSWORD_FILE": ""}
NO_TLS = dict.fromkeys(
    [
        *("KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME"),
        *("KAFKA_SASL_PASSWORD_FILE", "KAFKA_SSL_CA_LOCATION"),
    ],
    "",
)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            WRONG_PASSWORD,
            "Kafka at {} does not know the user 'worker', or not this password: "
            "check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD.",
        ),
        ({"KAFKA_SASL_MECHANISM": "PLAIN"}, "Kafka at {} does not take KAFKA_SASL_MECHANISM=PLAIN, but SCRAM-SHA-512."),
        (
            {"KAFKA_SSL_CA_LOCATION": ""},
            "No safe connection to Kafka at {}: its certificate is not signed by an authority that we know: "
            "set KAFKA_SSL_CA_LOCATION to its CA file.",
        ),
        (
            NO_TLS,
            "Kafka at {} speaks TLS: set KAFKA_SECURITY_PROTOCOL to SASL_SSL or SSL. "
            "More settings: 5_task_queue/HOSTED_KAFKA.md",
        ),
    ],
    ids=["password", "mechanism", "authority", "no TLS"],
)
def test_whoever_is_not_let_in_is_told_why_and_what_to_do(
    change: dict[str, str], line: str, program, env: dict[str, str], locked: LockedKafka
):
    one = program(SETUP, env=env | locked.settings("worker") | change)
    assert one.wait() == 1
    assert (one.output, one.errors) == ("", line.format(locked.servers) + "\n")


def test_a_group_that_is_not_ones_own_ends_a_program_with_one_line(program, env: dict[str, str], locked: LockedKafka):
    program(SETUP, env=env | locked.user("setup")).finish()
    one = program(WORKER, env=env | locked.user("gateway"))
    assert one.wait() == 1
    assert one.errors == (
        "Kafka forbids this program its consumer group. Which rights each program needs: 5_task_queue/HOSTED_KAFKA.md\n"
    )


def test_a_client_certificate_takes_the_place_of_a_password(
    locked: LockedKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    ours, strangers = Authority(locked.folder), Authority(tmp_path)

    def come_with(certificate: Path | None) -> None:
        for name, value in locked.by_certificate(certificate).items():
            monkeypatch.setenv(name, value)
        connect()

    come_with(ours.issue("worker"))
    for certificate, line in [
        (ours.issue("late", days=-1), "our certificate has expired: renew KAFKA_SSL_CERTIFICATE_LOCATION."),
        (strangers.issue("worker"), "it does not take our certificate: check KAFKA_SSL_CERTIFICATE_LOCATION."),
        (None, "it does not take a client without a certificate: check KAFKA_SSL_CERTIFICATE_LOCATION."),
    ]:
        with pytest.raises(ProgramError, match=rf"^No safe connection to Kafka at localhost:\d+: {line}$"):
            come_with(certificate)


@pytest.mark.parametrize(
    ("module", "role", "arguments", "stdin", "what"),
    [
        (CLIENT, "persister", [], LINE, "something that concerns the whole cluster"),  # may write nothing at all
        (LETTERS, "client", ["list"], None, "to read the topic tasks.dead-letter"),
        (STATUS, "client", [], None, "its consumer group"),
        (
            WORKER,
            "gateway",
            ["--delivery", "exactly-once"],
            None,
            "the transactional id iris-task-queue-workers-pod-0",
        ),
    ],
    ids=["no producer", "no read", "no group", "no transaction"],
)
def test_what_is_forbidden_ends_a_program_with_one_line(
    module: str, role: str, arguments: list[str], stdin: str | None, what: str, program, env: dict[str, str], locked
):
    program(SETUP, env=env | locked.user("setup")).finish()
    extra = {"stdin": f"{stdin}\n"} if stdin else {}
    letter = program("tour.send", "--raw", "x", env=env | locked.user("client"))
    letter.finish()
    one = program(module, *arguments, env=env | locked.user(role) | {"IRIS_WORKER_NAME": "pod-0"}, **extra)
    assert one.wait() == 1
    assert one.errors == (
        f"Kafka forbids this program {what}. Which rights each program needs: 5_task_queue/HOSTED_KAFKA.md\n"
    )
