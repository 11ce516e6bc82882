"""A locked Kafka for tests, started as a user starts one: `python -m common.embedded_kafka --secure`."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.embedded_kafka.broker_settings import JVM_OPTIONS
from common.embedded_kafka.locked import folder_in
from common.programs import Program, free_ports

WAIT_SECONDS = 90.0


class LockedKafka:
    """What it printed, and where its users' files are."""

    def __init__(self, program: Program, servers: str, data: Path) -> None:
        self.program, self.servers, self.folder = program, servers, folder_in(data)
        exports = [line.strip().removeprefix("export ") for line in program.lines if line.startswith("  export ")]
        self.printed = dict(line.split("=", 1) for line in exports)

    def user(self, name: str) -> dict[str, str]:
        """Return what a program sets to be this user."""
        return {"KAFKA_CLIENT_PROPERTIES": str(self.folder / f"{name}.properties")}

    def settings(self, name: str) -> dict[str, str]:
        """Return the same, a variable for each."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": name,
            "KAFKA_SASL_PASSWORD_FILE": str(self.folder / f"{name}.password"),
            "KAFKA_SSL_CA_LOCATION": str(self.folder / "ca.pem"),
        }

    def by_certificate(self, certificate: Path | None) -> dict[str, str]:
        """Return what a program sets to come by the brokers' own door, with a certificate in place of a password."""
        port = json.loads((self.folder.parent / "cluster.json").read_text(encoding="utf-8"))["inner_port"]
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{port}",
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CA_LOCATION": str(self.folder / "ca.pem"),
            "KAFKA_SSL_CERTIFICATE_LOCATION": str(certificate or ""),
        }

    def passwords(self) -> list[str]:
        """Return every secret that it has made."""
        return [path.read_text(encoding="utf-8") for path in self.folder.glob("*.password")]


@contextmanager
def locked_kafka(data: Path) -> Iterator[LockedKafka]:
    """Run one, on a free port, for the length of a `with` block."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "common.embedded_kafka", "--secure", "--port", port, "--data-dir", data]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "IRIS_"))}
    clean |= {name: value for name, value in os.environ.items() if name == JVM_OPTIONS}
    with Program(command, env=clean) as program:
        program.wait_for_line("Kafka is ready: ", WAIT_SECONDS)
        yield LockedKafka(program, f"localhost:{port}", data)
