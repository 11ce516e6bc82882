"""What a client says about a Kafka that it does not trust, or that refuses it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from common.embedded_kafka.certificates import Authority
from common.errors import ProgramError
from common.kafka.connection import Connection, connect
from common.kafka.refusals import bad_property, does_not_answer, forbidden

HOW_LONG = 365  # days


class TlsServer:
    """Shakes hands and says nothing: enough to see what a client makes of a certificate."""

    def __init__(self, certificate: Path) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"localhost:{self._socket.getsockname()[1]}"
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate = certificate
        if certificate:
            self._context.load_cert_chain(certificate)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client = self._socket.accept()[0]
            except OSError:
                return
            client.settimeout(5)
            with client, suppress(OSError):
                if self._certificate is None:  # as a Kafka without TLS, it takes a ClientHello for a request too large
                    client.recv(100)
                    continue
                with self._context.wrap_socket(client, server_side=True) as safe:
                    safe.recv(100)

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in ("KAFKA_CLIENT_PROPERTIES", "KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SSL_CA_LOCATION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    yield monkeypatch


@pytest.mark.parametrize(
    ("days", "hosts", "line"),
    [
        (
            -1,
            ("localhost",),
            r"its certificate has expired: it has to be renewed there \(or .+\)\.",
        ),
        (HOW_LONG, ("kafka.example",), r"its certificate is for another host: check KAFKA_BOOTSTRAP_SERVERS\."),
    ],
    ids=["expired", "another host"],
)
def test_what_is_wrong_with_a_certificate_is_named(
    days: int, hosts: tuple[str, ...], line: str, tmp_path: Path, clean: pytest.MonkeyPatch
):
    authority = Authority(tmp_path)
    with closing(TlsServer(authority.issue("server", hosts, days))) as server:
        clean.setenv("KAFKA_BOOTSTRAP_SERVERS", server.address)
        clean.setenv("KAFKA_SSL_CA_LOCATION", str(authority.path))
        with pytest.raises(ProgramError, match=rf"^No safe connection to Kafka at {server.address}: {line}$"):
            connect()


def test_a_kafka_without_tls_is_told_from_one_with_a_bad_certificate(kafka, clean: pytest.MonkeyPatch):
    clean.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    with pytest.raises(ProgramError, match=r"it does not speak TLS: check the port, or set KAFKA_SECURITY_PROTOCOL .+"):
        connect()


def test_what_the_library_says_about_a_property_passes_on_the_name_alone():
    def told(text: str) -> str:
        return str(bad_property(KafkaException(KafkaError(KafkaError._INVALID_ARG, text))))

    assert told('No such configuration property: "foo.bar"') == (
        "'foo.bar' in KAFKA_CLIENT_PROPERTIES is no property of librdkafka."
    )
    assert told('Invalid value "geheim" for configuration property "linger.ms"').startswith(
        "Kafka's client library cannot use linger.ms"
    )
    assert "ssl.key.pem" in told("ssl.key.pem failed: geheim") and "geheim" not in told("ssl.key.pem failed: geheim")


def test_only_what_waiting_does_not_mend_ends_a_program():
    assert forbidden(None) is None
    assert forbidden(KafkaError(KafkaError._ALL_BROKERS_DOWN)) is None
    assert str(forbidden(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "to read the topic tasks")) == (
        "Kafka forbids this program to read the topic tasks. Which rights each program needs: "
        "5_task_queue/HOSTED_KAFKA.md"
    )


def test_a_running_program_says_once_that_it_is_no_longer_let_in(
    clean: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clean.setenv("KAFKA_SECURITY_PROTOCOL", "")
    clean.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092")
    connection = Connection()
    for _ in range(3):
        connection.on_error(KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error: geheim"))
        connection.on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    connection.answered()
    assert capsys.readouterr().err == (
        "Kafka at kafka.example:9092 does not know who we are: check the settings for SASL. Trying again ...\n"
        "Kafka is back.\n"
    )


@pytest.mark.parametrize("servers", ["nowhere", "kafka://", "a:b", ""])
def test_an_address_without_a_port_is_no_more_than_a_kafka_that_does_not_answer(servers: str):
    assert does_not_answer({"bootstrap.servers": servers}) is None
