"""The walk, as `make demo` runs it: the real programs, no terminal."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from common.programs import Program, until
from tests.repository_copy import copy_repository

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-W", "error", "-m", "tour"]
WALK_SECONDS = 170.0
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the embedded Kafka needs Linux or macOS")


def environment(folder: Path) -> dict[str, str]:
    """A user's environment: settings that the walk must not mind, and a folder for all that it makes."""
    folder.mkdir()
    settings = {"TMPDIR": str(folder), "IRIS_SIMULATED_CPU_SECONDS": "60", "KAFKA_BOOTSTRAP_SERVERS": "nowhere:1"}
    return {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"} | settings


def left_behind(folder: Path) -> list[str]:
    """What still runs with the folder in its command line or its environment, and what is still in the folder."""
    found = [path.name for path in folder.iterdir()]
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join([*process.cmdline(), *process.environ().values()]):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:  # it has ended meanwhile, or is another user's
            continue
    return found


def test_the_walk_shows_all_six_stages_and_leaves_nothing(tmp_path: Path) -> None:
    variables = environment(tmp_path / "own") | {"COLUMNS": "40"}
    result = subprocess.run(COMMAND, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=WALK_SECONDS)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert "\x1b" not in result.stdout
    for stage in range(6):
        assert f"\nStage {stage}, " in result.stdout
    assert result.stdout.count("  limit:   ") == 6
    assert "client 2 got: 503 Service Unavailable" in result.stdout
    assert "4 results in " in result.stdout
    assert len(re.findall(r"^ +worker \d+ [ \d]+$", result.stdout, re.MULTILINE)) == 3
    [total] = re.findall(r"^ +all +([\d.]+) s *$", result.stdout, re.MULTILINE)
    assert float(total) < WALK_SECONDS
    assert left_behind(tmp_path / "own") == []


def test_a_stage_that_does_not_do_what_is_shown_fails_the_walk(tmp_path: Path) -> None:
    copy_repository(ROOT, tmp_path / "copy")
    [program] = (tmp_path / "copy" / "2_monolith_user_input_loop").glob("*.py")
    program.write_text("print('rose')\n", encoding="utf-8")
    result = subprocess.run(
        COMMAND, cwd=tmp_path / "copy", env=environment(tmp_path / "own"), capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 1
    assert result.stderr == "The prompt: expected 3 lines for 3 inputs, got: rose\n"
    assert left_behind(tmp_path / "own") == []


@pytest.mark.parametrize("title", ["Stage 0,", "Stage 3,", pytest.param("Stage 4,", marks=pytest.mark.slow)])
def test_ctrl_c_ends_everything_within_three_seconds(tmp_path: Path, title: str) -> None:
    with Program(COMMAND, env=environment(tmp_path / "own")) as walk:
        walk.wait_for_line(title)
        until(walk.ps.children, what="a program has been started")
        began = time.monotonic()
        walk.signal(signal.SIGINT)
        assert walk.wait() == 130
        seconds = time.monotonic() - began
    assert walk.errors == ""
    assert seconds < 3
    assert left_behind(tmp_path / "own") == []
