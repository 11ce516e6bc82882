"""The fast codec accepts and refuses exactly the bytes that `common.iris_dto.Task` does, however they are batched."""

import json
from importlib import import_module

import numpy as np
import pytest
from confluent_kafka import Message
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from common.iris_dto import FEATURES, InvalidMeasurement, Result, Task, validate_json
from common.iris_model import IrisModel, predict_many
from common.kafka.topics import TASKS
from tests.helpers import X

codec = import_module("5_task_queue.worker.codec")

NUMBERS = [
    *("5.1", "5", "100", "100.0", "1e2", "1E+1", "0.1e-5", "5e-324", "99.99999999999999999", "0.30000000000000004"),
    *("0", "-0", "-0.0", "0.0", "-5", "1e400", "-1e400", "1e-400", "100.00000000000001", "100.000000000000001"),
    *("9" * 30, "9" * 400, "9" * 5000, "1" + "0" * 400 + "e-399", "0." + "0" * 400 + "1", "0." + "3" * 400),
    *("NaN", "Infinity", "-Infinity", "nan", "true", "null", '"5.1"', "[]", "[5.1]", "{}", "", "05", "5.", ".5", "+5"),
    *("0x10", "1_0", "5.1.1", "--5", "1e", "٥", "5,1"),
]
IDS = [
    *('"t"', '""', '" "', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83c\\udf38"', '"🌸"', '"ü"', '"\\n"'),
    '\"a\\/b\"',
    *('"' + "t" * 128 + '"', '"' + "t" * 129 + '"', '"' + "🌸" * 128 + '"', '"' + "🌸" * 129 + '"', '"\\"},{\\""'),
    *("1", "null", "true", "[]", "{}", '"a\nb"', '"a\tb"', '"\\x41"', "'t'", "", '"t', '"},\\n{"'),
]  # fmt: skip
BLANKS = ["", " ", "\t", "\r", "\n", "\r\n", "\x0b", "\u00a0", "\ufeff", "\x00"]
EXTRA = [
    '"colour":"blue"',
    '"colour":{"a":[1,{"b":null}]}',
    '"colour":',
    '"task_id":"u"',
    '"petal_width":1',
    '"X":{}',
    '""',
    "1:2",
]

numbers = st.one_of(st.just("5.1"), st.sampled_from(NUMBERS), st.floats().map(repr), st.integers().map(str))
ids = st.one_of(st.just('"t"'), st.sampled_from(IDS), st.text(max_size=5).map(json.dumps))
blanks = st.one_of(st.just(""), st.sampled_from(BLANKS))


@st.composite
def objects(draw: st.DrawFn, fields: list[str]) -> str:
    """Return a JSON object, or nearly one: fields shuffled, doubled, left out, blanks anywhere."""
    fields = draw(st.permutations(fields)) if draw(st.booleans()) else fields
    if draw(st.integers(0, 5)) == 0:
        fields = fields[1:]
    if draw(st.integers(0, 3)) == 0:
        fields = [*fields, draw(st.sampled_from([*EXTRA, *fields]) if fields else st.sampled_from(EXTRA))]
    comma = draw(st.sampled_from([","] * 8 + [",,", "", ", "]))
    blank = draw(blanks)
    return f"{{{blank}{comma.join(fields)}{blank}}}"


@st.composite
def tasks(draw: st.DrawFn) -> bytes:
    """Return the bytes of a task, or of something near it."""
    values = [draw(numbers) if draw(st.integers(0, 2)) == 0 else "5.1" for _ in FEATURES]
    measurement = draw(objects([f'"{name}":{value}' for name, value in zip(FEATURES, values, strict=True)]))
    text = draw(objects([f'"task_id":{draw(ids)}', f'"X":{measurement}']))
    return (draw(blanks) + text + draw(blanks)).encode("utf-8", errors="surrogatepass")


PUNCTUATION = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\n", b" "]
VALID = json.dumps({"task_id": "t", "X": X}).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a task from which something was cut, or into which something was put."""
    value = draw(st.one_of(st.just(VALID), tasks()))
    start = draw(st.integers(0, len(value)))
    end = draw(st.integers(start, min(len(value), start + 5)))
    return value[:start] + draw(st.one_of(st.binary(max_size=3), st.sampled_from(PUNCTUATION))) + value[end:]


values = st.one_of(st.just(VALID), tasks(), damaged(), st.binary(max_size=20), st.just(json.dumps(X).encode()))


@st.composite
def batches(draw: st.DrawFn) -> list[bytes]:
    """Return some messages; at times a task split over two of them, next to one that holds two tasks."""
    batch = draw(st.lists(values, min_size=1, max_size=5))
    if draw(st.booleans()):
        task = draw(st.one_of(st.just(VALID), tasks()))
        commas = [i for i, byte in enumerate(task) if byte == ord(",")] or [len(task) // 2]
        cut = draw(st.one_of(st.sampled_from(commas), st.integers(0, len(task))))
        halves = [task[:cut], task[cut + draw(st.integers(0, 1)) :]]
        double = draw(st.sampled_from([b",", b",\n", b"\n", b"", b" , "])).join([VALID, VALID])
        at = draw(st.integers(0, len(batch)))
        batch[at:at] = draw(st.sampled_from([[*halves, double], [double, *halves], halves, [double]]))
    return batch


def judged(value: bytes) -> Task | None:
    """Return what `Task` says, which alone decides."""
    try:
        return Task.model_validate_json(value)
    except ValidationError:
        return None


def message(value: bytes, offset: int = 0) -> Message:
    return Message(topic=TASKS, partition=0, offset=offset, key=f"key-{offset}".encode(), value=value)  # type: ignore[call-arg]


def same(fast, task: Task) -> bool:
    row = [getattr(fast.X, name) for name in FEATURES]
    return fast.task_id == task.task_id and row == task.X.row() and all(type(value) is float for value in row)


def is_measurement(value: bytes) -> bool:
    try:
        validate_json(value)
    except InvalidMeasurement:
        return False
    return True


@settings(max_examples=600)
@given(value=values)
@example(value=b"")
@example(value=b"[" * 100_000)
@example(value=b'{"task_id":' * 100_000)
@example(value=b'{"a":' * 100_000)
def test_one_message_is_accepted_or_refused_as_task_does(value: bytes):
    expected = judged(value)
    try:
        fast = codec.decode_one(value)
    except codec.Refused as refused:
        assert expected is None and not is_measurement(value)
        assert str(refused) and "\n" not in str(refused) and len(str(refused)) < 300
    except codec.OfStage4:
        assert expected is None and is_measurement(value)
    else:
        assert expected is not None and same(fast, expected)


@pytest.mark.parametrize("number", NUMBERS, ids=range(len(NUMBERS)))
def test_every_way_to_write_a_number_is_judged_as_task_does(number: str):
    value = VALID.replace(b"0.2", number.encode())
    expected = judged(value)
    try:
        fast = codec.decode_one(value)
    except codec.Refused:
        assert expected is None
    else:
        assert expected is not None and same(fast, expected)


@settings(max_examples=600)
@given(batch=batches())
@example(batch=[VALID[:40], VALID[41:], VALID + b"," + VALID])
@example(batch=[VALID, VALID + b",\n" + VALID])
@example(batch=[b'{"task_id":"t","X":{}', b'{"task_id":"t"}}'])
@example(batch=[b""])
@example(batch=[b"", b""])
@example(batch=[b"{", b"}"])
def test_a_batch_never_gives_a_message_what_belongs_to_another(batch: list[bytes]):
    found, replies = codec.decode([message(value, at) for at, value in enumerate(batch)])
    accepted = [task for value in batch if (task := judged(value))]
    assert len(found) == len(accepted) and all(map(same, found, accepted))
    of_stage_4 = [value for value in batch if not judged(value) and is_measurement(value)]
    assert len(replies.skipped) == len(of_stage_4)
    refused = [at for at, value in enumerate(batch) if not judged(value) and value not in of_stage_4]
    assert [letter.message.offset() for letter in replies.dead_letters] == refused
    assert [task_id for task_id, _ in replies.results] == [f"key-{at}" for at in refused]


sent_rows = st.lists(
    st.tuples(st.text(min_size=1, max_size=128), *[st.floats(0, 100, exclude_min=True)] * 4), min_size=1
)


@given(rows=sent_rows)
def test_what_our_client_sends_is_decoded_and_comes_back_as_a_result(model: IrisModel, rows):
    sent = [Task.model_validate({"task_id": row[0], "X": dict(zip(FEATURES, row[1:], strict=True))}) for row in rows]
    decoded, replies = codec.decode([message(task.model_dump_json().encode()) for task in sent])
    assert all(map(same, decoded, sent))
    assert (replies.results, replies.dead_letters, replies.skipped) == ([], [], [])
    array = codec.to_array(decoded)
    assert array.shape == (len(rows), 4)
    assert np.array_equal(array, [task.X.row() for task in sent])
    encoded = codec.encode_batch(decoded, array, model.predict_proba(array), model)
    expected = predict_many(model, [task.X for task in sent])
    for value, task, iris_type in zip(encoded, sent, expected, strict=True):
        result = Result.model_validate_json(value)
        assert (result.task_id, result.X) == (task.task_id, task.X.model_dump())
        assert result.y and result.y.iris_type == iris_type.iris_type and result.y.species == iris_type.species
        assert result.y.probabilities == pytest.approx(iris_type.probabilities, abs=1e-12)
        assert result.y.warnings == iris_type.warnings
        assert (b'"warnings"' in value) == bool(iris_type.warnings)
