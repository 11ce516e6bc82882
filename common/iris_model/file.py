"""The model's two files: written so that no reader ever sees half a file, and checked before they are used."""

import hashlib
import json
import os
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ProgramError
from common.iris_dto import FEATURES, SPECIES
from common.settings import load_settings

from .predict import IrisModel

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

LOCK_SECONDS = 60.0  # longest wait for another program that is training
REPAIR = "python -m common.iris_model --train"


class ModelError(ProgramError):
    """The model file cannot be used; the message says how to repair it."""


def load_model(path: Path | None = None) -> IrisModel:
    """Return the saved model; train it first if there is none, or if another scikit-learn made it.

    Nothing is unpickled: the sidecar is read, both checksums are compared, the numbers are taken from the sidecar.

    Raises:
        ModelError: the files are damaged, or cannot be read or written.
    """
    settings = load_settings()
    path = path or settings.model_path
    try:
        try:
            info = _read_info(path)
        except ModelError:  # another program may be writing: look again when it has finished
            from filelock import FileLock

            with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
                info = _read_info(path)
        return IrisModel(info, path, settings.simulated_cpu_seconds) if info else _train_once(path)
    except OSError as error:  # including a lock that another program holds for too long
        raise ModelError(f"Cannot use the model file {path}: {error.strerror or error}.") from None


def _train_once(path: Path) -> IrisModel:
    """Train, unless another program that started at the same moment has done so."""
    from filelock import FileLock

    from .train import train_and_save

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
        info = _read_info(path)
        if info is not None:
            return IrisModel(info, path, load_settings().simulated_cpu_seconds)
        print("Training the iris model (once, a few seconds) ...", file=sys.stderr)
        return train_and_save(path)


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


def _read_info(path: Path) -> dict[str, Any] | None:
    """Return the sidecar, or None if there is no model yet or another scikit-learn made it."""
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
