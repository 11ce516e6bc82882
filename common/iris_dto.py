"""The shapes of what travels between the programs: a measurement in, an iris type out.

Worked example:

    >>> measurement = validate(["5.1", "3.5", "1.4", "0.2"])
    >>> measurement.model_dump_json()
    '{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2}'
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")  # all in cm
SPECIES = ("setosa", "versicolor", "virginica")  # iris types 0, 1 and 2
MAX_CM = 100.0  # no iris comes near it
TASK_ID_MAX_CHARACTERS = 128  # a UUID4 has 36
EXPECTED = f"a number above 0 and at most {MAX_CM:g} (cm)"

Centimetres = Annotated[float, Field(strict=True, gt=0, le=MAX_CM, allow_inf_nan=False)]


class InvalidMeasurement(ValueError):
    """What came in is not a measurement; the message is one line: the field, the value and what is expected."""


class Measurement(BaseModel):
    """One flower, in cm. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True)

    sepal_length: Centimetres
    sepal_width: Centimetres
    petal_length: Centimetres
    petal_width: Centimetres

    def row(self) -> list[float]:
        """Return the four values in the order of FEATURES, as the model takes them."""
        return [self.sepal_length, self.sepal_width, self.petal_length, self.petal_width]


class IrisType(BaseModel):
    """The model's answer. From other programs only `iris_type` is required."""

    iris_type: Annotated[int, Field(strict=True, ge=0, le=2)]
    species: str = ""
    probabilities: dict[str, float] = {}
    warnings: Annotated[list[str], Field(exclude_if=lambda warnings: not warnings)] = []


class Task(BaseModel):
    """What stage 5's client sends: a measurement, with an id that no other task has."""

    task_id: Annotated[str, Field(strict=True, min_length=1, max_length=TASK_ID_MAX_CHARACTERS)]
    X: Measurement


class TaskError(BaseModel):
    """Why a task has no answer: a short name for programs, a sentence for people."""

    code: str
    message: str = ""


class Result(BaseModel):
    """What a worker sends: the measurement and the answer; from stage 5 on, with the task's id, or an error instead."""

    task_id: Annotated[str, Field(max_length=TASK_ID_MAX_CHARACTERS)] | None = None
    X: Any = None  # a Measurement in our own results; readers accept anything
    y: IrisType | None = None
    error: TaskError | None = None

    @model_validator(mode="after")
    def _has_an_answer(self) -> Self:
        if self.y is None and self.error is None:
            raise ValueError("neither y nor error")
        return self

    def to_json(self) -> bytes:
        """Return the message value, without the fields that are empty."""
        return self.model_dump_json(exclude_none=True).encode("utf-8")


def validate(words: Sequence[str]) -> Measurement:
    """Return the measurement that a person typed as four words.

    Raises:
        InvalidMeasurement: not exactly four finite numbers above 0 and at most 100.
    """
    if len(words) != len(FEATURES):
        hint = " Write decimals with a point: 5.1 instead of 5,1." if len(words) == 2 * len(FEATURES) else ""
        raise InvalidMeasurement(f"Expected 4 numbers ({', '.join(FEATURES)} in cm), got {len(words)}.{hint}")
    values = {}
    for name, word in zip(FEATURES, words, strict=True):
        try:
            if not re.fullmatch(r"[-+.0-9eE]+", word):  # float() alone would take nan, inf and 1_0
                raise ValueError
            values[name] = float(word)
        except ValueError:
            raise InvalidMeasurement(f"{name}: {shorten(word)!r} is not {EXPECTED}.") from None
    return validate_object(values)


def validate_object(values: Any) -> Measurement:
    """Return the measurement in a decoded JSON value, or raise InvalidMeasurement."""
    try:
        return Measurement.model_validate(values)
    except ValidationError as error:
        raise InvalidMeasurement(first_finding(error)) from None


def validate_json(value: bytes | None) -> Measurement:
    """Return the measurement in a message's bytes, or raise InvalidMeasurement."""
    try:
        return Measurement.model_validate_json(value or b"")
    except ValidationError as error:
        raise InvalidMeasurement(first_finding(error)) from None


def is_task(value: bytes | None) -> bool:
    """Return True if a message of `tasks` is a valid task of stage 5."""
    try:
        Task.model_validate_json(value or b"")
    except ValidationError:
        return False
    return True


def split_words(line: str) -> list[str]:
    """Split what a person typed at commas or spaces: '5.1, 3.5 1.4,0.2' has four words."""
    line = line.strip()
    return re.split(r"\s*,\s*|\s+", line) if line else []


def first_finding(error: ValidationError) -> str:
    """Return the first finding of a validation as one line: the field, the value and what was expected."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{field}: missing, expected {_expected(field)}."
    if not field:
        return "Expected a JSON object with the fields of the message." if "json" not in first["type"] else "Not JSON."
    return f"{field}: {shorten(first['input'])!r} is not {_expected(field)}."


def _expected(field: str) -> str:
    name = field.rsplit(".", 1)[-1]
    if name in FEATURES:
        return EXPECTED
    return {
        "X": f"a JSON object with {', '.join(FEATURES)}",
        "task_id": f"a string of 1 to {TASK_ID_MAX_CHARACTERS} characters",
        "iris_type": "0, 1 or 2",
    }.get(name, "valid")


def shorten(value: Any, limit: int = 40) -> Any:
    """Return a value that is short enough to show: as it is, or its beginning."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) <= limit:
        return value
    return text[:limit] + "..."
