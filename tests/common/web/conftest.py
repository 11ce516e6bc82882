"""A tiny service of the frame, in a real uvicorn."""

import importlib
import os
from collections.abc import Callable, Iterator

import pytest

tools = importlib.import_module("tests.3_client_server.services.service_tools")
TINY = "tests.common.web.tiny_service"


def clean_environment() -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("IRIS_", "UVICORN_"))}
    return mine | {"PYTHONWARNINGS": "error"}


@pytest.fixture(scope="module")
def tiny() -> Iterator:
    service = tools.Service(TINY, clean_environment(), IRIS_LOG_FORMAT="json", IRIS_LOG_LEVEL="DEBUG")
    yield service
    service.program.may_show_traceback = True  # of the faults that it was asked for
    assert not service.leave()


@pytest.fixture
def start_tiny() -> Iterator[Callable]:
    """Start a tiny service with settings of the test's own."""
    services = []

    def start(**settings: str):
        services.append(tools.Service(TINY, clean_environment(), **settings))
        return services[-1]

    yield start
    wrong = [service.leave() for service in services]
    assert not any(wrong)
