"""The fast way and pydantic accept and refuse the same bytes, and both mean the same."""

import importlib
import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.formats import csv_file, units
from common.iris_codec import encode
from common.iris_dto import FEATURES, Measurement
from common.web.problems import Problem
from tests.helpers import X

codec = importlib.import_module("3_client_server.services.formats.codec")
preprocess = importlib.import_module("3_client_server.services.formats.preprocess")

NUMBERS = st.one_of(
    st.floats(0.0, 101.0).map(repr),
    st.integers(-1, 10**30).map(str),
    st.floats().map(json.dumps),
    st.sampled_from(["5e-324", "1e-400", "1e400", "100.00000000000001", "100", "0", "-0.0", "1E1", "05", "1.", ".1"]),
    st.from_regex(r"[0-9]{1,40}(\.[0-9]{1,400})?([eE][-+]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["true", "null", '"5"', "[]", "{}"]),
)
MEASUREMENTS = st.lists(st.tuples(st.sampled_from([*FEATURES, "colour"]), NUMBERS), max_size=6).map(
    lambda pairs: "{" + ",".join(f'"{name}": {number}' for name, number in pairs) + "}"
) | st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS).map(
    lambda numbers: "{" + ",".join(f'"{n}": {v}' for n, v in zip(FEATURES, numbers, strict=True)) + "}"
)
LISTS = st.lists(MEASUREMENTS, max_size=3).map(lambda many: "[" + ",".join(many) + "]")
BODIES = (MEASUREMENTS | LISTS).map(str.encode)
FILES = st.text(alphabet="0123456789.,;\n\"'eE+- sepal_lngthwid", max_size=200).map(str.encode)


def by_msgspec(kind: type, body: bytes):
    with suppress(msgspec.MsgspecError, ValueError):
        return msgspec.json.decode(body, type=kind)
    return None


def by_pydantic(kind, body: bytes):
    with suppress(ValidationError):
        return kind.model_validate_json(body)
    return None


def rows(value) -> list[list[float]]:
    return [one.row() for one in (value if isinstance(value, list) else [value])]


@given(body=BODIES)
def test_what_msgspec_accepts_pydantic_accepts_as_the_same(body: bytes):
    pairs = [
        (codec.PredictBody, codec.PredictRequest, b'{"input": %b}' % body, "input"),
        (preprocess.ProcessBody, preprocess.ProcessRequest, b'{"data": %b, "unit": "cm"}' % body, "data"),
    ]
    for fast_kind, slow_kind, whole, field in pairs:
        fast = by_msgspec(fast_kind, whole)
        if fast is not None:
            slow = by_pydantic(slow_kind, whole)
            assert slow is not None
            slow = getattr(slow, "root", slow)
            assert rows(getattr(fast, field)) == rows(getattr(slow, field))


@given(body=st.binary(max_size=60) | BODIES)
def test_reading_accepts_exactly_what_pydantic_accepts(body: bytes):
    expected = by_pydantic(Measurement, body)
    if expected is None:
        with pytest.raises(Problem):
            codec.read_measurement(body)
    else:
        assert codec.read_measurement(body).row() == expected.row()


def test_the_common_path_is_the_fast_one():
    assert by_msgspec(codec.PredictBody, encode({"input": X})) is not None
    assert by_msgspec(preprocess.ProcessBody, encode({"data": [X], "forward_to_model": False})) is not None


@pytest.mark.parametrize("unit", ["mm", "inches"])
@given(share=st.floats(0, 1, exclude_min=True))
def test_what_a_unit_allows_is_a_measurement_in_cm(unit: str, share: float):
    value = units.to_cm(share * 100 / units.UNITS[unit], unit)
    assert 0 < value <= 100


@given(content=st.binary(max_size=200) | FILES)
def test_any_file_is_measurements_or_a_problem(content: bytes):
    with suppress(Problem):
        assert all(isinstance(one, Measurement) for one in csv_file.parse_csv(content, "cm"))
