"""Files of client properties, as Kafka's providers offer them, and what Java's clients call otherwise."""

from pathlib import Path

import pytest

from common.errors import ProgramError
from common.kafka.client_properties import read_properties

PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="p=\\"q;";'
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required \\\n    username=u \\\n    password=p;"


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("# mine\n! too\n\nsasl.password = a=b\\c \n", {"sasl.password": "a=b\\c"}),
        (f"sasl.jaas.config={PLAIN}", {"sasl.username": "u", "sasl.password": 'p="q;', "sasl.mechanism": "PLAIN"}),
        (f"sasl.jaas.config={SCRAM}", {"sasl.username": "u", "sasl.password": "p"}),
        (
            f"sasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config={SCRAM}",
            {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "u", "sasl.password": "p"},
        ),
        ("ssl.truststore.type=PEM\nssl.truststore.location=/ca.pem", {"ssl.ca.location": "/ca.pem"}),
        ("ssl.truststore.type=PEM\nssl.truststore.certificates=A\\n\\\nB", {"ssl.ca.pem": "A\nB"}),
        (
            "ssl.keystore.type=PEM\nssl.keystore.location=/me.pem\nssl.key.password=k",
            {"ssl.certificate.location": "/me.pem", "ssl.key.location": "/me.pem", "ssl.key.password": "k"},
        ),
        (
            "ssl.keystore.type=PEM\nssl.keystore.certificate.chain=C\nssl.keystore.key=K",
            {"ssl.certificate.pem": "C", "ssl.key.pem": "K"},
        ),
        ("ssl.keystore.location=/me.p12\nssl.keystore.type=PKCS12", {"ssl.keystore.location": "/me.p12"}),
        ("ssl.endpoint.identification.algorithm=", {"ssl.endpoint.identification.algorithm": "none"}),
        ("socket.timeout.ms=9000", {"socket.timeout.ms": "9000"}),
    ],
)
def test_a_file_is_read_with_the_librarys_names(text: str, properties: dict[str, str], tmp_path: Path):
    path = tmp_path / "client.properties"
    path.write_text(text, encoding="utf-8")
    assert read_properties(path) == properties


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("geheim", "{}: a line has no '='. Each line has to be NAME=VALUE."),
        (
            "sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required geheim=geheim;",
            "{}: sasl.jaas.config cannot be translated for Krb5LoginModule: set librdkafka's own sasl.* properties.",
        ),
        (
            "sasl.jaas.config=geheim",
            "{}: sasl.jaas.config cannot be translated: set librdkafka's own sasl.* properties.",
        ),
        (
            "sasl.jaas.config=x.PlainLoginModule required username=u password=geheim tokenauth=true;",
            "{}: sasl.jaas.config: tokenauth cannot be translated.",
        ),
        (
            "ssl.truststore.location=/geheim.jks",
            '{}: ssl.truststore.location: only PEM can be used: convert it with "openssl pkcs12 -in STORE.p12 '
            '-out STORE.pem -nodes" and set ssl.ca.location.',
        ),
    ],
)
def test_what_cannot_be_used_is_named_without_its_value(text: str, line: str, tmp_path: Path):
    path = tmp_path / "client.properties"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProgramError) as error:
        read_properties(path)
    assert str(error.value) == line.format(path)
    assert "geheim" not in str(error.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path):
    with pytest.raises(
        ProgramError, match=r"^KAFKA_CLIENT_PROPERTIES=.+none cannot be read: No such file or directory\.$"
    ):
        read_properties(tmp_path / "none")
