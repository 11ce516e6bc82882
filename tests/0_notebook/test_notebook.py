"""The notebook runs in a clean kernel, shows what was committed, and tells the truth about the model."""

import base64
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from common.iris_dto import validate
from common.iris_model import cross_validated_accuracy, load_data, load_model, predict, split, train
from common.terminal import show

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = Path("0_notebook") / "iris_classifier.ipynb"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
CELL_SECONDS = 60
FONT_CACHE_SECONDS = 120
MAX_BYTES = 500_000  # a page on the web still shows it at once
PLOTS = ["data-plot", "confusion", "boundaries", "explain"]
PHASES = ["1. load the model", "2. read input", "3. validate", "4. predict", "5. show"]


@dataclass
class Execution:
    """One run of the whole notebook in a copy of the repository: its cells, and the model that it saved."""

    notebook: nbformat.NotebookNode
    model_path: Path
    written: set[str]  # files that it left in the copy


def read_notebook() -> nbformat.NotebookNode:
    return nbformat.read(ROOT / NOTEBOOK, as_version=4)


def execute(folder: Path, working_directory: str) -> Execution:
    """Run a copy of the notebook without its outputs, with the copy's `working_directory` as Jupyter's."""
    copy = folder / "repository"
    shutil.copytree(ROOT / "common", copy / "common", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / NOTEBOOK.parent).mkdir()
    before = {path for path in copy.rglob("*") if path.is_file()}
    notebook = read_notebook()
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    model_path = folder / "model" / "iris_classifier.joblib"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("IRIS_MODEL_PATH", str(model_path))
        environment.setenv("IPYTHONDIR", str(folder / "ipython"))  # nobody's start-up files, nobody's history
        environment.setenv("PYTHONDONTWRITEBYTECODE", "1")
        environment.delenv("PYTHONPATH", raising=False)  # the notebook itself must find `common`
        environment.delenv("MPLBACKEND", raising=False)
        NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            coalesce_streams=True,
            resources={"metadata": {"path": str(copy / working_directory)}},
        ).execute()
    written = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file() and path not in before}
    return Execution(notebook, model_path, written)


@pytest.fixture(scope="module")
def font_cache() -> None:
    """Build matplotlib's font cache where there is none yet: the first kernel would print that it does."""
    command = [sys.executable, "-c", "import matplotlib.font_manager"]
    subprocess.run(command, check=True, timeout=FONT_CACHE_SECONDS)


@pytest.fixture(scope="module")
def in_its_folder(font_cache: None, tmp_path_factory: pytest.TempPathFactory) -> Execution:
    return execute(tmp_path_factory.mktemp("in_its_folder"), "0_notebook")


@pytest.fixture(scope="module")
def at_the_root(font_cache: None, tmp_path_factory: pytest.TempPathFactory) -> Execution:
    return execute(tmp_path_factory.mktemp("at_the_root"), ".")


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook: nbformat.NotebookNode) -> dict[str, list[tuple[str, str]]]:
    """Return per cell id what it shows: the stream's name and its text, or the output's type and its text."""
    return {
        cell.id: [
            (output.name, output.text)
            if output.output_type == "stream"
            else (output.output_type, output.get("data", {}).get("text/plain", ""))
            for output in cell.outputs
        ]
        for cell in code_cells(notebook)
    }


def plots(notebook: nbformat.NotebookNode) -> dict[str, bytes]:
    """Return per cell id the PNG that it shows."""
    return {
        cell.id: base64.b64decode(output.data["image/png"])
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "display_data"
    }


def printed(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    return "".join(text for name, text in texts(notebook)[cell_id] if name == "stdout")


def percentage(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, f"{pattern} is not in {text!r}"
    return found[1]


def test_it_shows_the_committed_text_when_it_is_run_in_its_own_folder(in_its_folder: Execution):
    assert texts(in_its_folder.notebook) == texts(read_notebook())


def test_it_shows_the_same_at_the_root_down_to_the_last_byte_of_the_plots(
    in_its_folder: Execution, at_the_root: Execution
):
    assert texts(at_the_root.notebook) == texts(in_its_folder.notebook)
    assert plots(at_the_root.notebook) == plots(in_its_folder.notebook)


def test_no_cell_fails_or_warns(in_its_folder: Execution):
    for notebook in (in_its_folder.notebook, read_notebook()):
        kinds = {name for shown in texts(notebook).values() for name, _ in shown}
        assert kinds == {"stdout", "display_data"}


def test_it_writes_the_model_and_nothing_else(in_its_folder: Execution, at_the_root: Execution):
    for execution in (in_its_folder, at_the_root):
        assert execution.written == set()
        assert {path.name for path in execution.model_path.parent.iterdir()} == {
            "iris_classifier.joblib",
            "iris_classifier.json",
        }


def test_the_accuracy_it_shows_is_that_of_common_and_of_the_model_it_saved(in_its_folder: Execution):
    X, y = load_data()
    X_train, X_test, y_train, y_test = split(X, y)
    held_out, cross_validated = train(X_train, y_train).score(X_test, y_test), cross_validated_accuracy(X, y)

    info = load_model(in_its_folder.model_path).info
    assert (info["accuracy"], info["cross_validated_accuracy"]) == pytest.approx((held_out, cross_validated))

    for notebook in (in_its_folder.notebook, read_notebook()):
        judged = printed(notebook, "accuracy")
        assert percentage(r"held-out accuracy: ([\d.]+) %", judged) == f"{100 * held_out:.1f}"
        assert percentage(r"cross-validated accuracy: ([\d.]+) %", judged) == f"{100 * cross_validated:.1f}"
        saved = printed(notebook, "save")
        assert percentage(r"accuracy: ([\d.]+) % held out", saved) == f"{100 * info['accuracy']:.1f}"
        assert percentage(r"([\d.]+) % cross-validated", saved) == f"{100 * info['cross_validated_accuracy']:.1f}"
        assert "same probabilities: True\n" in saved


def test_the_answer_it_shows_is_that_of_the_model_it_saved(in_its_folder: Execution):
    model = load_model(in_its_folder.model_path)
    measurement = validate(["5.1", "3.5", "1.4", "0.2"])
    assert printed(read_notebook(), "predict") == show(predict(model, measurement)) + "\n"

    why = model.explain(measurement)
    shown = printed(read_notebook(), "explain")
    shares = " ".join(f"{share:+.2f}" for share in [why.intercept, *why.contributions.values()])
    assert f"log-odds {why.log_odds:.2f} = {shares}, so {why.winner} is" in shown
    chances = predict(model, measurement).probabilities
    assert why.log_odds == pytest.approx(np.log(chances[why.winner] / chances[why.runner_up]))


@pytest.mark.parametrize("cell_id", PLOTS)
def test_every_plot_is_committed_as_png(cell_id: str, in_its_folder: Execution):
    committed, fresh = plots(read_notebook())[cell_id], plots(in_its_folder.notebook)[cell_id]
    for picture in (committed, fresh):
        assert picture.startswith(PNG_SIGNATURE)
        width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
        assert width > 400 and height > 300, (width, height)
        assert len(picture) > 5_000, "hardly anything is drawn"


def test_there_are_no_other_pictures():
    assert list(plots(read_notebook())) == PLOTS


def test_every_cell_was_run_once_in_order_and_what_it_shows_is_committed():
    cells = code_cells(read_notebook())
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        shows_something = "print(" in cell.source or "plt.show()" in cell.source
        assert bool(cell.outputs) == shows_something, cell.id


def test_the_five_phases_are_visible_in_their_order():
    (cell,) = [cell for cell in code_cells(read_notebook()) if cell.id == "predict"]
    assert re.findall(r"# (\d\. .+)$", cell.source, re.MULTILINE) == PHASES


def test_it_calls_common_and_rewrites_nothing():
    source = "\n".join(cell.source for cell in code_cells(read_notebook()))
    assert "sklearn" not in source
    assert not re.search(r"^\s*(def|class) ", source, re.MULTILINE)


def test_the_file_holds_nothing_of_the_machine_that_made_it():
    assert (ROOT / NOTEBOOK).stat().st_size < MAX_BYTES
    notebook = read_notebook()
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "version" not in notebook.metadata.language_info
    assert all(cell.metadata == {} for cell in notebook.cells)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", cell.id) for cell in notebook.cells)
    text = "\n".join(cell.source for cell in notebook.cells) + repr(texts(notebook))
    for name in (str(ROOT), str(Path.home()), sys.prefix, "trained_at", "/tmp", "/home"):
        assert name not in text, name
    for picture in plots(notebook).values():
        assert b"Software" not in picture, "the plots name the matplotlib that drew them"
