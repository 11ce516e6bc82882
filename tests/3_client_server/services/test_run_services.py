"""One command starts both services, ends both, and says the same as the Compose file does."""

import importlib
import os
import shlex
import signal
import sys
import threading
import time

import httpx2
import psutil
import pytest
from ruamel.yaml import YAML

from common.programs import free_ports
from common.settings import ROOT
from tests.helpers import CTRL_C, STOP_SECONDS, TRACEBACK, WAIT_SECONDS, Program, X, until

run_services = importlib.import_module("3_client_server.services.run_services")
FOLDER = ROOT / "3_client_server" / "services"
COMPOSE = FOLDER / "docker-compose.yml"
MODULE = "3_client_server.services.run_services"


class Pair(Program):
    """Both services, started with the one command."""

    def __init__(self, environment: dict[str, str], **settings: str) -> None:
        port, model_port = free_ports(2)
        command = [sys.executable, "-m", MODULE, "--port", str(port), "--model-port", str(model_port)]
        super().__init__(command, environment | settings, terminal=True)
        self.url = f"http://127.0.0.1:{port}"
        self.wait_for("Ready: ")


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
def test_ctrl_c_ends_everything_within_three_seconds_with_requests_in_flight(environment, how: str):
    pair = Pair(environment, IRIS_SIMULATED_CPU_SECONDS="30", IRIS_MODEL_DEADLINE_SECONDS="60")
    statuses: list[int] = []

    def ask() -> None:
        try:
            answer = httpx2.post(f"{pair.url}/process", json={"data": X}, timeout=WAIT_SECONDS)
            statuses.append(answer.status_code)
        except httpx2.TransportError:
            statuses.append(0)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: httpx2.get(f"{pair.url}/api/monitor").json()["in_flight"] == 3)
    started = time.monotonic()
    pair.send(CTRL_C) if how == "Ctrl-C" else os.kill(pair.pid, signal.SIGTERM)
    assert pair.wait() == 0
    assert time.monotonic() - started < STOP_SECONDS
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert len(statuses) == 3 and 200 not in statuses
    assert not pair.survivors()
    assert not pair.leave()


def test_a_service_that_dies_takes_the_other_with_it_and_the_command_says_so(environment):
    pair = Pair(environment)
    (model,) = [p for p in psutil.Process(pair.pid).children() if run_services.MODEL.app in p.cmdline()]
    model.kill()
    assert pair.wait() == 1
    assert "The model service has ended with exit code -9." in pair.output
    assert not pair.survivors()
    assert not pair.leave()


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "line"),
    [
        (["--port", "0"], {}, 2, "'0' is not a port"),
        (["--prot", "1"], {}, 2, "Unrecognized arguments"),
        ([], {"IRIS_MAX_IN_FLIGHT": "many"}, 1, "IRIS_MAX_IN_FLIGHT=many: "),
        ([], {"IRIS_BREAKER_SECONDS": "0"}, 1, "IRIS_BREAKER_SECONDS=0: "),
    ],
)
def test_wrong_arguments_and_settings_are_one_line(environment, arguments, settings, code: int, line: str):
    program = Program([sys.executable, "-m", MODULE, *arguments], environment | settings)
    assert program.wait() == code
    assert line in program.errors and TRACEBACK not in program.errors
    assert len(program.errors.strip().splitlines()) == 1
    assert not program.leave()


def test_a_port_that_is_taken_is_said(environment, model_service):
    command = [sys.executable, "-m", MODULE, "--model-port", str(model_service.port), "--port", str(free_ports(1)[0])]
    program = Program(command, environment)
    assert program.wait() == 1
    assert "answers at" in program.errors
    assert not program.leave()


def test_the_settings_are_in_the_help(environment):
    program = Program([sys.executable, "-m", MODULE, "--help"], environment)
    assert program.wait() == 0
    assert "IRIS_MODEL_DEADLINE_SECONDS" in program.output
    assert not program.leave()


# --- the same in containers ---


def compose() -> dict:
    return YAML(typ="safe").load(COMPOSE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("service", [run_services.MODEL, run_services.GATEWAY], ids=lambda service: service.name)
def test_a_container_runs_what_the_command_runs(service):
    container = compose()["services"][service.name]
    words = shlex.split(container["command"])
    plain = service.command(service.port)[2:]  # without `python -m`
    assert words == ["0.0.0.0" if word == run_services.HOST else word for word in plain]
    assert f"http://127.0.0.1:{service.port}{service.health}" in container["healthcheck"]["test"][-1]


def test_only_the_gateway_can_be_reached_from_outside():
    whole = compose()
    model, gateway = whole["services"]["model"], whole["services"]["gateway"]
    assert "ports" not in model and model["networks"] == ["private"]
    assert whole["networks"]["private"]["internal"] is True
    port = run_services.GATEWAY.port
    assert gateway["ports"] == [f"127.0.0.1:${{IRIS_GATEWAY_PORT:-{port}}}:{port}"]
    assert gateway["environment"]["IRIS_MODEL_URL"] == f"http://model:{run_services.MODEL.port}"
