"""What it means when Kafka does not let a client in, or forbids something: one line, with what to do."""

import re
import socket
import ssl
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from common.errors import ProgramError

from .security import PAGE

LOOK_SECONDS = 2.0
NO_TLS = "it does not speak TLS: check the port, or set KAFKA_SECURITY_PROTOCOL without SSL"
EXPIRED, OTHER_HOST = 10, (62, 64)  # OpenSSL's numbers for what is wrong with a certificate
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
        why = _why_no_tls(config) or "TLS failed: check KAFKA_SSL_CA_LOCATION and the port"
        return f"No safe connection to Kafka at {servers}: {why}."
    return None


def does_not_answer(config: Config) -> str | None:
    """Return why a Kafka that can be reached does not answer: one of us speaks TLS and the other does not, or worse."""
    servers = config["bootstrap.servers"]
    if "SSL" in config.get("security.protocol", "PLAINTEXT").upper():
        why = _why_no_tls(config)
        return f"No safe connection to Kafka at {servers}: {why}." if why else None
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only to see whether this is TLS
    try:
        _handshake(config, context)
    except ssl.SSLError as error:
        if "ALERT" not in (error.reason or ""):
            return None
    except OSError:
        return None
    return f"Kafka at {servers} speaks TLS: set KAFKA_SECURITY_PROTOCOL to SASL_SSL or SSL. More settings: {PAGE}"


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


def _why_no_tls(config: Config) -> str | None:
    """Look for ourselves: the client library does not tell an unknown authority from a certificate that has expired."""
    certificate, password = config.get("ssl.certificate.location"), str(config.get("ssl.key.password", ""))
    try:
        context = ssl.create_default_context(cafile=config.get("ssl.ca.location"), cadata=config.get("ssl.ca.pem"))
        if certificate:
            context.load_cert_chain(certificate, config.get("ssl.key.location"), password)
        _handshake(config, context)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == EXPIRED:
            return "its certificate has expired: it has to be renewed there (or this machine's clock is wrong)"
        if error.verify_code in OTHER_HOST:
            return "its certificate is for another host: check KAFKA_BOOTSTRAP_SERVERS"
        return "its certificate is not signed by an authority that we know: set KAFKA_SSL_CA_LOCATION to its CA file"
    except (ssl.SSLEOFError, ConnectionResetError):  # it is not interested in a handshake
        return NO_TLS
    except ssl.SSLError as error:
        reason = (error.reason or "").replace("_", " ").lower()
        if certificate and _has_expired(certificate, config.get("ssl.key.location"), password):
            return "our certificate has expired: renew KAFKA_SSL_CERTIFICATE_LOCATION"
        if "certificate" in reason or "unknown ca" in reason:
            ours = "our certificate" if certificate else "a client without a certificate"
            return f"it does not take {ours}: check KAFKA_SSL_CERTIFICATE_LOCATION"
        if "version number" in reason or "record layer" in reason:
            return NO_TLS
        return f"{reason or 'TLS failed'}: check the KAFKA_SSL settings"
    except OSError:
        pass
    return None


def _has_expired(certificate: str, key: str | None, password: str) -> bool:
    """Return whether a certificate of ours has expired: we show it to ourselves, as a broker's alert rarely says so."""
    shows, sees = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile=certificate)
    shows.load_cert_chain(certificate, key, password)
    sees.check_hostname = False
    sees.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it vouches for itself
    to_us, to_them = ssl.MemoryBIO(), ssl.MemoryBIO()
    server, client = shows.wrap_bio(to_us, to_them, server_side=True), sees.wrap_bio(to_them, to_us)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error.verify_code == EXPIRED
    return False


def _handshake(config: Config, context: ssl.SSLContext) -> None:
    """Shake hands with the first bootstrap server that can be reached. Raises OSError, of which SSLError is one."""
    address = re.fullmatch(r"(?:\w+://)?\[?(.+?)\]?:(\d+)", config["bootstrap.servers"].split(",")[0].strip())
    if not address:
        raise OSError("no address")
    host, port = address[1], int(address[2])
    with (
        socket.create_connection((host, port), timeout=LOOK_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.settimeout(LOOK_SECONDS)
        connection.sendall(b"\0\0\0\1\0")  # TLS 1.3 refuses our certificate only after the handshake
        connection.recv(1)
