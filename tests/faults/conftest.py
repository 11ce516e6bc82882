"""Tries faults as the command does, in its quick mode: the faults of one file of tests share one Kafka."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.outcome import Outcome
from faults.series import Series

Attempt = Callable[[str, str], Outcome]


@pytest.fixture(scope="module")
def attempt(model_path: Path) -> Iterator[Attempt]:
    """Try a fault in a delivery mode."""
    with pytest.MonkeyPatch.context() as patch, Series(quick=True, seed=1) as series:
        patch.setenv("IRIS_MODEL_PATH", str(model_path))
        yield series.try_fault
