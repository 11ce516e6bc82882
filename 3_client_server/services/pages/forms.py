"""The form of the pages: four numbers and a unit. What was typed is kept, so that a mistake is mended, not retyped."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from common.formats.units import UNITS, to_cm
from common.iris_dto import FEATURES, MAX_CM, Measurement

EXAMPLE = {"sepal_length": "6.1", "sepal_width": "2.8", "petal_length": "4.7", "petal_width": "1.2"}  # a versicolor
POINT = "Write decimals with a point, as in 5.1."
MAX_CHARACTERS = 60  # of what was typed, shown again


@dataclass
class MeasurementForm:
    """What a person typed, and what is wrong with it, by field."""

    values: dict[str, str] = field(default_factory=lambda: dict(EXAMPLE))
    unit: str = "cm"
    errors: dict[str, str] = field(default_factory=dict)
    measurement: Measurement | None = None
    file_unit: str = "cm"  # of the form beside it, which takes a CSV file


def read_form(data: Mapping[str, object]) -> MeasurementForm:
    """Return the filled form: with a measurement in cm, or with a sentence for every field that is wrong."""
    form = MeasurementForm({name: _text(data.get(name)) for name in FEATURES}, _text(data.get("unit")) or "cm")
    if form.unit not in UNITS:
        form.errors["unit"] = f"Choose one of the units {', '.join(UNITS)}."
        form.unit = "cm"
        return form
    expected = f"Enter a number above 0, at most {MAX_CM / UNITS[form.unit]:.4g} {form.unit}."
    numbers = {}
    for name, text in form.values.items():
        if re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]{1,3})?|[0-9]+\.", text):
            numbers[name] = to_cm(float(text), form.unit)
        else:
            form.errors[name] = POINT if re.fullmatch("[0-9]+,[0-9]+", text) else expected
    try:
        form.measurement = Measurement.model_validate(numbers)
    except ValidationError as error:
        for finding in error.errors(include_url=False):
            name = str(finding["loc"][0])
            form.errors.setdefault(name, expected)
    form.errors = {name: form.errors[name] for name in FEATURES if name in form.errors}  # in the form's order
    return form


def _text(value: object) -> str:
    """Return what was typed as text that can be shown: no uploaded file, not endless, and always valid UTF-8."""
    text = value.strip() if isinstance(value, str) else ""
    return text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
