"""How a client proves who it is, and checks whom it talks to: from the settings and from a file of client properties.

With no setting at all this is empty, as a Kafka of one's own machine asks for nothing. Where a name stands in a
variable and in the file, the variable counts.
"""

from pathlib import Path
from typing import Any

from common.errors import ProgramError
from common.settings import Settings, load_settings

from .client_properties import Properties, read_properties

PAGE = "5_task_queue/HOSTED_KAFKA.md"
BY_PASSWORD = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
SECRETS = ("password", "secret", ".key.pem", "sasl.oauthbearer.config")  # what a name of a secret contains

# What the programs' promises stand on: a file may say the same, not otherwise.
FIXED = {
    "acks": ("all", "-1"),
    "request.required.acks": ("all", "-1"),
    "enable.idempotence": ("true",),
    "enable.auto.commit": ("false",),
    "isolation.level": ("read_committed",),
    "auto.offset.reset": ("earliest",),
}
OURS = {
    *("group.id", "transactional.id", "transaction.timeout.ms", "message.timeout.ms", "delivery.timeout.ms"),
    *(
        "linger.ms",
        "queue.buffering.max.ms",
        "batch.size",
        "message.max.bytes",
        "log_level",
        "enable.auto.offset.store",
    ),
    *("partition.assignment.strategy", "enable.partition.eof"),
}
WITHOUT_A_DOT = {"acks", "retries", "debug"}  # all other such names are callbacks of the Python library


class Secret(str):
    """Text that does not show itself: its `repr` is three stars, also in a dictionary's."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def security_config() -> dict[str, Any]:
    """Return the client properties that the settings and their file say, without the bootstrap servers' default.

    Raises:
        ProgramError: one cannot be used; the message names it and says what to do.
    """
    settings = load_settings()
    file = settings.kafka_client_properties
    properties = read_properties(file) if file else {}
    _refuse_ours(properties, file)
    properties |= _from_variables(settings)
    if "ssl.certificate.location" in properties:  # one PEM file can hold both
        properties.setdefault("ssl.key.location", properties["ssl.certificate.location"])
    _check(properties)
    return {name: Secret(value) if is_secret(name) else value for name, value in properties.items()}


def is_secret(name: str) -> bool:
    """Return whether a property's value must not be shown."""
    return any(part in name for part in SECRETS)


def _from_variables(settings: Settings) -> Properties:
    password = _either(settings.kafka_sasl_password, settings.kafka_sasl_password_file, "KAFKA_SASL_PASSWORD")
    key_password = _either(
        settings.kafka_ssl_key_password, settings.kafka_ssl_key_password_file, "KAFKA_SSL_KEY_PASSWORD"
    )
    values = {
        "security.protocol": settings.kafka_security_protocol,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": password,
        "ssl.ca.location": settings.kafka_ssl_ca_location,
        "ssl.certificate.location": settings.kafka_ssl_certificate_location,
        "ssl.key.location": settings.kafka_ssl_key_location,
        "ssl.key.password": key_password,
    }
    if "kafka_bootstrap_servers" in settings.model_fields_set:
        values["bootstrap.servers"] = settings.kafka_bootstrap_servers
    return {name: str(value) for name, value in values.items() if value is not None}


def _either(secret: Any, file: Path | None, name: str) -> str | None:
    """Return a secret from its variable or from the file that another variable names."""
    if file is None:
        return None if secret is None else secret.get_secret_value()
    if secret is not None:
        raise ProgramError(f"Both {name} and {name}_FILE are set: set one of them.")
    try:
        text = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise ProgramError(f"{name}_FILE={file} cannot be read: {why}.") from None
    if not text:
        raise ProgramError(f"{name}_FILE={file} is empty.")
    return text


def _refuse_ours(properties: Properties, file: Path | None) -> None:
    for name, value in properties.items():
        same = value.lower() in FIXED.get(name, ())
        python_only = "." not in name and name not in WITHOUT_A_DOT
        if (name in FIXED and not same) or name in OURS:
            raise ProgramError(
                f"{file}: {name} is the programs' own to set, their promises stand on it: delete the line."
            )
        if python_only:
            raise ProgramError(f"{file}: {name!r} is no property of librdkafka.")


def _check(properties: Properties) -> None:
    """Refuse what the client library would take without a word, or refuse in words that help nobody."""
    protocol = properties.get("security.protocol", "PLAINTEXT").upper()
    for name in properties:
        needed = {"sasl.": "SASL", "ssl.": "SSL"}.get(name[: name.find(".") + 1])
        if needed and needed not in protocol:
            raise ProgramError(
                f"{name} is set, but not used with KAFKA_SECURITY_PROTOCOL={protocol}: "
                "set SASL_SSL (a password, by TLS) or SSL (a certificate)."
            )
    for name, value in properties.items():
        if name.startswith("ssl.") and name.endswith(".location"):
            try:
                Path(value).open("rb").close()
            except OSError as error:
                if not (name == "ssl.ca.location" and Path(value).is_dir()):  # a folder of authorities is fine
                    raise ProgramError(f"{_variable(name)}={value} cannot be read: {error.strerror}.") from None
    if "SASL" in protocol:
        mechanism = properties.get("sasl.mechanism") or properties.get("sasl.mechanisms")
        if not mechanism:
            raise ProgramError(
                f"Set KAFKA_SASL_MECHANISM as well: {', '.join(BY_PASSWORD)}, or what your Kafka asks for."
            )
        for name in ("sasl.username", "sasl.password"):
            if mechanism.upper() in BY_PASSWORD and not properties.get(name):
                raise ProgramError(f"Set {_variable(name)} as well: {mechanism} needs it.")


def _variable(name: str) -> str:
    return "KAFKA_" + name.upper().replace(".", "_")
