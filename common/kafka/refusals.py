"""What it means when Kafka does not let a client in, or forbids something: one line, with what to do."""

import re
import socket
import ssl
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from common.errors import ProgramError

from .security import PAGE

LOOK_SECONDS = 2.0
FORBIDDEN = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "a topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "its consumer group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "its transactional id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "something that concerns the whole cluster",
}

Config = dict[str, Any]


def forbidden(error: KafkaError | None, what: str = "") -> ProgramError | None:
    """Return what to raise where Kafka's access control lists forbid something: waiting does not help."""
    if error is None or error.code() not in FORBIDDEN:
        return None
    thing = what or FORBIDDEN[error.code()]
    return ProgramError(f"Kafka forbids this program {thing}. Which rights each program needs: {PAGE}")


def raise_if_forbidden(error: KafkaError | None, what: str = "") -> None:
    """Raise ProgramError if Kafka's access control lists forbid something."""
    if refused := forbidden(error, what):
        raise refused


def not_let_in(error: KafkaError, config: Config) -> str | None:
    """Return why Kafka does not let us in and what to do, if that is what an error says."""
    servers = config["bootstrap.servers"]
    if error.code() == KafkaError._AUTHENTICATION:
        if offered := re.search(r"supported mechanisms: ([\w, -]+)", error.str()):
            return (
                f"Kafka at {servers} does not take KAFKA_SASL_MECHANISM={_mechanism(config)}, but {offered[1].strip()}."
            )
        user = config.get("sasl.username")
        who = (
            f"the user {user!r}, or not this password: check KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
            if user
            else ""
        )
        return f"Kafka at {servers} does not know {who or 'who we are: check the settings for SASL'}."
    if error.code() == KafkaError._SSL:
        return f"No safe connection to Kafka at {servers}: {_why_no_tls(config)}."
    return None


def does_not_answer(config: Config) -> str | None:
    """Return why a Kafka that can be reached does not answer, if it can be seen that it only speaks TLS."""
    if "SSL" in config.get("security.protocol", "PLAINTEXT").upper():
        return None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only to see whether this is TLS
    try:
        _handshake(config, context)
    except ssl.SSLError as error:
        if error.reason not in ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE"):
            return None
    except OSError:
        return None
    return (
        f"Kafka at {config['bootstrap.servers']} speaks TLS: set KAFKA_SECURITY_PROTOCOL to SASL_SSL or SSL. "
        f"More settings: {PAGE}"
    )


def bad_property(error: KafkaException) -> ProgramError:
    """Return what to raise where the client library refuses a property. Its text can hold a value: only names pass."""
    text = error.args[0].str()
    if unknown := re.search(r'No such configuration property: "([^"]*)"', text):
        return ProgramError(f"{unknown[1]!r} in KAFKA_CLIENT_PROPERTIES is no property of librdkafka.")
    name = re.search(r"\b((?:ssl|sasl|security)(?:\.\w+)+)|property \"([^\"]+)\"", text)
    return ProgramError(
        f"Kafka's client library cannot use {(name[1] or name[2]) if name else 'its settings'}: see {PAGE}"
    )


def _mechanism(config: Config) -> str:
    return config.get("sasl.mechanism") or config.get("sasl.mechanisms") or "GSSAPI"


def _why_no_tls(config: Config) -> str:
    """Look for ourselves: the client library does not tell an unknown authority from a certificate that has expired."""
    try:
        context = ssl.create_default_context(cafile=config.get("ssl.ca.location"), cadata=config.get("ssl.ca.pem"))
        if certificate := config.get("ssl.certificate.location"):
            context.load_cert_chain(
                certificate, config.get("ssl.key.location"), str(config.get("ssl.key.password", ""))
            )
        _handshake(config, context)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == 10:  # OpenSSL's number for "has expired"
            return "its certificate has expired: it has to be renewed there (or this machine's clock is wrong)"
        if error.verify_code in (62, 64):
            return "its certificate is for another host: check KAFKA_BOOTSTRAP_SERVERS"
        return "its certificate is not signed by an authority that we know: set KAFKA_SSL_CA_LOCATION to its CA file"
    except ssl.SSLError as error:
        reason = (error.reason or "").replace("_", " ").lower()
        if "expired" in reason:
            return "our certificate has expired: renew KAFKA_SSL_CERTIFICATE_LOCATION"
        if "certificate" in reason or "unknown ca" in reason:
            return f"it does not take our certificate ({reason}): check KAFKA_SSL_CERTIFICATE_LOCATION"
        if "version number" in reason or "record layer" in reason:
            return "it does not speak TLS: check the port, or set KAFKA_SECURITY_PROTOCOL without SSL"
        return f"{reason or 'TLS failed'}: check the KAFKA_SSL settings"
    except OSError:
        pass
    return "TLS failed: check KAFKA_SSL_CA_LOCATION and the port"


def _handshake(config: Config, context: ssl.SSLContext) -> None:
    """Shake hands with the first bootstrap server that can be reached. Raises OSError, of which SSLError is one."""
    host, _, port = config["bootstrap.servers"].split(",")[0].strip().rpartition(":")
    host = host.rpartition("//")[2].strip("[]")
    with (
        socket.create_connection((host, int(port)), timeout=LOOK_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.settimeout(LOOK_SECONDS)
        connection.sendall(b"\0\0\0\1\0")  # TLS 1.3 refuses our certificate only after the handshake
        connection.recv(1)
