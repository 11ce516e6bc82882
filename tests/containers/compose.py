"""A Compose project as the tests run it: with podman or Docker, under a name of its own, from copies of our files."""

import json
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from common.programs import free_ports, until
from common.settings import ROOT

IMAGES = {  # what our own image and the Compose files begin with
    "python": "docker.io/library/python:3.13-slim",
    "kafka": "docker.io/apache/kafka:4.3.1",
    "postgres": "docker.io/library/postgres:17",
}
OURS = "iris-classifier"
FILES = ("compose.yaml", "5_task_queue/docker-compose.yml", "3_client_server/services/docker-compose.yml")
BUILD_SECONDS, UP_SECONDS = 1200.0, 600.0  # on a busy machine
CALL_SECONDS = 180.0
# Docker uses it; podman 4.3 does not take it.
START_INTERVAL = re.compile(r"^ *start_interval: .*\n", re.MULTILINE)


def engine() -> tuple[str, list[str]]:
    """Return the engine's command and that of its Compose.

    Raises:
        LookupError: neither can run here; the message says why.
    """
    reasons = []
    for name, compose in (("podman", ["podman-compose"]), ("docker", ["docker", "compose"])):
        if not shutil.which(name) or not shutil.which(compose[0]):
            reasons.append(f"{' and '.join(dict.fromkeys([name, compose[0]]))}: not installed")
        elif call(name, "info", check=False).returncode or call(*compose, "version", check=False).returncode:
            reasons.append(f"{name}: installed, but does not run")
        else:
            return name, compose
    raise LookupError("; ".join(reasons))


def missing_images(name: str) -> list[str]:
    """Return the images of others that are not on this machine."""
    return [image for image in IMAGES.values() if call(name, "image", "inspect", image, check=False).returncode]


def call(*words: object, check: bool = True, seconds: float = CALL_SECONDS) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end; its error output comes with the error."""
    command = [str(word) for word in words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


class Compose:
    """One project, for the length of a `with` block: its containers, networks and volumes are removed at the end."""

    def __init__(self, folder: Path, *profiles: str, **variables: str) -> None:
        self.engine, self._compose = engine()
        self.name = f"iris-test-{uuid.uuid4().hex[:8]}"
        kafka, gateway = free_ports(2)
        self.servers, self.gateway = f"127.0.0.1:{kafka}", f"http://127.0.0.1:{gateway}"
        self.variables = {"IRIS_KAFKA_PORT": str(kafka), "IRIS_GATEWAY_PORT": str(gateway)} | variables
        for file in FILES:
            text = (ROOT / file).read_text(encoding="utf-8")
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(START_INTERVAL.sub("", text) if self.engine == "podman" else text)
        self._options = ["-f", str(folder / FILES[0]), "-p", self.name]
        self._options += [word for profile in profiles for word in ("--profile", profile)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for _turn in range(2):  # podman-compose forgets what `--scale` has added; Kafka goes after those that need it
            names = call(self.engine, "ps", "--all", "--format", "{{.Names}}").stdout.split()
            if mine := [name for name in names if name.startswith(self.name)]:
                call(self.engine, "rm", "--force", *mine, check=False)
        self.compose("down", "--volumes")

    def compose(self, *words: object) -> str:
        """Run a command of Compose."""
        command = [*self._compose, *self._options, *map(str, words)]
        done = subprocess.run(
            command, env=os.environ | self.variables, capture_output=True, text=True, timeout=UP_SECONDS
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def up(self, *words: object) -> None:
        """Start the project in the background, with our image as it was built."""
        self.compose("up", "-d", "--no-build", *words)

    def containers(self, service: str) -> list[str]:
        """Return the names of a service's containers, ended ones too, in the order of their numbers."""
        names = call(self.engine, "ps", "--all", "--format", "{{.Names}}").stdout.split()
        pattern = re.compile(rf"{self.name}[-_]{service}[-_](\d+)")
        found = {int(match[1]): name for name in names if (match := pattern.fullmatch(name))}
        return [found[number] for number in sorted(found)]

    def do(self, command: str, *words: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command of the engine: kill, pause, network disconnect, exec ..."""
        return call(self.engine, *command.split(), *words, check=check)

    def execute(self, container: str, command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a shell command in a container."""
        return self.do("exec", container, "sh", "-c", command, check=check)

    # --- what happens to a container ---

    def restart_after_kill(self, container: str) -> None:
        """Kill all of a container with SIGKILL, and start it again: no engine does so after a kill from outside."""
        self.do("kill", container)
        until(lambda: self.state(container)["Status"] == "exited", CALL_SECONDS, f"{container} has ended")
        self.do("start", container)

    def hold(self, container: str, seconds: float) -> None:
        """Freeze a container for some time: its connections stay open and nothing answers."""
        self.do("pause", container)
        time.sleep(seconds)
        self.do("unpause", container)

    def cut_off(self, container: str, seconds: float | None = None) -> None:
        """Take a container out of its network `queue`, and back in after some time, or never."""
        self.do("network disconnect", f"{self.name}_queue", container)
        if seconds is not None:
            time.sleep(seconds)
            self.reconnect(container)

    def reconnect(self, container: str) -> None:
        """Put a container back into the network `queue`, where it is found by its service's name."""
        service = re.split(r"[-_]", container.removeprefix(self.name))[1]
        self.do("network connect", "--alias", service, f"{self.name}_queue", container)

    # --- what is asked of it ---

    def state(self, container: str) -> dict:
        """Return what the engine knows about a container's process."""
        return json.loads(self.do("inspect", container).stdout)[0]["State"]

    def logs(self, container: str) -> str:
        """Return all that a container has printed."""
        done = self.do("logs", container)
        return done.stdout + done.stderr

    def is_healthy(self, container: str) -> bool:
        """Return what the container's health check says now."""
        if self.engine == "podman":  # which makes no checks by itself without systemd
            return self.do("healthcheck run", container, check=False).returncode == 0
        return self.state(container)["Health"]["Status"] == "healthy"

    def wait_until_healthy(self, containers: Iterable[str], seconds: float = UP_SECONDS) -> None:
        """Wait until the health checks of these containers say so."""
        for one in containers:
            until(lambda one=one: self.is_healthy(one), seconds, f"{one} is healthy")
