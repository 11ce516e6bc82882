"""The lesson of stage 3, as a reader runs it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "3_client_server.concurrency_limit_demo"]
WAIT_SECONDS = 120.0


def run_demo(**settings: str) -> subprocess.CompletedProcess[str]:
    before = set(psutil.Process().children(recursive=True))  # the broker that other tests share, for one
    result = subprocess.run(
        COMMAND, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True, timeout=WAIT_SECONDS
    )
    assert not set(psutil.Process().children(recursive=True)) - before
    return result


def test_one_client_gets_its_answer_and_the_other_a_503(tmp_path: Path) -> None:
    result = run_demo(IRIS_MODEL_PATH=str(tmp_path / "model.joblib"), UVICORN_LIMIT_CONCURRENCY="1")
    assert (result.returncode, result.stderr) == (0, "")
    answers = [line for line in result.stdout.splitlines() if " got: " in line]
    assert answers == [
        "client 1 got: setosa (setosa 98.1 %, versicolor 1.9 %, virginica 0.0 %)",
        "client 2 got: 503 Service Unavailable: the server is full. Try again in a moment.",
    ]
    assert "Why: uvicorn counts open connections" in result.stdout


def test_a_server_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    model = tmp_path / "model.joblib"
    model.write_bytes(b"no model")
    model.with_suffix(".json").write_text("no sidecar", encoding="utf-8")
    result = run_demo(IRIS_MODEL_PATH=str(model))
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("server: ended without 'running on")
