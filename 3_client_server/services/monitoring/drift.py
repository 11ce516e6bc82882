"""Drift: do recent inputs still look like the flowers that the model was trained on?

The two-sample Kolmogorov-Smirnov test, feature by feature: draw for each of the two samples the share of values up to x
(the empirical distribution function). The statistic is the largest vertical distance between the two curves, the
p-value says how often two samples of one and the same source would be at least as far apart.
Source: https://docs.scipy.org/doc/scipy/reference/generated/scipy.stats.ks_2samp.html
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from common.iris_dto import FEATURES
from common.iris_model import Array

MIN_INPUTS = 20  # fewer say little
SIGNIFICANCE = 0.01  # chance of a false alarm, shared by the four tests
P_VALUE_LIMIT = SIGNIFICANCE / len(FEATURES)  # Bonferroni


@dataclass(frozen=True)
class FeatureDrift:
    """The test of one feature."""

    feature: str
    statistic: float  # 0 (same curve) to 1 (nothing in common)
    location: float  # cm, where the two curves are furthest apart
    p_value: float
    drifted: bool


@dataclass(frozen=True)
class DriftReport:
    """The tests of all features; none below MIN_INPUTS."""

    inputs: int
    needed: int
    p_value_limit: float
    features: tuple[FeatureDrift, ...] = ()

    @property
    def enough(self) -> bool:
        """Return whether there was enough data to test."""
        return self.inputs >= self.needed

    @property
    def drifted(self) -> list[str]:
        """Return the names of the features that have drifted."""
        return [test.feature for test in self.features if test.drifted]


@lru_cache(maxsize=1)
def training_flowers() -> tuple[Array, list[int]]:
    """Return the 150 flowers, shape (150, 4) in cm, and their iris types. Slow the first time: call it in a thread."""
    from common.iris_model import load_data

    X, y = load_data()
    return X, y.tolist()


def measure_drift(inputs: list[list[float]]) -> DriftReport:
    """Compare recent inputs, n rows of four values in cm, with the training flowers.

    The first call imports scipy and scikit-learn, about two seconds: call it in a thread.
    """
    if len(inputs) < MIN_INPUTS:
        return DriftReport(len(inputs), MIN_INPUTS, P_VALUE_LIMIT)
    recent, training = np.array(inputs, dtype=np.float64), training_flowers()[0]
    tests = tuple(_test(name, training[:, i], recent[:, i]) for i, name in enumerate(FEATURES))
    return DriftReport(len(inputs), MIN_INPUTS, P_VALUE_LIMIT, tests)


def _test(feature: str, training: Array, recent: Array) -> FeatureDrift:
    from scipy.stats import ks_2samp

    result: Any = ks_2samp(recent, training, method="asymp")  # the exact p-value takes long for large samples
    return FeatureDrift(
        feature=feature,
        statistic=float(result.statistic),
        location=float(result.statistic_location),
        p_value=float(result.pvalue),
        drifted=bool(result.pvalue < P_VALUE_LIMIT),
    )
