"""Stage 2 as its users meet it: a person at a terminal, and a pipe."""

import signal
from collections.abc import Callable

import pytest

from common.iris_dto import EXPECTED
from common.terminal import PROMPT
from tests.helpers import CTRL_C, CTRL_D, LINE, STOP_SECONDS, VIRGINICA, Program

MODULE = "2_monolith_user_input_loop.iris_classifier_monolith_user_input_loop_app"
Start = Callable[..., Program]


def test_each_piped_line_gets_its_answer_and_nothing_else_is_printed(program: Start):
    lines = {
        LINE: "setosa (setosa ",
        "6.3, 3.3, 6.0, 2.5": "virginica (",
        " 6.3,3.3 6.0 ,2.5 ": "virginica (",
        "-5.1 3.5 1.4 0.2": f"sepal_length: -5.1 is not {EXPECTED}.",
        "5.1 3.5 1e-3 0.2": "setosa (",
        "5.1 3.5 1.4 -1e-3": f"petal_width: -0.001 is not {EXPECTED}.",
        "5.1 3.5 1.4": "Expected 4 numbers (",
        "5,1 3,5 1,4 0,2": "Expected 4 numbers (sepal_length, sepal_width, petal_length, petal_width in cm), got 8. "
        "Write decimals with a point",
        "": "Expected 4 numbers (sepal_length, sepal_width, petal_length, petal_width in cm), got 0.",
        "5.1 3.5 nan 0.2": f"petal_length: 'nan' is not {EXPECTED}.",
        "5.1 3.5 inf 0.2": f"petal_length: 'inf' is not {EXPECTED}.",
        "5.1 3.5 1e999 0.2": f"petal_length: inf is not {EXPECTED}.",
        "5.1 3.5 1_4 0.2": f"petal_length: '1_4' is not {EXPECTED}.",
        "quit": "Expected 4 numbers (",
        VIRGINICA: "virginica (",
        "5.1 3.5 1.4 50": "virginica (",
    }
    one = program(MODULE, stdin="\n".join(lines))  # the last line has no end
    assert one.wait() == 0
    *answers, warning = one.output.splitlines()
    assert warning == "  warning: petal_width 50 cm is far outside the training data (0.1 to 2.5 cm)"
    assert len(answers) == len(lines)
    for (line, expected), answer in zip(lines.items(), answers, strict=True):
        assert answer.startswith(expected), line
    assert one.errors == ""


@pytest.mark.parametrize("end", [" Q \n5.1 3.5 1.4 0.2", ""])
def test_q_and_the_end_of_input_leave(end: str, program: Start):
    one = program(MODULE, stdin=f"{LINE}\n{end}")
    assert one.wait() == 0
    assert one.output.count("\n") == 1
    assert one.errors == ""


def test_bytes_that_are_no_text_and_a_megabyte_are_explained_and_the_next_line_is_answered(program: Start):
    garbage = [b"\xff\xfe\x00\x80 3.5 1.4 0.2", b"\x00" * 100, b"x" * 1_000_000, b"1 " * 500_000, b"9" * 1_000_000]
    one = program(MODULE, stdin=b"\n".join([*garbage, LINE.encode()]))
    assert one.wait() == 0
    *explained, answer = one.output.splitlines()
    assert len(explained) == len(garbage)
    assert all(len(line) < 200 for line in explained)
    assert explained[0].startswith("sepal_length: ")
    assert explained[3].endswith("got 500000.")
    assert answer.startswith("setosa (")


def test_a_person_sees_the_prompt_and_is_asked_again(program: Start):
    one = program(MODULE, terminal=True)
    one.wait_for(PROMPT)
    one.send_line(LINE)
    one.wait_for_line("setosa (")
    one.wait_for(PROMPT)
    one.send_line("5.1 3.5")
    one.wait_for_line("got 2.")
    one.wait_for(PROMPT)
    one.send_line("q")
    assert one.wait() == 0


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
def test_control_c_and_control_d_leave_quietly(key: bytes, program: Start):
    one = program(MODULE, terminal=True)
    one.wait_for(PROMPT)
    one.send(key)
    assert one.wait(STOP_SECONDS) == 0
    assert one.output.replace("^C", "").replace("^D\b\b", "").strip() == PROMPT.strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_it_waits_for_a_pipe(number: signal.Signals, program: Start):
    one = program(MODULE)
    one.send_line(LINE)
    one.wait_for_line("setosa (")
    one.signal(number)
    assert one.wait(STOP_SECONDS) in (0, 130, -signal.SIGTERM)
    assert one.errors == ""


def test_each_answer_comes_before_the_next_line_is_read(program: Start):
    one = program(MODULE)
    for _ in range(3):
        one.send_line(VIRGINICA)
        assert one.wait_for_line("virginica (").startswith("virginica (")
    one.end_input()
    assert one.wait() == 0


def test_wrong_arguments_are_one_line_and_exit_code_2(program: Start):
    one = program(MODULE, "5.1")
    assert one.wait() == 2
    assert (one.output, one.errors) == ("", "Unrecognized arguments: 5.1. Try --help.\n")
