"""The files of a cluster: who it is, each broker's settings, and the data folders, which Kafka formats."""

import json
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from common.programs import Program, ProgramFailed

from .broker_settings import LOG4J, QUICK_FLAGS, broker_settings, node_settings, speed_flags
from .jars import KafkaStartError, one_line
from .locked import Lock

FORMAT_SECONDS = 60.0


def folder_of(data_dir: Path, number: int) -> Path:
    """Return the folder of a broker."""
    return data_dir / f"broker-{number}"


def write_cluster(
    data_dir: Path,
    ports: Mapping[int, int],
    controllers: Mapping[int, int],
    servers: str,
    lock: Lock | None,
    inner: Mapping[int, int],
) -> str:
    """Write each broker's settings; return the cluster's id.

    `ports` and `controllers` have each broker's port for clients and for its controller, `inner` that for other brokers
    where there is a lock. They may change from one start to the next, the cluster's id must not. `servers` is the
    address for clients.
    """
    state = data_dir / "cluster.json"
    try:
        known = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}
        count, cluster_id = known.get("brokers", len(ports)), known.get("cluster_id", _new_cluster_id())
    except (ValueError, AttributeError):
        raise KafkaStartError(f"{state} is damaged: delete the folder {data_dir}, or use another.") from None
    if count != len(ports):
        raise KafkaStartError(f"{data_dir} holds the data of --brokers {count}: use another --data-dir.")
    if known and ("inner_port" in known) != (lock is not None):
        how = "without" if lock else "with"
        raise KafkaStartError(f"{data_dir} holds the data of a Kafka {how} --secure: use another --data-dir.")
    new = state.with_suffix(".new")
    known = {"brokers": count, "cluster_id": cluster_id, "bootstrap_servers": servers}
    known |= {"inner_port": inner[min(inner)]} if lock else {}
    new.write_text(json.dumps(known), encoding="utf-8")
    new.replace(state)
    for number, port in ports.items():
        folder = folder_of(data_dir, number)
        folder.mkdir(exist_ok=True)
        (folder / "log4j2.properties").write_text(LOG4J.format(folder=folder.as_posix()), encoding="utf-8")
        settings = broker_settings(len(ports)) | node_settings(number, port, dict(controllers), folder / "data")
        settings = lock.settings(settings, inner[number]) if lock else settings
        lines = [f"{name}={value}" for name, value in settings.items()]
        (folder / "server.properties").write_text("\n".join(lines), encoding="utf-8")
    return cluster_id


def format_data(folders: list[Path], cluster_id: str, java: str, class_path: str, more: Sequence[str] = ()) -> None:
    """Make each broker's data folder a Kafka one, unless it is one: that takes Java a second.

    `more` are further words for Kafka's tool.

    Raises:
        KafkaStartError: a folder cannot be formatted, or it takes too long.
    """
    tool = [java, *speed_flags(QUICK_FLAGS), "-cp", class_path, "kafka.tools.StorageTool", "format"]
    options = ["--ignore-formatted", "--cluster-id", cluster_id, *more, "--config"]
    with ExitStack() as stack:
        programs = [
            stack.enter_context(Program([*tool, *options, folder / "server.properties"]))
            for folder in folders
            if not (folder / "data" / "meta.properties").exists()
        ]
        for program in programs:
            try:
                code = program.wait(FORMAT_SECONDS)
            except ProgramFailed:
                raise KafkaStartError(f"Java did not format {folders[0].parent} in {FORMAT_SECONDS:.0f} s.") from None
            if code:
                why = one_line(program.output + program.errors)
                raise KafkaStartError(f"{folders[0].parent} cannot be formatted: {why}")


def _new_cluster_id() -> str:
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
