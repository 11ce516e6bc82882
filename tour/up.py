"""Leaves a broker, a persister, a REST server and two task queue workers running, and says how to talk to them.

What is running already is left as it is. `python -m tour.down` ends what this has started.

Run: python -m tour.up     (or: make up)
"""

import contextlib
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock

from common.errors import ProgramError
from common.kafka.connection import connect
from common.kafka.topics import create_topics
from common.settings import ROOT, RUN_DIR, load_settings
from common.terminal import ArgumentParser, run

from .background import LOCK, LOCK_SECONDS, LOGS, START_SECONDS, Background, end, read_notes, start, write_notes

WORKERS, PARTITIONS = 2, 4
HERE = ("localhost", "127.0.0.1", "::1")  # this machine
PERSISTER = "4_message_queue.iris_classifier_mq_persister"
WORKER = "5_task_queue.iris_classifier_task_queue_worker"
SERVER = "3_client_server.iris_classifier_rest_server:app"
GRACE_SECONDS = "2"  # for requests in flight when the server is asked to end
HOW_TO_TALK = """
Talk to them:
  curl -s -X POST {url}/iris-classifier -H 'Content-Type: application/json' \\
    -d '{{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}}'
  {python} -m 3_client_server.iris_classifier_cli_client_rest
  {python} -m 5_task_queue.iris_classifier_cli_client_task_queue
  {python} -m {persister} --list
Logs: {logs}
End them: make down (or: {python} -m tour.down)"""


class Up:
    """Starts what does not run yet, and ends it again where something goes wrong."""

    def __init__(self) -> None:
        self.programs = read_notes()
        self._new: list[Background] = []

    def start(self, name: str, ready: str, where: str, *arguments: str) -> str:
        """Start a program unless it runs, wait for its ready line, say where it is and return that line."""
        if name in self.programs:
            print(f"  {name}: already running, {where}", flush=True)
            return ""
        print(f"  {name}: starting ...", flush=True)
        self.programs[name], program = start(name, list(arguments))
        self._new.append(self.programs[name])
        write_notes(self.programs.values())
        try:
            line = program.wait_for_line(re.compile(ready), START_SECONDS)
        finally:
            program.release()
        found = "already running" in line  # elsewhere: the program has said so and ended
        if found:
            del self.programs[name]
        print(f"  {name}: {'already running elsewhere' if found else 'ready'}, {where}", flush=True)
        return line

    @contextlib.contextmanager
    def undone_on_failure(self) -> Iterator[None]:
        """End what has been started here if something goes wrong."""
        try:
            yield
        except BaseException:
            end([program for program in reversed(self._new) if program.is_running()])
            self.programs = {name: p for name, p in self.programs.items() if p not in self._new}
            raise
        finally:
            write_notes(self.programs.values())


def broker(up: Up) -> None:
    """Start Kafka, unless one answers already; that one is not ours to end."""
    servers = load_settings().kafka_bootstrap_servers
    if servers.split(",")[0].rpartition(":")[0].strip("[]") not in HERE:
        connect()
        print(f"  broker: already running elsewhere, {servers}", flush=True)
        return
    line = up.start("broker", "Kafka is (already running|ready): ", servers, "-m", "common.embedded_kafka")
    address = line.partition(": ")[2].split(" (")[0].replace("localhost", "127.0.0.1")
    if line and address.split(",")[0] != servers.split(",")[0].replace("localhost", "127.0.0.1"):
        raise ProgramError(f"{line}. Set KAFKA_BOOTSTRAP_SERVERS to use it, or stop it.")


def free_server_address(up: Up, url: str) -> tuple[str, str]:
    """Return host and port for the REST server. Raises ProgramError where it cannot listen there."""
    try:
        host, port = urlsplit(url).hostname or "", urlsplit(url).port or 80
    except ValueError:
        host, port = "", 0
    if host not in HERE:
        raise ProgramError(f"IRIS_REST_URL says {url}, which is not a port of this machine: unset it.")
    if "server" not in up.programs:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=2):
            raise ProgramError(f"Port {port} is taken by another program: stop it, or set IRIS_REST_URL to another.")
    return host, str(port)


def main(argv: list[str] | None = None) -> int:
    """Start all, wait until each is ready, and say how to talk to them."""
    ArgumentParser(__doc__, "kafka_bootstrap_servers", "rest_url", "database").parse_args(argv)
    settings = load_settings()
    RUN_DIR.mkdir(exist_ok=True)
    with FileLock(LOCK, timeout=LOCK_SECONDS):
        up = Up()
        host, port = free_server_address(up, settings.rest_url)
        with up.undone_on_failure():
            broker(up)
            create_topics(connect(), PARTITIONS)
            up.start("persister", "Persister is ready", f"stores in {settings.database}", "-m", PERSISTER)
            listen = ["--host", host, "--port", port, "--timeout-graceful-shutdown", GRACE_SECONDS]
            up.start("server", "Uvicorn running on", settings.rest_url, "-m", "uvicorn", SERVER, *listen)
            for number in range(1, WORKERS + 1):
                up.start(f"worker {number}", "is ready", f"of {PARTITIONS} partitions", "-m", WORKER)
    python = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable
    logs = LOGS.relative_to(ROOT)
    print(HOW_TO_TALK.format(url=settings.rest_url.rstrip("/"), python=python, persister=PERSISTER, logs=logs))
    return 0


if __name__ == "__main__":
    run(main)
