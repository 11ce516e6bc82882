"""Where the tests of containers can run: an engine, the base images, and our own image built from them, once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.settings import ROOT

from .compose import BUILD_SECONDS, OURS, Compose, call, engine, missing_images

Project = Iterator[Compose]


@pytest.fixture(scope="session")
def image() -> str:
    """Our image, built from the Dockerfile; the engine's cache makes the second time short."""
    try:
        name, _ = engine()
    except LookupError as error:
        pytest.skip(f"no containers here: {error}")
    if missing := missing_images(name):
        how = "or build stand-ins: python -m tests.containers.stand_ins.build" if name == "podman" else "first"
        pytest.skip(f"{', '.join(missing)}: not here; pull with `{name} pull`, {how}")
    call(name, "build", "--quiet", "--tag", OURS, ROOT, seconds=BUILD_SECONDS)
    return OURS


@pytest.fixture(scope="module", params=["at-least-once", "exactly-once"])
def project(image: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """All containers of all profiles, with three workers; healthy."""
    folder: Path = tmp_path_factory.mktemp("compose")
    with Compose(folder, "postgres", "services", IRIS_DELIVERY=request.param) as one:
        one.up("--scale", "worker=3")
        yield one
