"""Stages 0 to 2 of the walk: one user, one process at a time."""

import json
import time

from common.settings import ROOT

from .walk import FLOWER, Walk, expect, expect_flower

NOTEBOOK = ROOT / "0_notebook" / "iris_classifier.ipynb"
IMPORTS = """\
from common.iris_dto import split_words, validate
from common.iris_model import load_model, predict
from common.terminal import show
"""
COMMAND = "python -m 1_monolith_cli.iris_classifier_monolith_cli_app"
LOOP = "python -m 2_monolith_user_input_loop.iris_classifier_monolith_user_input_loop_app"


def stage_0(walk: Walk) -> None:
    """Train the model, and run the notebook's own cell that predicts."""
    screen = walk.screen
    with screen.part("Stage 0, the notebook", "nothing yet: data, training and a prediction, cell by cell"):
        screen.note("The walk needs no Jupyter: it calls the same training as the notebook, and then")
        screen.note(f"runs the notebook's cell that predicts. To read all of it: {NOTEBOOK.relative_to(ROOT)}")
        command = "python -m common.iris_model --train"
        screen.command(command)
        with screen.doing("training"):
            model = json.loads("\n".join(walk.start(command, show=False).finish()))
        screen.output([f"{model['kind']}: accuracy {100 * model['accuracy']:.1f} % on flowers that it has not seen"])
        expect(model["accuracy"] > 0.9, f"The model's accuracy is {model['accuracy']}, expected more than 0.9.")
        cell = prediction_cell()
        screen.command(*cell.splitlines())
        lines = walk.start("python -", show=False, input=IMPORTS + cell).finish()
        screen.output(lines)
        expect_flower(lines, "The notebook's cell")
        screen.limit("Only the author can run it.")


def prediction_cell() -> str:
    """Return the notebook's cell that has the five phases of a prediction."""
    cells = ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]]
    found = [cell for cell in cells if cell.startswith("model = load_model()") and FLOWER in cell]
    expect(len(found) == 1, f"No cell of {NOTEBOOK.relative_to(ROOT)} loads the model and predicts {FLOWER}.")
    return found[0]


def stage_1(walk: Walk) -> None:
    """Run one process for one prediction."""
    with walk.screen.part("Stage 1, a command", "anyone with a terminal can run it, and so can a script"):
        began = time.monotonic()
        lines = walk.run(f"{COMMAND} {FLOWER}")
        seconds = time.monotonic() - began
        expect_flower(lines, "The command")
        walk.screen.limit(
            f"Each prediction pays for starting Python and loading the model: {seconds:.1f} s for one answer."
        )


def stage_2(walk: Walk) -> None:
    """Type three lines into one process."""
    with walk.screen.part(
        "Stage 2, a prompt", "the model is loaded once; invalid input is explained, and the prompt asks again"
    ):
        began = time.monotonic()
        lines = walk.run(LOOP, [FLOWER, "5.1 three 1.4 0.2", "6.7, 3.0, 5.2, 2.3", "q"])
        seconds = time.monotonic() - began
        expect(len(lines) == 3, f"The prompt: expected 3 lines for 3 inputs, got: {' / '.join(lines) or 'nothing'}")
        expect_flower(lines[:1], "The prompt")
        expect("three" in lines[1], f"The prompt: expected a line about the wrong input, got: {lines[1]}")
        expect(lines[2].startswith("virginica"), f"The prompt: expected virginica, got: {lines[2]}")
        walk.screen.note(f"All of it with one start: {seconds:.1f} s.")
        walk.screen.limit("One user, on the machine that has the model.")
