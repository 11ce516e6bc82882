"""Pre-processing: whatever form the measurements come in (cm, mm, inches; one, a list, a CSV file), cm leave it."""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, Discriminator, Field, RootModel, StrictBool, Tag

from common.formats.units import UNITS, to_measurement
from common.iris_codec import NOT_FAST, FastMeasurement, json_decoder, to_fast
from common.iris_dto import MAX_CM, Measurement

from .codec import MAX_MEASUREMENTS, Many, check, one_or_many


class ProcessBody(msgspec.Struct, forbid_unknown_fields=True):
    """`ProcessRequest` in cm for msgspec, as `codec.PredictBody`."""

    data: FastMeasurement | Annotated[list[FastMeasurement], msgspec.Meta(min_length=1, max_length=MAX_MEASUREMENTS)]
    unit: Literal["cm"] = "cm"
    forward_to_model: bool = True


Mm = Annotated[float, Field(strict=True, gt=0, le=MAX_CM / UNITS["mm"], allow_inf_nan=False)]
Inches = Annotated[float, Field(strict=True, gt=0, le=MAX_CM / UNITS["inches"], allow_inf_nan=False)]


class MeasurementInMm(BaseModel):
    """One flower, in mm."""

    sepal_length: Mm
    sepal_width: Mm
    petal_length: Mm
    petal_width: Mm


class MeasurementInInches(BaseModel):
    """One flower, in inches."""

    sepal_length: Inches
    sepal_width: Inches
    petal_length: Inches
    petal_width: Inches


several = Field(min_length=1, max_length=MAX_MEASUREMENTS, fail_fast=True)
ManyInMm = Annotated[list[MeasurementInMm], several]
ManyInInches = Annotated[list[MeasurementInInches], several]
one_or_several = Discriminator(one_or_many)


class ProcessCm(BaseModel):
    """Measurements in cm."""

    data: Annotated[Annotated[Measurement, Tag("one")] | Annotated[Many, Tag("many")], one_or_several]
    unit: Literal["cm"] = "cm"
    forward_to_model: StrictBool = True


class ProcessMm(BaseModel):
    """Measurements in mm."""

    data: Annotated[Annotated[MeasurementInMm, Tag("one")] | Annotated[ManyInMm, Tag("many")], one_or_several]
    unit: Literal["mm"]
    forward_to_model: StrictBool = True


class ProcessInches(BaseModel):
    """Measurements in inches."""

    data: Annotated[Annotated[MeasurementInInches, Tag("one")] | Annotated[ManyInInches, Tag("many")], one_or_several]
    unit: Literal["inches"]
    forward_to_model: StrictBool = True


def _unit_of(value: Any) -> str:
    unit = value.get("unit", "cm") if isinstance(value, dict) else "cm"
    return unit if isinstance(unit, str) and unit in UNITS else "cm"  # whose finding names the three units


class ProcessRequest(RootModel):
    """What `POST /process` takes as JSON."""

    root: Annotated[
        Annotated[ProcessCm, Tag("cm")] | Annotated[ProcessMm, Tag("mm")] | Annotated[ProcessInches, Tag("inches")],
        Discriminator(_unit_of),
    ]


decode_process = json_decoder(ProcessBody)


def read_process(body: bytes) -> tuple[list[FastMeasurement], bool]:
    """Return the measurements in the body of `POST /process`, in cm, and whether the model is to see them.

    Raises:
        Problem: 422, naming the field.
    """
    try:
        fast = decode_process(body)
    except NOT_FAST:
        request = check(ProcessRequest, body).root
        items = request.data if isinstance(request.data, list) else [request.data]
        measurements = [
            item if isinstance(item, Measurement) else to_measurement(item.model_dump(), request.unit) for item in items
        ]
        return list(map(to_fast, measurements)), request.forward_to_model
    return (fast.data if isinstance(fast.data, list) else [fast.data]), fast.forward_to_model
