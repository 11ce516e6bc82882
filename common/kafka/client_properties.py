"""Reads a file of client properties, `NAME=VALUE` per line, as any Kafka provider offers one for download.

The names are those of librdkafka, the client library below us. What Java's clients call otherwise is translated where
that is possible: `sasl.jaas.config` with a name and a password, key and trust stores in PEM. A name that nobody knows
is refused by the library itself, see `connect()`; values are taken as they stand, and no error message shows one.
"""

import re
from collections.abc import Callable
from pathlib import Path

from common.errors import ProgramError

Properties = dict[str, str]

PAIR = r'(\w+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]+)'
JAAS = re.compile(rf"\s*([\w.$]+)\s+\w+((?:\s+{PAIR})*)\s*;\s*")
BY_PASSWORD = {"PlainLoginModule": "PLAIN", "ScramLoginModule": ""}  # "": the file says which SCRAM
PEM_ONLY = 'only PEM can be used: convert it with "openssl pkcs12 -in STORE.p12 -out STORE.pem -nodes" and set {}'


def read_properties(path: Path) -> Properties:
    """Return what stands in a file, with librdkafka's names.

    Raises:
        ProgramError: it cannot be read, or something in it cannot be used; the message names it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise ProgramError(f"KAFKA_CLIENT_PROPERTIES={path} cannot be read: {why}.") from None
    properties: Properties = {}
    for line in _lines(text):
        name, equals, value = line.partition("=")
        if not equals:  # not the line itself: it may be a part of a secret
            raise ProgramError(f"{path}: a line has no '='. Each line has to be NAME=VALUE.")
        properties[name.strip()] = value.strip()
    try:
        return translate(properties)
    except ValueError as error:
        raise ProgramError(f"{path}: {error}.") from None


def _lines(text: str) -> list[str]:
    """Return the lines with something in them; a backslash at the end goes on in the next line."""
    text = re.sub(r"(?<!\\)((?:\\\\)*)\\\r?\n[ \t]*", r"\1", text)
    return [line for line in map(str.strip, text.splitlines()) if line and line[0] not in "#!"]


def translate(properties: Properties) -> Properties:
    """Return properties with librdkafka's names in place of Java's.

    Raises:
        ValueError: one cannot be translated; the message names it, and what to do.
    """
    found = dict(properties)
    for name, translated in JAVA.items():
        if name in found:
            value = found.pop(name)
            new = translated(value, properties)
            found |= {one: text for one, text in new.items() if one == name or one not in properties}
    return found


def _jaas(value: str, _: Properties) -> Properties:
    """Return the name and the password of a login module.

    >>> _jaas('org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="p";', {})
    {'sasl.username': 'u', 'sasl.password': 'p', 'sasl.mechanism': 'PLAIN'}
    """
    login = JAAS.fullmatch(value)
    module = login[1].rpartition(".")[2] if login else ""
    if not login or module not in BY_PASSWORD:
        raise ValueError(
            "sasl.jaas.config cannot be translated"
            + (f" for {module}" if module else "")
            + ": set librdkafka's own sasl.* properties"
        )
    options = {name: _unquoted(text) for name, text in re.findall(PAIR, login[2])}
    if unknown := options.keys() - {"username", "password"}:
        raise ValueError(f"sasl.jaas.config: {', '.join(sorted(unknown))} cannot be translated")
    mechanism = {"sasl.mechanism": BY_PASSWORD[module]} if BY_PASSWORD[module] else {}
    return {f"sasl.{name}": text for name, text in options.items()} | mechanism


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[:1] == '"' else text


def _pem(*names: str) -> Callable[[str, Properties], Properties]:
    """A value that is PEM itself; Java's files write its ends of lines as \\n."""
    return lambda value, _: dict.fromkeys(names, value.replace("\\n", "\n"))


def _trust_store(value: str, others: Properties) -> Properties:
    if others.get("ssl.truststore.type", "JKS").upper() != "PEM":
        raise ValueError("ssl.truststore.location: " + PEM_ONLY.format("ssl.ca.location"))
    return {"ssl.ca.location": value}


def _key_store(value: str, others: Properties) -> Properties:
    kind = others.get("ssl.keystore.type", "PKCS12").upper()
    if kind == "PEM":
        return {"ssl.certificate.location": value, "ssl.key.location": value}
    if kind == "PKCS12":  # the library reads it under the same name
        return {"ssl.keystore.location": value}
    raise ValueError("ssl.keystore.location: " + PEM_ONLY.format("ssl.certificate.location and ssl.key.location"))


def _nothing(_: str, __: Properties) -> Properties:
    return {}


JAVA: dict[str, Callable[[str, Properties], Properties]] = {
    "sasl.jaas.config": _jaas,
    "ssl.truststore.location": _trust_store,
    "ssl.truststore.certificates": _pem("ssl.ca.pem"),
    "ssl.truststore.type": _nothing,
    "ssl.keystore.location": _key_store,
    "ssl.keystore.certificate.chain": _pem("ssl.certificate.pem"),
    "ssl.keystore.key": _pem("ssl.key.pem"),
    "ssl.keystore.type": _nothing,
    # Java writes an empty value for "none", and the library takes none for "none" alone
    "ssl.endpoint.identification.algorithm": lambda value, _: {
        "ssl.endpoint.identification.algorithm": value.lower() or "none"
    },
}
