"""What happens before a lone broker starts again after a crash."""

from pathlib import Path

from common.embedded_kafka.broker_settings import broker_settings, node_settings
from common.embedded_kafka.fencing import controller_properties, has_fenced, metadata_bytes, was_killed


def test_the_controller_alone_is_the_same_node_without_anything_for_clients(tmp_path: Path):
    settings = broker_settings(1) | node_settings(1, 9092, {1: 9093}, tmp_path)
    text = controller_properties("\n".join(f"{name}={value}" for name, value in settings.items()))
    alone = dict(line.split("=", 1) for line in text.splitlines())
    assert (alone["process.roles"], alone["listeners"]) == ("controller", "CONTROLLER://127.0.0.1:9093")
    assert not {"advertised.listeners", "inter.broker.listener.name"} & alone.keys()
    assert int(alone["broker.heartbeat.interval.ms"]) * 2 <= int(alone["broker.session.timeout.ms"])
    for same in ("node.id", "log.dirs", "controller.quorum.voters", "controller.listener.names"):
        assert alone[same] == settings[same]


def test_a_folder_tells_whether_its_broker_ended_in_order(tmp_path: Path):
    assert not was_killed(tmp_path)
    (tmp_path / "meta.properties").touch()  # formatted, never started
    assert not was_killed(tmp_path)
    (tmp_path / "__cluster_metadata-0").mkdir()
    assert was_killed(tmp_path)
    (tmp_path / ".kafka_cleanshutdown").touch()
    assert not was_killed(tmp_path)


def test_what_a_controller_has_declared_and_written_is_read_from_its_files(tmp_path: Path):
    log, metadata = tmp_path / "kafka.log", tmp_path / "__cluster_metadata-0"
    assert not has_fenced(log) and metadata_bytes(tmp_path) == 0
    log.write_text("INFO [QuorumController id=1] Fencing broker 1 at epoch 11 because its session has timed out.\n")
    metadata.mkdir()
    (metadata / "00000000000000000000.log").write_bytes(b"12345")
    assert has_fenced(log) and metadata_bytes(tmp_path) == 5
