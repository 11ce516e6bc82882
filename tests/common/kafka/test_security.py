"""What the settings for a hosted or locked Kafka become, what is refused, and that no secret shows itself."""

from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer

from common.errors import ProgramError
from common.kafka.connection import base_config, connect, consumer_config, producer_config
from common.kafka.security import Secret, security_config
from common.settings import Settings, load_settings

BY_PASSWORD = {
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": "u",
    "KAFKA_SASL_PASSWORD": "geheim",
}


@pytest.fixture(autouse=True)
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for field in Settings.model_fields.values():
        if isinstance(field.validation_alias, str):
            monkeypatch.delenv(field.validation_alias, raising=False)
    return monkeypatch


def give(env: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        env.setenv(name, value)


def test_without_settings_nothing_is_added(env: pytest.MonkeyPatch):
    assert security_config() == {}
    give(env, dict.fromkeys(BY_PASSWORD, ""))  # as a Compose file passes on what is not set
    assert security_config() == {}
    assert base_config()["bootstrap.servers"] == "localhost:9092"


def test_variables_count_more_than_the_file(env: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "client.properties"
    file.write_text("bootstrap.servers=a:1\nsasl.username=other\nsocket.timeout.ms=9000\nclient.id=me\nacks=all\n")
    give(env, BY_PASSWORD | {"KAFKA_CLIENT_PROPERTIES": str(file)})
    config = base_config()
    assert (config["bootstrap.servers"], config["sasl.username"], config["socket.timeout.ms"]) == ("a:1", "u", "9000")
    env.setenv("KAFKA_BOOTSTRAP_SERVERS", "b:2")
    assert base_config()["bootstrap.servers"] == "b:2"


def test_a_secret_from_a_file_is_its_text_without_the_end_of_the_line(env: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "password"
    file.write_text(" geheim \r\n")
    del (given := dict(BY_PASSWORD))["KAFKA_SASL_PASSWORD"]
    give(env, given | {"KAFKA_SASL_PASSWORD_FILE": str(file)})
    assert security_config()["sasl.password"] == " geheim "


def test_no_secret_shows_itself(env: pytest.MonkeyPatch):
    give(env, BY_PASSWORD)
    for shown in (load_settings(), base_config(), producer_config(), consumer_config("g")):
        assert "geheim" not in repr(shown) + str(shown)
    assert repr(Secret("geheim")) == "'***'"
    Producer(producer_config())  # the library takes the text as it is
    with pytest.raises(ProgramError) as error:
        env.setenv("KAFKA_SASL_MECHANISM", "geheim2")
        connect()
    assert "geheim'" not in str(error.value)


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL=TLS: Input should be 'PLAINTEXT', 'SSL', .+"),
        ({"KAFKA_SASL_USERNAME": "u"}, "sasl.username is set, but not used with KAFKA_SECURITY_PROTOCOL=PLAINTEXT: .+"),
        (BY_PASSWORD | {"KAFKA_SECURITY_PROTOCOL": "SSL"}, "sasl.mechanism is set, but not used with .+=SSL: .+"),
        (BY_PASSWORD | {"KAFKA_SASL_MECHANISM": ""}, "Set KAFKA_SASL_MECHANISM as well: PLAIN, .+"),
        (BY_PASSWORD | {"KAFKA_SASL_PASSWORD": ""}, "Set KAFKA_SASL_PASSWORD as well: PLAIN needs it."),
        (
            BY_PASSWORD | {"KAFKA_SASL_PASSWORD_FILE": "x"},
            "Both KAFKA_SASL_PASSWORD and KAFKA_SASL_PASSWORD_FILE are .+",
        ),
        (
            BY_PASSWORD | {"KAFKA_SASL_PASSWORD": "", "KAFKA_SASL_PASSWORD_FILE": "/none"},
            "KAFKA_SASL_PASSWORD_FILE=/none cannot be read: No such file or directory.",
        ),
        (
            BY_PASSWORD | {"KAFKA_SASL_PASSWORD": "", "KAFKA_SASL_PASSWORD_FILE": "/dev/null"},
            "KAFKA_SASL_PASSWORD_FILE=/dev/null is empty.",
        ),
        (
            BY_PASSWORD | {"KAFKA_SSL_CA_LOCATION": "/none"},
            "KAFKA_SSL_CA_LOCATION=/none cannot be read: No such file .+",
        ),
        ({"IRIS_KAFKA_PREFIX": "a b"}, "IRIS_KAFKA_PREFIX=a b: .+"),
    ],
)
def test_what_cannot_work_is_one_line(variables: dict[str, str], line: str, env: pytest.MonkeyPatch):
    give(env, variables)
    with pytest.raises(ProgramError, match=f"^{line}$"):
        security_config()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("acks=1", "{}: acks is the programs' own to set, their promises stand on it: delete the line."),
        ("group.id=g", "{}: group.id is the programs' own to set, their promises stand on it: delete the line."),
        ("on_commit=x", "{}: 'on_commit' is no property of librdkafka."),
        ("key.serializer=geheim", "'key.serializer' in KAFKA_CLIENT_PROPERTIES is no property of librdkafka."),
        ("socket.timeout.ms=geheim", "Kafka's client library cannot use socket.timeout.ms: see {page}"),
    ],
)
def test_a_property_that_cannot_be_used_is_named(text: str, line: str, env: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "client.properties"
    file.write_text(text)
    env.setenv("KAFKA_CLIENT_PROPERTIES", str(file))
    with pytest.raises(ProgramError) as error:
        connect()
    assert str(error.value) == line.format(file, page="5_task_queue/HOSTED_KAFKA.md")


def test_the_file_of_a_provider_with_the_classic_protocols_settings_is_taken(env: pytest.MonkeyPatch, tmp_path: Path):
    file = tmp_path / "client.properties"
    file.write_text("session.timeout.ms=45000\n")
    env.setenv("KAFKA_CLIENT_PROPERTIES", str(file))
    new = consumer_config("g")
    assert new["group.protocol"] == "consumer" and "session.timeout.ms" not in new
    file.write_text("session.timeout.ms=45000\ngroup.protocol=classic\n")
    old = consumer_config("g")
    assert (old["group.protocol"], old["session.timeout.ms"]) == ("classic", "45000")
    assert old["partition.assignment.strategy"] == "cooperative-sticky"
    for config in (new, old):
        try:
            Consumer(config).close()
        except KafkaException as error:
            pytest.fail(error.args[0].str())
