"""The shapes of the messages: strict in what is sent, generous in what is taken."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.iris_dto import (
    EXPECTED,
    FEATURES,
    InvalidMeasurement,
    IrisType,
    Measurement,
    Result,
    Task,
    is_task,
    shorten,
    split_words,
    validate,
    validate_json,
    validate_object,
)
from tests.helpers import LINE, ROW, X


def test_four_words_are_a_measurement_in_the_order_of_the_features():
    assert validate(LINE.split()) == Measurement(**X)
    assert validate(["5.1", "35e-1", "+1.4", ".2"]).row() == ROW
    assert list(X) == list(FEATURES)


@given(st.lists(st.floats(0, 100, exclude_min=True), min_size=4, max_size=4))
def test_every_number_above_0_and_at_most_100_comes_back_unchanged(row: list[float]):
    measurement = validate([repr(value) for value in row])
    assert measurement.row() == row
    assert validate_json(measurement.model_dump_json().encode()) == measurement
    assert validate_object(dict(zip(FEATURES, row, strict=True))) == measurement


@given(st.floats().filter(lambda value: not 0 < value <= 100))
def test_every_other_number_is_refused_in_one_line(value: float):
    with pytest.raises(InvalidMeasurement, match=r"^petal_width: .+ is not a number above 0 and at most 100 \(cm\)\.$"):
        validate(["5.1", "3.5", "1.4", repr(value)])
    with pytest.raises(InvalidMeasurement, match=r"^petal_width: "):
        validate_json(json.dumps(X | {"petal_width": value}).encode())


@given(st.text())
def test_any_text_is_a_number_or_refused_in_one_line(word: str):
    try:
        measurement = validate(["5.1", "3.5", "1.4", word])
    except InvalidMeasurement as error:
        assert "\n" not in str(error)
        assert str(error).startswith("petal_width: ") and str(error).endswith(f" is not {EXPECTED}.")
        assert len(str(error)) < 300
    else:
        assert measurement.petal_width == float(word) and math.isfinite(measurement.petal_width)


@given(st.lists(st.text(max_size=3), max_size=12).filter(lambda words: len(words) != 4))
def test_any_other_count_is_refused_with_the_count(words: list[str]):
    with pytest.raises(InvalidMeasurement, match=rf"^Expected 4 numbers \(.+ in cm\), got {len(words)}\."):
        validate(words)


def test_decimal_commas_are_explained():
    with pytest.raises(InvalidMeasurement, match=r"got 8\. Write decimals with a point: 5\.1 instead of 5,1\.$"):
        validate(split_words("5,1 3,5 1,4 0,2"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("5.1 3.5 1.4 0.2", ["5.1", "3.5", "1.4", "0.2"]),
        ("5.1,3.5,1.4,0.2", ["5.1", "3.5", "1.4", "0.2"]),
        (" 5.1 , 3.5,  1.4\t0.2 \n", ["5.1", "3.5", "1.4", "0.2"]),
        ("-5.1 1e-3", ["-5.1", "1e-3"]),
        ("5.1,,0.2", ["5.1", "", "0.2"]),
        (",", ["", ""]),
        (" \t\n", []),
        ("", []),
    ],
)
def test_a_line_is_split_at_commas_and_spaces(line: str, words: list[str]):
    assert split_words(line) == words


@pytest.mark.parametrize(
    "written", ['"0.2"', "true", "null", "[0.2]", "{}", "NaN", "Infinity", "1e400", "-0", "0", "101"]
)
def test_a_json_value_that_is_no_length_is_refused_with_the_field(written: str):
    with pytest.raises(InvalidMeasurement, match=r"^petal_width: "):
        validate_json(json.dumps(X).replace("0.2", written).encode())


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(value: bytes):
    with pytest.raises(InvalidMeasurement, match=r"^[^\n]{1,200}$"):
        validate_json(value)
    assert not is_task(value)


def test_unknown_fields_are_ignored_and_whole_numbers_are_numbers():
    value = json.dumps({"task_id": "t", "X": X | {"petal_width": 1, "colour": "blue"}, "priority": 1})
    task = Task.model_validate_json(value)
    assert task.X.petal_width == 1.0
    assert is_task(value.encode())
    assert not is_task(json.dumps(X).encode()) and not is_task(None)


@pytest.mark.parametrize("task_id", ["", "t" * 129, 1, None, True])
def test_a_task_id_is_a_string_of_1_to_128_characters(task_id: object):
    assert not is_task(json.dumps({"task_id": task_id, "X": X}).encode())
    assert is_task(json.dumps({"task_id": "ü" * 128, "X": X}).encode())


@pytest.mark.parametrize(
    "value",
    ['{"y": {"iris_type": 0}}', '{"y": {"iris_type": 2, "more": 1}, "X": "?", "more": []}', '{"error": {"code": "c"}}'],
)
def test_of_a_result_only_the_answer_is_required(value: str):
    result = Result.model_validate_json(value)
    assert (result.y is None) != (result.error is None)


@pytest.mark.parametrize(
    "value",
    ["{}", '{"y": {}}', '{"y": {"iris_type": 3}}', '{"y": {"iris_type": "0"}}', '{"y": {"iris_type": true}}', "[]"],
)
def test_a_result_without_an_answer_is_none(value: str):
    with pytest.raises(ValueError):
        Result.model_validate_json(value)


def test_a_result_is_written_without_the_fields_that_have_nothing_to_say():
    y = IrisType(iris_type=0, species="setosa", probabilities={"setosa": 1.0})
    assert json.loads(Result(X=Measurement(**X), y=y).to_json()) == {
        "X": X,
        "y": {"iris_type": 0, "species": "setosa", "probabilities": {"setosa": 1.0}},
    }
    warned = y.model_copy(update={"warnings": ["far outside"]})
    assert json.loads(Result(task_id="t", y=warned).to_json())["y"]["warnings"] == ["far outside"]


def test_what_is_shown_of_a_long_value_is_its_beginning():
    assert shorten("x" * 41) == "x" * 40 + "..."
    assert shorten("x" * 40) == "x" * 40
    assert shorten(5.1) == 5.1
    assert shorten([1] * 100) == repr([1] * 100)[:40] + "..."
