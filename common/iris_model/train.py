"""Train the model: needs scikit-learn, which each function imports when it is called."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .file import save
from .predict import Array, IrisModel

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

RANDOM_STATE = 42
TEST_SHARE = 0.2  # 30 of the 150 flowers are kept out of the training


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
