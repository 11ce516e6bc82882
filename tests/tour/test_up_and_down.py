"""`make up` and `make down`, in a copy of the repository with ports of its own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from common.embedded_kafka import EmbeddedKafka
from common.programs import Program, free_ports
from tests.repository_copy import copy_repository

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 150.0
PROGRAMS = ["broker", "persister", "server", "worker 1", "worker 2"]
MEASUREMENT = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the embedded Kafka needs Linux or macOS")


class Copy:
    """A copy of the repository, so that what it runs is its own."""

    def __init__(self, root: Path) -> None:
        copy_repository(ROOT, root)
        self.root, self.notes = root, root / ".run" / "up.json"
        kafka, rest = free_ports(2)
        self.settings = {
            "KAFKA_BOOTSTRAP_SERVERS": f"localhost:{kafka}",
            "IRIS_REST_URL": f"http://127.0.0.1:{rest}",
        }

    def run(self, module: str, typed: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", module], cwd=self.root, env=os.environ | self.settings,
            input=typed, capture_output=True, text=True, timeout=WAIT_SECONDS,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def noted(self) -> dict[str, int]:
        return {program["name"]: program["pid"] for program in json.loads(self.notes.read_text(encoding="utf-8"))}

    def survivors(self) -> list[str]:
        """The command lines of what still runs in the copy; what has just got SIGKILL takes a moment."""
        deadline = time.monotonic() + 5
        while (found := list(self._running())) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _running(self) -> Iterator[str]:
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.root) and process.status() != psutil.STATUS_ZOMBIE:
                    yield " ".join(process.cmdline())
            except psutil.Error:
                continue


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    copy = Copy(tmp_path / "copy")
    yield copy
    copy.run("tour.down")
    assert copy.survivors() == []


def ask(copy: Copy) -> dict[str, object]:
    url = copy.settings["IRIS_REST_URL"]
    return httpx2.post(f"{url}/iris-classifier", json=MEASUREMENT, timeout=30, trust_env=False).json()


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_up_and_down(copy: Copy, times: int) -> None:
    assert copy.run("tour.down") == (0, "Nothing is running.\n", "")
    for _ in range(times):
        code, output, errors = copy.run("tour.up")
        assert (code, errors) == (0, "")
        for name in PROGRAMS:
            assert f"  {name}: ready, " in output
        assert f"curl -s -X POST {copy.settings['IRIS_REST_URL']}/iris-classifier" in output
        pids = copy.noted()
        assert list(pids) == PROGRAMS
        assert ask(copy)["species"] == "setosa"
        answer = copy.run("5_task_queue.iris_classifier_cli_client_task_queue", "5.1 3.5 1.4 0.2\n")
        assert answer == (0, "setosa (setosa 98.1 %, versicolor 1.9 %, virginica 0.0 %)\n", "")

        psutil.Process(pids["worker 2"]).kill()
        code, output, errors = copy.run("tour.up")
        assert (code, errors, output.count(": already running, ")) == (0, "", 4)
        assert "  worker 2: ready, " in output
        assert {name: pid for name, pid in copy.noted().items() if name != "worker 2"} == {
            name: pid for name, pid in pids.items() if name != "worker 2"
        }

        code, output, errors = copy.run("tour.down")
        assert (code, errors) == (0, "")
        order = ["worker 2", "worker 1", "server", "persister", "broker"]
        assert output.splitlines() == ["Ending:", *(f"  {name}: ended" for name in order)]
        assert copy.survivors() == []
        assert not copy.notes.exists()
        for setting in copy.settings.values():
            assert is_free(int(setting.rpartition(":")[2]))


def test_a_kafka_that_runs_already_is_used_and_left_alone(copy: Copy) -> None:
    with EmbeddedKafka() as kafka:
        copy.settings["KAFKA_BOOTSTRAP_SERVERS"] = kafka.bootstrap_servers
        code, output, errors = copy.run("tour.up")
        assert (code, errors) == (0, "")
        assert f"  broker: already running elsewhere, {kafka.bootstrap_servers}" in output
        assert list(copy.noted()) == PROGRAMS[1:]
        assert copy.run("tour.down")[0] == 0
        assert copy.survivors() == []
        assert kafka.is_running(1)


@pytest.mark.parametrize("name", ["KAFKA_BOOTSTRAP_SERVERS", "IRIS_REST_URL"])
def test_a_port_that_another_program_has_is_one_line(copy: Copy, name: str) -> None:
    port = int(copy.settings[name].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        code, _, errors = copy.run("tour.up")
    assert code == 1
    [line] = errors.splitlines()
    assert f"ort {port} is taken by " in line
    assert copy.survivors() == []
    assert not copy.notes.exists()


def test_a_process_id_that_another_program_has_by_now_is_not_ended(copy: Copy) -> None:
    copy.notes.parent.mkdir()
    with Program(["python", "-c", "input()"]) as other:
        noted = {"name": "server", "pid": other.pid, "started": "another time"}
        copy.notes.write_text(json.dumps([noted]), encoding="utf-8")
        assert copy.run("tour.down") == (0, "Nothing is running.\n", "")
        assert other.is_running()
    assert not copy.notes.exists()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
