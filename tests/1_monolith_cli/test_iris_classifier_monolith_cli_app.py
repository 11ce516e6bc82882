"""Stage 1 as its user meets it: words on the command line, an answer, an exit code."""

import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from common.iris_dto import EXPECTED, IrisType, validate
from common.iris_model import IrisModel, predict
from common.terminal import show
from tests.helpers import LINE, VIRGINICA, Program

MODULE = "1_monolith_cli.iris_classifier_monolith_cli_app"
Start = Callable[..., Program]


@pytest.fixture
def main(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], int]:
    monkeypatch.setenv("IRIS_MODEL_PATH", str(model_path))
    return import_module(MODULE).main


@pytest.mark.parametrize("line", [VIRGINICA, "5.1e0 +3.5 14e-1 .2"])
def test_four_numbers_give_the_species_with_probabilities(line: str, program: Start, model: IrisModel):
    one = program(MODULE, *line.split())
    assert one.wait() == 0
    assert one.output == show(predict(model, validate(line.split()))) + "\n"
    assert re.fullmatch(
        r"(setosa|virginica) \(setosa [\d.]+ %, versicolor [\d.]+ %, virginica [\d.]+ %\)\n", one.output
    )
    assert one.errors == ""


def test_json_is_the_whole_iris_type(program: Start, model: IrisModel):
    one = program(MODULE, *LINE.split(), "--json")
    assert one.wait() == 0
    assert json.loads(one.output) == predict(model, validate(LINE.split())).model_dump()
    assert one.errors == ""


def test_json_has_a_warning_for_a_flower_that_nobody_has_seen(main, capsys: pytest.CaptureFixture[str]):
    assert main(["--json", "50", "3.5", "1.4", "0.2"]) == 0
    (warning,) = IrisType.model_validate_json(capsys.readouterr().out).warnings
    assert warning == "sepal_length 50 cm is far outside the training data (4.3 to 7.9 cm)"


def is_not(field: str, shown: str) -> str:
    return f"{field}: {shown} is not {EXPECTED}."


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["-5.1", "3.5", "1.4", "0.2"], is_not("sepal_length", "-5.1")),
        (["5.1", "-1e-3", "1.4", "0.2"], is_not("sepal_width", "-0.001")),
        (["5.1", "3.5", "0", "0.2"], is_not("petal_length", "0.0")),
        (["5.1", "3.5", "1.4", "nan"], is_not("petal_width", "'nan'")),
        (["5.1", "3.5", "1.4", "inf"], is_not("petal_width", "'inf'")),
        (["5.1", "3.5", "1.4", "-inf"], is_not("petal_width", "'-inf'")),
        (["5.1", "3.5", "1.4", "1e999"], is_not("petal_width", "inf")),
        (["5.1", "3.5", "1.4", "1_0"], is_not("petal_width", "'1_0'")),
        (["5.1", "3.5", "1.4", "100.1"], is_not("petal_width", "100.1")),
        (["5.1", "3.5", "1.4", "0x10"], is_not("petal_width", "'0x10'")),
        (["5.1", "3.5", "1.4", "٥"], is_not("petal_width", "'٥'")),
        (["5.1", "3.5", "1.4", ""], is_not("petal_width", "''")),
        (["5.1", "3.5", "1.4", "9" * 5000], is_not("petal_width", "inf")),
        (["5.1", "3.5", "1.4", "x" * 5000], is_not("petal_width", f"'{'x' * 40}...'")),
        (["5.1", "3.5", "1.4", "a\nb"], is_not("petal_width", r"'a\nb'")),
        (["five", "3.5", "1.4", "0.2"], is_not("sepal_length", "'five'")),
        ([], "Expected 4 numbers (sepal_length, sepal_width, petal_length, petal_width in cm), got 0."),
        (["5.1"], "Expected 4 numbers (sepal_length, sepal_width, petal_length, petal_width in cm), got 1."),
        (["1"] * 5, "Expected 4 numbers (sepal_length, sepal_width, petal_length, petal_width in cm), got 5."),
        (["5.1", "3.5", "1.4", "0.2", "--yaml"], "Unrecognized arguments: --yaml. Try --help."),
        (["5.1", "3.5", "1.4", "0.2", "--js"], "Unrecognized arguments: --js. Try --help."),
    ],
)
def test_anything_else_is_one_line_and_exit_code_2(
    words: list[str], line: str, main, capsys: pytest.CaptureFixture[str]
):
    try:
        code = main(words)
    except SystemExit as end:  # how argparse ends a program
        code = end.code
    assert code == 2
    assert capsys.readouterr() == ("", line + "\n")


def test_the_process_says_the_same_on_the_error_output(program: Start):
    for words in (["-inf", "3.5", "1.4", "0.2"], ["\udcff\udcfe", "3.5", "1.4", "0.2"]):  # the latter is not UTF-8
        one = program(MODULE, *words)
        assert one.wait() == 2
        assert one.output == ""
        assert re.fullmatch(r"sepal_length: .+ is not .+\n", one.errors)


def test_help_tells_the_settings_and_needs_no_network(program: Start):
    one = program(MODULE, "--help")
    assert one.wait() == 0
    for text in ("5.1 3.5 1.4 0.2", "--json", "IRIS_MODEL_PATH", "IRIS_SIMULATED_CPU_SECONDS"):
        assert text in one.output
    assert one.errors == ""


def test_a_setting_that_cannot_be_used_is_one_line(program: Start, env: dict[str, str]):
    one = program(MODULE, *LINE.split(), env=env | {"IRIS_SIMULATED_CPU_SECONDS": "nan"})
    assert one.wait() == 1
    assert (one.output, one.errors.count("\n")) == ("", 1)
    assert one.errors.startswith("IRIS_SIMULATED_CPU_SECONDS=nan: ")


def test_a_prediction_does_not_import_scikit_learn(model_path: Path, program: Start, env: dict[str, str]):
    one = program(MODULE, *LINE.split(), env=env | {"PYTHONPROFILEIMPORTTIME": "1"})
    assert one.wait() == 0
    assert "common.iris_model" in one.errors
    assert not re.search(r"\| +(sklearn|scipy|joblib|confluent_kafka|fastapi)\b", one.errors)
