"""schemathesis against both OpenAPI documents: what they say is what the services do, with no finding."""

import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 240
QUICK = ["--max-examples", "4", "--phases", "examples,fuzzing"]  # per operation
FULL = ["--max-examples", "15"]


@pytest.mark.parametrize(
    ("name", "extent"),
    [
        pytest.param("door", QUICK, id="door, quickly"),
        pytest.param("door", FULL, id="door", marks=pytest.mark.slow),
        pytest.param("model_service", FULL, id="model_service", marks=pytest.mark.slow),
    ],
)
def test_the_document_and_the_service_agree(
    request: pytest.FixtureRequest, name: str, extent: list[str], tmp_path: Path
):
    url = request.getfixturevalue(name).url
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--seed", "1", "--no-color"]
    command += [*extent, "--generation-database", "none"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "No issues found" in result.stdout
