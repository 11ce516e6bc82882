"""The iris classifier, and the only module that knows scikit-learn: train, save, load, predict, explain, describe.

The model is a scikit-learn pipeline, StandardScaler and LogisticRegression. Training writes two files:

- `iris_classifier.joblib`, the pipeline itself, for whoever works with scikit-learn;
- `iris_classifier.json`, the sidecar: who made it, how good it is, and its few fitted numbers.

Answering needs the fitted numbers and numpy alone: scale, multiply, softmax. That is what the pipeline does inside, and
gives the same probabilities, without the second that importing scikit-learn takes and its 0.2 ms of checks per call.

    $ python -m common.iris_model            # describe the model, train it where there is none
    $ python -m common.iris_model --train    # train it again
"""

import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import ProgramError
from common.iris_dto import FEATURES, SPECIES, IrisType, Measurement
from common.settings import load_settings

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Array = NDArray[np.float64]
RANDOM_STATE = 42
TEST_SHARE = 0.2  # 30 of the 150 flowers are kept out of the training
LOCK_SECONDS = 60.0  # longest wait for another program that is training
REPAIR = "python -m common.iris_model --train"


class ModelError(ProgramError):
    """The model file cannot be used; the message says how to repair it."""


@dataclass(frozen=True)
class Explanation:
    """Why the winner and not the runner-up: `sum(contributions.values()) + intercept == log_odds`."""

    winner: str
    runner_up: str
    log_odds: float  # ln(P(winner) / P(runner_up))
    intercept: float  # the part that no feature has a share in
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

    def predict_proba(self, X: Array) -> Array:
        """Return the probability of each species, shape (n, 3), for measurements in cm, shape (n, 4).

        Raises:
            ValueError: X has another shape, or a value that is not finite.
        """
        X = np.asarray(X, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != len(FEATURES) or not np.isfinite(X).all():
            raise ValueError(f"Expected finite numbers of shape (n, {len(FEATURES)}), got shape {X.shape}.")
        if self.simulated_cpu_seconds:
            burn_cpu(self.simulated_cpu_seconds * len(X))
        scores = X @ self._slope + self._offset
        scores -= scores.max(axis=1, keepdims=True)  # exp() of large numbers would overflow
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def far_outside(self, X: Array) -> NDArray[np.bool_]:
        """Tell which values, shape (n, 4), lie more than half the training data's range outside of it."""
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
        """Return what a stranger wants to know of the model, ready for JSON."""
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


# --- training: from here on scikit-learn is needed ---


def load_data() -> tuple[Array, NDArray[np.int64]]:
    """Return Fisher's 150 flowers: measurements in cm, shape (150, 4), and iris types 0 to 2, shape (150,)."""
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True)
    return X, y


def split(X: Array, y: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64], NDArray[np.int64]]:
    """Return X_train, X_test, y_train, y_test: 120 flowers to learn from and 30 to be judged by, 10 of each species."""
    from sklearn.model_selection import train_test_split

    parts: Any = train_test_split(X, y, test_size=TEST_SHARE, random_state=RANDOM_STATE, stratify=y)
    return tuple(parts)


def train(X: Array, y: NDArray[np.int64]) -> "Pipeline":
    """Return a pipeline fitted to measurements, shape (n, 4), and iris types, shape (n,). Deterministic."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(X, y)


def cross_validated_accuracy(X: Array, y: NDArray[np.int64]) -> float:
    """Return the mean accuracy over five stratified folds of all flowers."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = StratifiedKFold(n_splits=5, shuffle=True, random_state=RANDOM_STATE)
    return float(cross_val_score(train(X, y), X, y, cv=folds).mean())


def train_and_save(path: Path | None = None) -> IrisModel:
    """Train on the training part, judge on the test part, write both files and return the model."""
    X, y = load_data()
    X_train, X_test, y_train, y_test = split(X, y)
    pipeline = train(X_train, y_train)
    return save(
        pipeline,
        accuracy=float(pipeline.score(X_test, y_test)),
        cross_validated=cross_validated_accuracy(X, y),
        training_range={"min": X_train.min(axis=0).tolist(), "max": X_train.max(axis=0).tolist()},
        path=path,
    )


def save(
    pipeline: "Pipeline",
    *,
    accuracy: float,
    cross_validated: float,
    training_range: dict[str, list[float]],
    path: Path | None = None,
) -> IrisModel:
    """Write the pipeline and its sidecar so that no reader ever meets half a file; return the model.

    The old sidecar goes first and the new one comes last: whatever stops the program in between, the next start
    finds no sidecar and trains again.
    """
    import joblib

    settings = load_settings()
    path = path or settings.model_path
    path.parent.mkdir(parents=True, exist_ok=True)
    scaler: Any = pipeline[0]
    regression: Any = pipeline[-1]
    _sidecar(path).unlink(missing_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    joblib.dump(pipeline, temporary)
    sha256 = _sha256(temporary.read_bytes())
    temporary.replace(path)
    info: dict[str, Any] = {
        "kind": "StandardScaler, LogisticRegression",
        "scikit_learn": version("scikit-learn"),
        "sha256": sha256,
        "accuracy": accuracy,
        "cross_validated_accuracy": cross_validated,
        "features": list(FEATURES),
        "classes": list(SPECIES),
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "training_range": training_range,
        "parameters": {
            "mean": scaler.mean_.tolist(),  # (4,)
            "scale": scaler.scale_.tolist(),  # (4,)
            "coefficients": regression.coef_.tolist(),  # (3, 4)
            "intercept": regression.intercept_.tolist(),  # (3,)
        },
    }
    info["sidecar_sha256"] = _sha256(json.dumps(info).encode("utf-8"))
    temporary.write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    temporary.replace(_sidecar(path))
    return IrisModel(info, path, settings.simulated_cpu_seconds)


def load_model(path: Path | None = None) -> IrisModel:
    """Return the saved model; train it first where there is none or another scikit-learn made it.

    Nothing is unpickled: the sidecar is read, both checksums are compared, the numbers are taken from the sidecar.

    Raises:
        ModelError: the files are damaged, or cannot be read or written.
    """
    settings = load_settings()
    path = path or settings.model_path
    try:
        try:
            info = _read_info(path)
        except ModelError:  # perhaps another program is just writing: look again when it has finished
            from filelock import FileLock

            with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
                info = _read_info(path)
        return IrisModel(info, path, settings.simulated_cpu_seconds) if info else _train_once(path)
    except OSError as error:  # a lock that another program holds for too long is one as well
        raise ModelError(f"Cannot use the model file {path}: {error.strerror or error}.") from None


def _train_once(path: Path) -> IrisModel:
    """Train unless another program that started at the same moment has done it meanwhile."""
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
        info = _read_info(path)
        if info is not None:
            return IrisModel(info, path, load_settings().simulated_cpu_seconds)
        print("Training the iris model (once, a few seconds) ...", file=sys.stderr)
        return train_and_save(path)


def _read_info(path: Path) -> dict[str, Any] | None:
    """Return the sidecar, or None where there is no model yet or another scikit-learn made it."""
    damaged = ModelError(f"The model file {path} is damaged. Make a new one with: {REPAIR}")
    try:
        text, pickled = _sidecar(path).read_text(encoding="utf-8"), path.read_bytes()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise damaged from None
    try:
        info = json.loads(text)
        expected = info.pop("sidecar_sha256")
        if expected != _sha256(json.dumps(info).encode("utf-8")):
            raise damaged
    except (ValueError, KeyError, AttributeError, TypeError):
        raise damaged from None
    if info["scikit_learn"] != version("scikit-learn"):
        return None
    if info["sha256"] != _sha256(pickled):
        raise damaged
    return info


def _sidecar(path: Path) -> Path:
    return path.with_suffix(".json")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main(argv: list[str] | None = None) -> int:
    """Describe the model, or train it again."""
    from common.terminal import ArgumentParser

    parser = ArgumentParser(__doc__, "model_path")
    parser.add_argument("--train", action="store_true", help="train and save a new model")
    args = parser.parse_args(argv)
    model = train_and_save() if args.train else load_model()
    print(json.dumps(model.describe(), indent=2))
    return 0


if __name__ == "__main__":
    from common.terminal import run

    run(main)
