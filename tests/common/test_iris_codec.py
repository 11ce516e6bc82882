"""The fast codec accepts what pydantic accepts, refuses the rest to it, and both mean the same."""

import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import iris_codec
from common.iris_dto import FEATURES, IrisType, Measurement
from common.iris_model import IrisModel, predict_many
from tests.helpers import X

decode_measurement = iris_codec.json_decoder(iris_codec.FastMeasurement)
decode_iris_type = iris_codec.json_decoder(iris_codec.FastIrisType)
NUMBERS = st.one_of(
    st.floats(0.0, 101.0).map(repr),
    st.floats().map(json.dumps),
    st.integers(-1, 10**30).map(str),
    st.sampled_from(["5e-324", "1e-400", "1e400", "100.00000000000001", "100", "0", "-0.0", "1E1", "05", "1.", ".1"]),
    st.sampled_from(["true", "null", '"5"', "[]", "{}", "[" * 100_000]),
)
MEASUREMENTS = st.one_of(
    st.lists(st.tuples(st.sampled_from([*FEATURES, "colour"]), NUMBERS), max_size=6),
    st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS).map(lambda numbers: list(zip(FEATURES, numbers, strict=True))),
).map(lambda pairs: ("{" + ",".join(f'"{name}": {number}' for name, number in pairs) + "}").encode())
ROWS = st.lists(st.tuples(*[st.floats(1e-300, 100)] * 4), min_size=1, max_size=5)


@given(body=MEASUREMENTS | st.binary(max_size=60))
def test_what_it_accepts_pydantic_accepts_as_the_same(body: bytes):
    with suppress(*iris_codec.NOT_FAST):
        assert decode_measurement(body).row() == Measurement.model_validate_json(body).row()


@given(rows=ROWS)
def test_what_our_programs_send_is_decoded_fast(rows):
    for row in rows:
        sent = Measurement(**dict(zip(FEATURES, row, strict=True)))
        assert decode_measurement(sent.model_dump_json().encode()).row() == sent.row() == list(row)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[" * 100_000, json.dumps(X | {"colour": 1}).encode()])
def test_what_it_refuses_it_refuses_in_the_ways_it_names(body: bytes):
    with pytest.raises(iris_codec.NOT_FAST):
        decode_measurement(body)


@given(rows=ROWS)
def test_predictions_are_those_of_the_model_and_survive_the_way_through_json(model: IrisModel, rows):
    measurements = [Measurement(**dict(zip(FEATURES, row, strict=True))) for row in rows]
    expected = predict_many(model, measurements)
    fast = [iris_codec.to_fast(measurement) for measurement in measurements]
    assert np.array_equal(iris_codec.to_array(fast), np.array(rows))
    for answer, other in zip(iris_codec.predict_fast(model, fast), expected, strict=True):
        assert iris_codec.to_iris_type(answer) == other
        assert iris_codec.encode(answer) == other.model_dump_json().encode()
        assert decode_iris_type(iris_codec.encode(answer)) == answer


@pytest.mark.parametrize("change", [{"iris_type": 3}, {"iris_type": -1}, {"species": "rose"}, {"probabilities": {}}])
def test_an_iris_type_that_makes_no_sense_is_refused(change: dict):
    good = {"iris_type": 0, "species": "setosa", "probabilities": {"setosa": 1.0, "versicolor": 0.0, "virginica": 0.0}}
    assert iris_codec.to_iris_type(decode_iris_type(json.dumps(good).encode())) == IrisType.model_validate(good)
    with pytest.raises(iris_codec.NOT_FAST):
        decode_iris_type(json.dumps(good | change).encode())


def test_no_measurements_are_an_empty_array(model: IrisModel):
    assert iris_codec.to_array([]).shape == (0, 4)
    assert iris_codec.predict_fast(model, []) == []
