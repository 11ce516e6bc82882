"""What the services read and answer, with the fast codec of `common/iris_codec.py`.

What that refuses goes to pydantic, which has the last word and knows what to tell the client.
"""

from typing import Annotated, Any, TypeVar

import msgspec
from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError

from common.formats.units import UNITS, expected_number
from common.iris_codec import NOT_FAST, FastIrisType, FastMeasurement, json_decoder, to_fast
from common.iris_dto import FEATURES, Measurement, shorten
from common.web.problems import Problem, wrong_input

MAX_MEASUREMENTS = 10_000  # in one request
TAGS = {"one", "many", *UNITS}  # what pydantic puts into the path of a finding to name a member of a union

Many = Annotated[list[Measurement], Field(min_length=1, max_length=MAX_MEASUREMENTS, fail_fast=True)]
Model = TypeVar("Model", bound=BaseModel)


def one_or_many(value: Any) -> str:
    """Tell pydantic which of the two it has before it, so that its findings are about that one."""
    return "many" if isinstance(value, list) else "one"


class PredictRequest(BaseModel):
    """What the model service takes."""

    input: Annotated[Annotated[Measurement, Tag("one")] | Annotated[Many, Tag("many")], Discriminator(one_or_many)]


class PredictBody(msgspec.Struct, forbid_unknown_fields=True):
    """`PredictRequest` for msgspec."""

    input: FastMeasurement | Annotated[list[FastMeasurement], msgspec.Meta(min_length=1, max_length=MAX_MEASUREMENTS)]


class PredictAnswer(msgspec.Struct):
    """What the model service answers. `model` tells which model it was."""

    predictions: list[FastIrisType]
    model: msgspec.Raw = msgspec.Raw(b"{}")


decode_predict = json_decoder(PredictBody)
decode_measurement = json_decoder(FastMeasurement)


def read_measurements(body: bytes) -> list[FastMeasurement]:
    """Return the measurements in the body of `POST /predict`, or raise the Problem 422 that names the field."""
    try:
        several = decode_predict(body).input
    except NOT_FAST:
        accepted = check(PredictRequest, body).input
        return [to_fast(one) for one in accepted] if isinstance(accepted, list) else [to_fast(accepted)]
    return several if isinstance(several, list) else [several]


def read_measurement(body: bytes) -> FastMeasurement:
    """Return the one measurement in a body, or raise the Problem 422 that names the field."""
    try:
        return decode_measurement(body)
    except NOT_FAST:
        return to_fast(check(Measurement, body))


def check(kind: type[Model], body: bytes) -> Model:
    """Decode and validate with pydantic; what it does not accept is a Problem 422."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> Problem:
    """Return the Problem 422 for pydantic's first finding: field, value and what was expected."""
    first = error.errors(include_url=False)[0]
    tags = [part for part in first["loc"] if part in TAGS]
    field = ".".join(str(part) for part in first["loc"] if part not in TAGS)
    value, name = first.get("input"), field.rpartition(".")[2]
    if first["type"] == "json_invalid":
        return wrong_input("The body is not JSON.")
    if not field:
        return wrong_input(f"{shorten(repr(value))} is not a JSON object with the fields that are expected.")
    if name in FEATURES:
        expected = expected_number(next((tag for tag in tags if tag in UNITS), "cm"))
    elif first["type"] in ("too_short", "too_long"):
        return wrong_input(f"{field}: expected 1 to {MAX_MEASUREMENTS} measurements.", field=field)
    else:
        expected = {"unit": f"one of {', '.join(UNITS)}", "forward_to_model": "true or false"}.get(
            name, "a measurement, an object with " + ", ".join(FEATURES)
        )
    found = "missing, expected" if first["type"] == "missing" else f"{shorten(repr(value))} is not"
    return wrong_input(f"{field}: {found} {expected}.", field=field)
