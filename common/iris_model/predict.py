"""A trained model: predict, explain, describe. Needs numpy alone."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.iris_dto import FEATURES, SPECIES, IrisType, Measurement

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """Why the winner and not the runner-up: `sum(contributions.values()) + intercept == log_odds`."""

    winner: str
    runner_up: str
    log_odds: float  # ln(P(winner) / P(runner_up))
    intercept: float  # the part that does not come from a feature
    contributions: dict[str, float]  # per feature, towards the winner where positive


class IrisModel:
    """A trained model, ready to predict. Safe to share between threads."""

    def __init__(self, info: dict[str, Any], path: Path, simulated_cpu_seconds: float = 0.0) -> None:
        self.info = info
        self.path = path
        self.simulated_cpu_seconds = simulated_cpu_seconds  # per row
        fitted = {name: np.array(values) for name, values in info["parameters"].items()}
        self._mean, self._scale = fitted["mean"], fitted["scale"]
        self._coefficients, self._intercept = fitted["coefficients"], fitted["intercept"]
        self._slope = np.ascontiguousarray((self._coefficients / self._scale).T)  # (4, 3), scaling folded in
        self._offset = self._intercept - self._mean @ self._slope  # (3,)
        low, high = np.array(info["training_range"]["min"]), np.array(info["training_range"]["max"])
        self._low, self._high = low - (high - low) / 2, high + (high - low) / 2
        self._by_species = [(*slope, offset) for *slope, offset in np.vstack([self._slope, self._offset]).T.tolist()]
        self._limits = list(zip(self._low.tolist(), self._high.tolist(), strict=True))

    def predict_proba(self, X: Array) -> Array:
        """Return the probability of each species, shape (n, 3), for measurements in cm, shape (n, 4).

        Raises:
            ValueError: X has another shape, or a value that is not finite.
        """
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != len(FEATURES) or not np.isfinite(X).all():
            raise ValueError(f"Expected finite numbers of shape (n, {len(FEATURES)}), got shape {X.shape}.")
        if len(X) == 1:
            return np.array([self.predict_row(X[0].tolist())])
        if self.simulated_cpu_seconds:
            burn_cpu(self.simulated_cpu_seconds * len(X))
        scores = X @ self._slope + self._offset
        scores -= scores.max(axis=1, keepdims=True)  # exp() of large numbers would overflow
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def predict_row(self, row: Sequence[float]) -> list[float]:
        """Return the probability of each species for one measurement, in cm.

        The same as `predict_proba` of one row, in a tenth of the time: for so few numbers numpy is all overhead.
        """
        if self.simulated_cpu_seconds:
            burn_cpu(self.simulated_cpu_seconds)
        a, b, c, d = row
        scores = [u * a + v * b + w * c + x * d + offset for u, v, w, x, offset in self._by_species]
        highest = max(scores)
        odds = [exp(score - highest) for score in scores]
        total = sum(odds)
        return [part / total for part in odds]

    def row_far_outside(self, row: Sequence[float]) -> bool:
        """Return True if any of the four values is far outside the training data: `far_outside` for one row."""
        for value, (low, high) in zip(row, self._limits, strict=True):  # noqa: SIM110 (a loop is quicker)
            if not low <= value <= high:
                return True
        return False

    def far_outside(self, X: Array) -> NDArray[np.bool_]:
        """Return which values, shape (n, 4), lie outside the training data by more than half its range."""
        return (X < self._low) | (X > self._high)

    def warnings(self, row: Array) -> list[str]:
        """Return a sentence for each of the four values that is far outside the training data."""
        ranges = self.info["training_range"]
        return [
            f"{FEATURES[i]} {row[i]:g} cm is far outside the training data"
            f" ({ranges['min'][i]:g} to {ranges['max'][i]:g} cm)"
            for i in np.flatnonzero(self.far_outside(row))
        ]

    def explain(self, measurement: Measurement) -> Explanation:
        """Split the log-odds of the winner against the runner-up into the shares of the four features, exactly.

        In a logistic regression the log-odds of two classes are linear in the scaled features, so that each share is
        (difference of the coefficients) x (scaled value). No sampling, no approximation.
        """
        scaled = (np.array(measurement.row()) - self._mean) / self._scale
        scores = self._coefficients @ scaled + self._intercept
        runner_up, winner = np.argsort(scores)[-2:]
        shares = (self._coefficients[winner] - self._coefficients[runner_up]) * scaled
        return Explanation(
            winner=SPECIES[winner],
            runner_up=SPECIES[runner_up],
            log_odds=float(scores[winner] - scores[runner_up]),
            intercept=float(self._intercept[winner] - self._intercept[runner_up]),
            contributions=dict(zip(FEATURES, map(float, shares), strict=True)),
        )

    def describe(self) -> dict[str, Any]:
        """Return what a newcomer wants to know about the model, ready for JSON."""
        keys = ("kind", "features", "classes", "accuracy", "cross_validated_accuracy", "trained_at", "scikit_learn")
        return {key: self.info[key] for key in keys} | {
            "unit": "cm",
            "training_range": self.info["training_range"],
            "simulated_cpu_seconds": self.simulated_cpu_seconds,
        }

    def pipeline(self) -> "Pipeline":
        """Return the scikit-learn pipeline itself (imports scikit-learn)."""
        import joblib

        return joblib.load(self.path)


def predict(model: IrisModel, measurement: Measurement) -> IrisType:
    """Predict one measurement: a batch of one."""
    return predict_many(model, [measurement])[0]


def predict_many(model: IrisModel, measurements: list[Measurement]) -> list[IrisType]:
    """Predict all measurements in one call of the model, in their order."""
    if not measurements:
        return []
    X = np.array([measurement.row() for measurement in measurements])
    probabilities = model.predict_proba(X)
    winners = probabilities.argmax(axis=1).tolist()
    iris_types = [
        IrisType(iris_type=winner, species=SPECIES[winner], probabilities=dict(zip(SPECIES, row, strict=True)))
        for winner, row in zip(winners, probabilities.tolist(), strict=True)
    ]
    for i in np.flatnonzero(model.far_outside(X).any(axis=1)):
        iris_types[i].warnings = model.warnings(X[i])
    return iris_types


def burn_cpu(seconds: float) -> None:
    """Use up CPU time of this thread: two threads that share a core take twice as long, as real work does."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
