"""Who imports whom: a stage imports `common` and nothing else of the repository, and `common` imports nothing of it."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.settings import ROOT

STAGE = re.compile(r"[0-9]_\w+")
STAGES = {path.name for path in ROOT.iterdir() if path.is_dir() and STAGE.fullmatch(path.name)}
# The rooms that each room may import, besides itself. What is not named here, stages among it, imports `common` only.
MAY_IMPORT = {
    "common": set(),
    "tour": STAGES | {"common"},
    "benchmarks": STAGES | {"common"},
    "faults": STAGES | {"common", "benchmarks"},
    "tests": STAGES | {"common", "tour", "benchmarks", "faults"},
}
FILES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*/**/*.py", "*/**/*.ipynb")
    for path in ROOT.glob(pattern)
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
ROOMS = {path.parts[0] for path in FILES}


def code_of(path: Path) -> str:
    """Return the Python code of a module or of a notebook's cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    lines = [line.rstrip("\n") for cell in cells for line in cell["source"]]
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def imports(code: str, path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the whole name of each module that the code of `path` imports, by whichever means.

    >>> list(imports("from .worker import codec", Path("5_task_queue/client.py")))
    [(1, '5_task_queue.worker.codec')]
    """
    tree = ast.parse(code)
    texts = {  # NAME = "a.module", to be found again in import_module(NAME)
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.parent.parts[: len(path.parent.parts) - node.level + 1] if node.level else ()
            module = ".".join([*package, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            argument = node.args[0]
            if function in {"import_module", "__import__", "run_module"}:
                name = texts.get(argument.id) if isinstance(argument, ast.Name) else getattr(argument, "value", None)
                if isinstance(name, str):
                    yield node.lineno, ".".join([*path.parent.parts, name.lstrip(".")] if name[:1] == "." else [name])


def forbidden(code: str, path: Path) -> list[str]:
    """Return a line for each import of a room that this file must not import."""
    room = path.parts[0]
    allowed = MAY_IMPORT.get(room, {"common"}) | {room}
    found = [(number, name) for number, name in imports(code, path) if name.partition(".")[0] in ROOMS - allowed]
    return [f"{path.as_posix()}:{number} imports {name}" for number, name in found]


def test_all_six_stages_are_looked_at() -> None:
    assert len(STAGES) == 6
    assert ROOMS >= STAGES | set(MAY_IMPORT)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = [path for path in FILES if path.parts[0] == room]
    found = [line for path in files for line in forbidden(code_of(ROOT / path), path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("common/kafka/topics.py", "from tour import walk"),
        ("common/kafka/topics.py", "import importlib\nimportlib.import_module('5_task_queue.dead_letters')"),
        ("common/terminal.py", "import benchmarks.harness as harness"),
        ("common/kafka/topics.py", "from ...tour.walk import Walk"),
        ("5_task_queue/kafka_setup.py", "from importlib import import_module\nimport_module('4_message_queue.worker')"),
        ("5_task_queue/kafka_setup.py", "OLD = '4_message_queue.worker'\nold = import_module(OLD)"),
        ("5_task_queue/worker/codec.py", "def late():\n    from faults import rig"),
        ("4_message_queue/worker.py", "from tests.helpers import until"),
        ("tour/walk.py", "from faults.rig import Rig"),
        ("new_room/module.py", "import_module('1_monolith_cli')"),
    ],
)
def test_a_forbidden_import_is_found_however_it_is_written(path: str, code: str) -> None:
    assert len(forbidden(code, Path(path))) == 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("5_task_queue/queue_status.py", "from .iris_classifier_task_queue_worker import GROUP"),
        ("5_task_queue/beyond/postgres_store.py", "from ..dead_letters import main\nimport common.settings"),
        ("3_client_server/services/model.py", "import_module('.codec', __package__)\nimport json"),
        ("common/kafka/topics.py", "from ..errors import ProgramError\n# import tour"),
        ("tour/walk.py", "import_module('4_message_queue.worker')"),
    ],
)
def test_a_room_may_import_itself_and_common(path: str, code: str) -> None:
    assert forbidden(code, Path(path)) == []


# --- sizes: signs that a reader will not get lost, not goals ---

MODULE_LINES = 260  # of stages and `common`
FUNCTION_LINES = 42  # of a stage's named module: the files directly in its folder
POPEN_FILES = 4  # `common/programs` starts programs, and what must not stand on it
POPEN = re.compile(r"\bPopen\(")


def test_no_module_of_the_stages_and_common_is_too_long_to_read_in_one_sitting() -> None:
    files = [path for path in FILES if path.suffix == ".py" and path.parts[0] in STAGES | {"common"}]
    lengths = {path.as_posix(): code_of(ROOT / path).count("\n") for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > MODULE_LINES} == {}


def test_no_function_of_a_stages_named_module_is_too_long_to_keep_in_mind() -> None:
    long = [
        f"{path.as_posix()}:{node.lineno} {node.name}"
        for path in FILES
        if path.suffix == ".py" and path.parts[0] in STAGES and len(path.parts) == 2
        for node in ast.walk(ast.parse(code_of(ROOT / path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_few_files_start_processes_by_themselves() -> None:
    starters = [path.as_posix() for path in FILES if path.suffix == ".py" and POPEN.search(code_of(ROOT / path))]
    assert len(starters) <= POPEN_FILES, "\n".join(starters)
