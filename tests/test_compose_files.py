"""The Compose files are valid, give the embedded broker's settings, and the image's own set-up program accepts them.

The image that all our programs share has what they need. That they really run in it: `tests/containers`.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from common.embedded_kafka.broker_settings import HEAP_ONE_BROKER, broker_settings, node_settings
from common.embedded_kafka.jars import KAFKA, class_path, java
from common.settings import ROOT, RUN_DIR
from tests.java_cache import java_flags

FILES = [ROOT / stage / "docker-compose.yml" for stage in ("4_message_queue", "5_task_queue")]
SERVICES = ROOT / "3_client_server" / "services" / "docker-compose.yml"
ALL = ROOT / "compose.yaml"
# What differs: a container has another network, another disk, and no fixed ports to find.
DIFFERENT = {
    "listeners",
    "advertised.listeners",
    "listener.security.protocol.map",
    "controller.quorum.voters",
    "log.dirs",
}
LOG4J = "Configuration: {Loggers: {Root: {level: INFO}, Logger: [{name: kafka, level: INFO}]}}"
both = pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)


def services(path: Path) -> dict:
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))["services"]


def kafka_service(path: Path) -> dict:
    return services(path)["kafka"]


def as_property(variable: str) -> str:
    return variable.removeprefix("KAFKA_").lower().replace("_", ".")


def test_the_compose_files_follow_the_compose_specification() -> None:
    files = map(str, [*FILES, SERVICES, ALL])
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


@both
def test_a_compose_file_pins_the_version_that_is_embedded(path: Path) -> None:
    assert kafka_service(path)["image"] == f"apache/kafka:{KAFKA.rpartition(':')[2]}"


@both
def test_a_compose_file_has_the_embedded_broker_s_settings_and_no_others(path: Path, tmp_path: Path) -> None:
    environment = dict(kafka_service(path)["environment"])
    assert environment.pop("KAFKA_HEAP_OPTS") == HEAP_ONE_BROKER
    composed = {as_property(variable): value for variable, value in environment.items()}
    embedded = broker_settings(1) | node_settings(1, 9092, {1: 9093}, tmp_path)
    assert DIFFERENT <= composed.keys()
    assert {name: composed[name] for name in composed if name not in DIFFERENT} == {
        name: embedded[name] for name in embedded if name not in DIFFERENT
    }


@both
def test_the_volume_is_where_kafka_writes(path: Path) -> None:
    service = kafka_service(path)
    assert service["volumes"] == [f"kafka-data:{service['environment']['KAFKA_LOG_DIRS']}"]


def test_the_image_s_set_up_program_formats_with_these_variables(tmp_path: Path) -> None:
    for name in ("default", "mounted", "final"):
        (tmp_path / name).mkdir()
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (tmp_path / "default" / name).write_text(LOG4J, encoding="utf-8")
    variables = kafka_service(FILES[0])["environment"] | {
        "KAFKA_LOG_DIRS": str(tmp_path / "data"),
        "CLUSTER_ID": "5L6g3nShT-eMCtK--X86sw",  # the image's default
    }
    jars = os.pathsep.join(class_path(RUN_DIR))
    program = [java(), *java_flags(), "-cp", jars, "kafka.docker.KafkaDockerWrapper", "setup"]
    folders = [f"--{name}-configs-dir={tmp_path / name}" for name in ("default", "mounted", "final")]
    result = subprocess.run(
        [*program, *folders], env=os.environ | variables, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr
    written = (tmp_path / "final" / "server.properties").read_text(encoding="utf-8").splitlines()
    assert "transaction.abort.timed.out.transaction.cleanup.interval.ms=1000" in written
    assert (tmp_path / "data" / "meta.properties").exists()


def test_all_of_stage_5_runs_on_the_broker_of_its_own_file_and_the_services_are_those_of_theirs() -> None:
    whole = services(ALL)
    assert whole["kafka"]["extends"] == {"file": FILES[1].relative_to(ROOT).as_posix(), "service": "kafka"}
    for name in ("model", "gateway"):
        assert whole[name]["extends"] == {"file": SERVICES.relative_to(ROOT).as_posix(), "service": name}
        assert whole[name]["profiles"] == ["services"]
    inside = re.search(r"PLAINTEXT://(kafka:\d+)", kafka_service(FILES[1])["environment"]["KAFKA_ADVERTISED_LISTENERS"])
    assert inside
    assert whole["worker"]["environment"]["KAFKA_BOOTSTRAP_SERVERS"] == inside[1]


def test_our_containers_may_do_little_and_are_looked_at_by_what_they_get_done() -> None:
    ours = {name: one for name, one in services(ALL).items() if one.get("image") == "iris-classifier"}
    assert ours.keys() == {"topics", "worker", "persister", "persister-postgres"}
    for name, one in ours.items():
        assert one["read_only"] is True and one["cap_drop"] == ["ALL"], name
        assert one["restart"] == "on-failure", name
        assert one["tmpfs"] == ["/tmp", "/app/.run"], name
        assert name == "topics" or "--check" in " ".join(one["healthcheck"]["test"]), name
    assert "ports" not in ours["worker"]


def test_the_image_holds_what_the_containers_run_and_ignores_nothing_of_it() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    sources = [source for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for source in line.split()]
    allowed = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"]
    assert {f"!{source}" for source in sources} == set(allowed) - {"!/README.md"}
    assert all((ROOT / source).exists() for source in sources)
    modules = re.findall(r"python[,]? -m[,]? (\w+(?:\.\w+)+)", text + ALL.read_text(encoding="utf-8"))
    assert len(modules) >= 7
    for module in modules:
        assert module.partition(".")[0] in sources
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
