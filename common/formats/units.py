"""The units that people measure in, and how each becomes cm."""

from collections.abc import Mapping

from common.iris_dto import MAX_CM, Measurement, shorten
from common.web.problems import wrong_input

UNITS = {"cm": 1.0, "mm": 0.1, "inches": 2.54}  # in cm


def check_unit(unit: str) -> str:
    """Return the unit, or raise the Problem 422."""
    if unit not in UNITS:
        raise wrong_input(f"unit: {shorten(repr(unit))} is not one of {', '.join(UNITS)}.", field="unit")
    return unit


def to_cm(value: float, unit: str) -> float:
    """Return a length in cm: 51 mm are 5.1 cm, not 5.1000000000000005."""
    if unit == "cm":
        return value
    return round(value * UNITS[unit], 12) or value  # smaller than an atom, but not 0


def to_measurement(values: Mapping[str, float], unit: str) -> Measurement:
    """Return the measurement, whose four values are in this unit."""
    return Measurement.model_validate({name: to_cm(value, unit) for name, value in values.items()})


def expected_number(unit: str) -> str:
    """Return what a value in this unit may be."""
    return f"a number above 0 and at most {MAX_CM / UNITS[unit]:.4g} ({unit})"
