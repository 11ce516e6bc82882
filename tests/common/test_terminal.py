"""What all programs do the same at the terminal."""

import io
import shlex
import subprocess
import sys

import pytest

from common.errors import ProgramError
from common.iris_dto import IrisType
from common.settings import ROOT
from common.terminal import PROMPT, ArgumentParser, read_lines, run, show
from tests.helpers import LINE, WAIT_SECONDS

STAGE_2 = "2_monolith_user_input_loop.iris_classifier_monolith_user_input_loop_app"


def test_an_iris_type_is_shown_with_probabilities_and_warnings():
    chances = {"setosa": 0.979, "versicolor": 0.0209, "virginica": 0.0001}
    whole = IrisType(iris_type=0, species="setosa", probabilities=chances, warnings=["far outside", "very far"])
    assert show(whole) == (
        "setosa (setosa 97.9 %, versicolor 2.1 %, virginica 0.0 %)\n  warning: far outside\n  warning: very far"
    )
    assert show(IrisType(iris_type=2)) == "virginica"


def test_piped_lines_are_read_to_q_or_the_end_without_a_prompt(monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("1 2\n\n 3,4 \nq\n5\n"))
    assert list(read_lines()) == [["1", "2"], [], ["3", "4"]]
    monkeypatch.setattr("sys.stdin", io.StringIO("1\nquit"))
    assert list(read_lines()) == [["1"], ["quit"]]
    assert capsys.readouterr() == ("", "")


def test_a_person_is_shown_the_prompt_and_leaves_with_control_c(monkeypatch: pytest.MonkeyPatch, capsys):
    typed = iter(["1 2", KeyboardInterrupt()])
    prompts: list[str] = []

    def type_a_line(prompt: str) -> str:
        prompts.append(prompt)
        line = next(typed)
        if isinstance(line, BaseException):
            raise line
        return line

    person = io.StringIO()
    person.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", person)
    monkeypatch.setattr("builtins.input", type_a_line)
    assert list(read_lines()) == [["1", "2"]]
    assert prompts == [PROMPT, PROMPT]
    assert capsys.readouterr() == ("\n", "")


def raises(error: BaseException):
    def main() -> int:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "code", "errors"),
    [
        (lambda: 0, 0, ""),
        (lambda: 2, 2, ""),
        (raises(ProgramError("No Kafka answers.")), 1, "No Kafka answers.\n"),
        (raises(KeyboardInterrupt()), 130, ""),
    ],
)
def test_an_expected_failure_is_one_line_and_an_exit_code(main, code: int, errors: str, capsys):
    with pytest.raises(SystemExit) as end:
        run(main)
    assert end.value.code == code
    assert capsys.readouterr() == ("", errors)


def test_an_error_of_ours_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)


def test_the_reader_of_the_output_may_leave_first(env: dict[str, str]):
    lines = f"{LINE}\n" * 5000
    command = f"{shlex.quote(sys.executable)} -m {STAGE_2} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=env, input=lines, capture_output=True, text=True, timeout=WAIT_SECONDS
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("setosa (") and done.stdout.count("\n") == 1


@pytest.mark.parametrize("word", ["-5.1", "-.5", "-1e3", "-inf", "-NaN"])
def test_negative_numbers_are_values_and_no_options(word: str):
    parser = ArgumentParser("What it does.")
    parser.add_argument("words", nargs="*")
    assert parser.parse_args([word]).words == [word]


@pytest.mark.parametrize("word", ["-x", "--long", "-i"])
def test_options_that_do_not_exist_are_one_line_and_exit_code_2(word: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        ArgumentParser("What it does.").parse_args([word])
    assert end.value.code == 2
    assert capsys.readouterr() == ("", f"Unrecognized arguments: {word}. Try --help.\n")


def test_help_has_the_docstring_as_it_is_and_the_settings(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        ArgumentParser("One.\n\n- two\n", "rest_url").parse_args(["--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "One.\n\n- two\n" in out and "IRIS_REST_URL" in out
