"""Fixtures of the services' tests: a model service and a gateway for all, and others for those who break them."""

import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Starlette leaves the file of an upload that breaks off to the garbage collector.
WARNINGS = "error,ignore:Unclosed file:ResourceWarning"
tools = importlib.import_module("tests.3_client_server.services.service_tools")


@pytest.fixture(scope="session")
def environment(model_path: Path) -> dict[str, str]:
    """None of this machine's own settings, and warnings are errors."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("IRIS_", "UVICORN_"))}
    return mine | {"IRIS_MODEL_PATH": str(model_path), "PYTHONWARNINGS": WARNINGS, "PYTHONPATH": ""}


@pytest.fixture(scope="session")
def model_service(environment: dict[str, str]) -> Iterator:
    service = tools.Service("model_service", environment)
    yield service
    assert not service.leave()


@pytest.fixture(scope="session")
def door(environment: dict[str, str], model_service) -> Iterator:
    """The gateway in front of `model_service`."""
    service = tools.Service("gateway", environment, IRIS_MODEL_URL=model_service.url)
    yield service
    assert not service.leave()


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable]:
    """Start services of a test's own; they are ended after it, and must end in order."""
    services = []

    def start_service(module: str, **options):
        services.append(tools.Service(module, environment, **options))
        return services[-1]

    yield start_service
    wrong = [service.leave() for service in reversed(services)]
    assert not any(wrong)


@pytest.fixture
def trick() -> Iterator[Callable]:
    """Start a server that plays the model service, with an answer of the test's own."""
    tricksters = []

    def start_trickster(answer):
        tricksters.append(tools.Trickster(answer))
        return tricksters[-1]

    yield start_trickster
    for trickster in tricksters:
        trickster.close()
