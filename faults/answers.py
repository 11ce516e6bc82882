"""What the right answer to each task is: the model's own."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from common.iris_dto import FEATURES, SPECIES, Measurement
from common.iris_model import load_model

Row = tuple[float, ...]
TOLERANCE = 1e-6  # of a probability


def row_of(measurement: Measurement) -> Row:
    """Return the values in the order of FEATURES, cm."""
    return tuple(getattr(measurement, name) for name in FEATURES)


def right_answers(rows: Iterable[Row]) -> dict[Row, dict[str, float]]:
    """Return the model's probability of each species for each measurement."""
    rows = list(dict.fromkeys(rows))
    if not rows:
        return {}
    return {
        row: dict(zip(SPECIES, found, strict=True))
        for row, found in zip(rows, load_model().predict_proba(np.array(rows)).tolist(), strict=True)
    }


def is_right(y: Any, probabilities: Mapping[str, float]) -> bool:
    """Return whether the answer in a result, decoded from JSON, is what the model says.

    >>> is_right({"species": "setosa", "probabilities": {"setosa": 0.9, "virginica": 0.1}},
    ...          {"setosa": 0.9, "virginica": 0.1})
    True
    """
    try:
        same = all(abs(y["probabilities"][name] - value) < TOLERANCE for name, value in probabilities.items())
        return same and y["species"] == max(probabilities, key=lambda name: probabilities[name])
    except (KeyError, TypeError):
        return False
