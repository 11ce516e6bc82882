"""The references stand on their own: getting better never moves the bar."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCES = sorted((ROOT / "benchmarks" / "reference").glob("*.py"))


def imported(path: Path) -> set[str]:
    """Return the first names of all that a file imports, and of what it loads by name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or "").split(".")[0])
        elif isinstance(node, ast.Name) and node.id in ("__import__", "importlib"):
            found.add(node.id)
    return found


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_a_reference_imports_neither_the_stages_nor_common(path: Path):
    assert not imported(path) & {"common", "tour", "benchmarks", "importlib", "__import__"}
    assert not [name for name in imported(path) if name.startswith(".") or name[:1].isdigit()]


@pytest.mark.parametrize(
    ("module", "arguments", "counted"),
    [("bare_predict", ["--rows", "1000"], "rows"), ("bare_sqlite", ["--rows", "1000", "--batch", "300"], "rows")],
)
def test_a_reference_without_kafka_does_what_it_is_asked_for(module: str, arguments: list[str], counted: str):
    command = [sys.executable, "-m", f"benchmarks.reference.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    answer = json.loads(done.stdout)
    assert answer[counted] == 1000
    assert answer["rate"] > 0
