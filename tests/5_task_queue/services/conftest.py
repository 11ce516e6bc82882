"""Fixtures of the gateway's tests: one gateway and one worker on the session's Kafka, and others to be broken."""

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.embedded_kafka import EmbeddedKafka
from common.programs import until
from tests.helpers import WAIT_SECONDS, Program

tools = importlib.import_module("tests.3_client_server.services.service_tools")
MODULE = "5_task_queue.services.gateway"
WORKER = "5_task_queue.iris_classifier_task_queue_worker"


@pytest.fixture(scope="module")
def environment(model_path: Path, kafka: EmbeddedKafka) -> dict[str, str]:
    """None of this machine's own settings, and warnings are errors."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("IRIS_", "UVICORN_", "KAFKA_"))}
    return mine | {
        "IRIS_MODEL_PATH": str(model_path),
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "IRIS_LOG_TASKS": "1",
        # what a broken-off upload leaves is the garbage collector's
        "PYTHONWARNINGS": "error,ignore:Unclosed file:ResourceWarning",
        "PYTHONPATH": "",
    }


def is_ready(service) -> bool:
    return service.get("/health/ready").status_code == 200


@pytest.fixture(scope="module")
def start(environment: dict[str, str]) -> Iterator[Callable]:
    """Start gateways; they are ended after the module, and must end in order."""
    services = []

    def start_gateway(ready: bool = True, **settings: str):
        services.append(tools.Service(MODULE, environment, **settings))
        if ready:
            until(lambda: is_ready(services[-1]), WAIT_SECONDS, "the gateway is ready", [services[-1].program])
        return services[-1]

    yield start_gateway
    wrong = [service.leave() for service in reversed(services)]
    assert not any(wrong), wrong


@pytest.fixture(scope="module")
def gateway(start: Callable):
    return start()


@pytest.fixture(scope="module")
def run_worker(environment: dict[str, str]) -> Iterator[Callable[..., Program]]:
    """Start workers; they are ended after the module."""
    import sys

    workers: list[Program] = []

    def run(*arguments: str, **settings: str) -> Program:
        workers.append(Program([sys.executable, "-m", WORKER, *arguments], environment | settings))
        workers[-1].wait_for("holds partitions")
        return workers[-1]

    yield run
    wrong = [worker.leave() for worker in workers]
    assert not any(wrong), wrong


@pytest.fixture(scope="module")
def worker(run_worker: Callable[..., Program], gateway) -> Program:
    return run_worker()
