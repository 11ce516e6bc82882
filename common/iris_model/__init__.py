"""The iris classifier, and the only package that knows scikit-learn: train, save, load, predict, explain, describe.

The model is a scikit-learn pipeline, StandardScaler and LogisticRegression. Training writes two files:

- `iris_classifier.joblib`, the pipeline itself, for whoever works with scikit-learn;
- `iris_classifier.json`, the sidecar: who made it, how good it is, and its few fitted numbers.

Answering needs the fitted numbers and numpy alone: scale, multiply, softmax. That is what the pipeline does inside, and
gives the same probabilities, without the second that importing scikit-learn takes and its 0.2 ms of checks per call.

    $ python -m common.iris_model            # describe the model, train it if there is none
    $ python -m common.iris_model --train    # train it again
"""

from .file import ModelError, load_model, save
from .predict import Array, Explanation, IrisModel, burn_cpu, predict, predict_many
from .train import cross_validated_accuracy, load_data, split, train, train_and_save

__all__ = [
    "Array",
    "Explanation",
    "IrisModel",
    "ModelError",
    "burn_cpu",
    "cross_validated_accuracy",
    "load_data",
    "load_model",
    "predict",
    "predict_many",
    "save",
    "split",
    "train",
    "train_and_save",
]
