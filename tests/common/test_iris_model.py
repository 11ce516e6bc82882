"""The model: the same numbers as scikit-learn's own pipeline, and files that no accident turns into wrong answers."""

import json
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.iris_dto import FEATURES, SPECIES, Measurement, validate
from common.iris_model import (
    IrisModel,
    ModelError,
    cross_validated_accuracy,
    load_data,
    load_model,
    predict,
    predict_many,
    split,
    train,
    train_and_save,
)
from common.iris_model.file import REPAIR
from tests.helpers import LINE, ROW, Program

STAGE_1 = "1_monolith_cli.iris_classifier_monolith_cli_app"
TRAINING = "Training the iris model"
Start = Callable[..., Program]
centimetres = st.floats(0, 100, exclude_min=True)
rows = st.lists(st.tuples(centimetres, centimetres, centimetres, centimetres), min_size=1, max_size=50)


@pytest.fixture
def copy(model_path: Path, tmp_path: Path) -> Path:
    """A copy of the model's two files, to damage."""
    for file in (model_path, model_path.with_suffix(".json")):
        shutil.copy(file, tmp_path)
    return tmp_path / model_path.name


# --- predict and explain ---


@pytest.fixture(scope="module")
def pipeline(model: IrisModel):
    return model.pipeline()


def test_all_150_flowers_get_scikit_learns_own_probabilities(model: IrisModel, pipeline):
    X, _ = load_data()
    assert np.abs(model.predict_proba(X) - pipeline.predict_proba(X)).max() < 1e-12
    assert (model.predict_proba(X).argmax(axis=1) == pipeline.predict(X)).all()


@given(measured=rows)
def test_any_measurements_get_scikit_learns_own_probabilities(measured, model: IrisModel, pipeline):
    X = np.array(measured)
    ours = model.predict_proba(X)
    assert np.abs(ours - pipeline.predict_proba(X)).max() < 1e-12
    assert np.abs(ours.sum(axis=1) - 1).max() < 1e-12


@given(measured=rows)
def test_a_batch_gives_what_its_rows_give_one_by_one(measured, model: IrisModel):
    measurements = [Measurement(**dict(zip(FEATURES, row, strict=True))) for row in measured]
    for one, measurement in zip(predict_many(model, measurements), measurements, strict=True):
        alone = predict(model, measurement)
        assert one.probabilities == pytest.approx(alone.probabilities, abs=1e-12)
        assert one.species == SPECIES[one.iris_type]
        assert one.warnings == alone.warnings
    assert predict_many(model, []) == []


@given(row=rows)
def test_an_explanation_adds_up_to_the_log_odds_of_winner_and_runner_up(row, model: IrisModel):
    measurement = Measurement(**dict(zip(FEATURES, row[0], strict=True)))
    why = model.explain(measurement)
    assert math.isclose(sum(why.contributions.values()) + why.intercept, why.log_odds, abs_tol=1e-9)
    assert why.log_odds >= 0 and why.winner != why.runner_up
    chances = predict(model, measurement).probabilities
    assert chances[why.winner] == max(chances.values())
    if min(chances[why.winner], chances[why.runner_up]) > 1e-290:
        log_odds = math.log(chances[why.winner]) - math.log(chances[why.runner_up])
        assert math.isclose(log_odds, why.log_odds, rel_tol=1e-9, abs_tol=1e-9)


@pytest.mark.parametrize(
    "X", [[[1, 2, 3]], [1, 2, 3, 4], [[1, 2, 3, math.nan]], [[1, 2, 3, math.inf]], [[[1, 2, 3, 4]]]]
)
def test_another_shape_or_a_value_that_is_not_finite_is_refused(X, model: IrisModel):
    with pytest.raises(ValueError, match=r"Expected finite numbers of shape \(n, 4\)"):
        model.predict_proba(np.array(X))


def test_warnings_name_each_value_that_is_far_outside_the_training_data(model: IrisModel):
    assert predict(model, validate(LINE.split())).warnings == []
    assert predict(model, validate(["100", "3.5", "1.4", "0.2"])).warnings == [
        "sepal_length 100 cm is far outside the training data (4.3 to 7.9 cm)"
    ]
    assert len(predict(model, Measurement(**dict.fromkeys(FEATURES, 100.0))).warnings) == 4


def test_the_simulated_cpu_time_is_burnt_per_row_and_counts_the_threads_own_time(model: IrisModel):
    import time

    slow = IrisModel(model.info, model.path, simulated_cpu_seconds=0.01)
    began = time.thread_time()
    slow.predict_proba(np.array([ROW] * 5))
    assert 0.05 <= time.thread_time() - began < 0.2
    assert slow.describe()["simulated_cpu_seconds"] == 0.01


def test_a_model_serves_many_threads_at_once(model: IrisModel):
    X, _ = load_data()
    expected = model.predict_proba(X)
    wrong: list[int] = []

    def work() -> None:
        for _ in range(200):
            if not np.array_equal(model.predict_proba(X), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong


# --- training and the files ---


def test_training_is_deterministic_and_judged_by_flowers_it_has_not_seen(model: IrisModel):
    X, y = load_data()
    X_train, X_test, y_train, y_test = split(X, y)
    assert (X.shape, X_train.shape, X_test.shape) == ((150, 4), (120, 4), (30, 4))
    assert np.bincount(y_test).tolist() == [10, 10, 10]
    first, second = train(X_train, y_train), train(X_train, y_train)
    assert np.array_equal(first[-1].coef_, second[-1].coef_)  # pyright: ignore[reportAttributeAccessIssue]
    assert model.info["parameters"]["coefficients"] == first[-1].coef_.tolist()  # pyright: ignore[reportAttributeAccessIssue]
    assert model.info["accuracy"] == first.score(X_test, y_test)
    assert model.info["cross_validated_accuracy"] == cross_validated_accuracy(X, y) > 0.9
    assert model.info["training_range"] == {"min": X_train.min(axis=0).tolist(), "max": X_train.max(axis=0).tolist()}


def test_the_sidecar_tells_who_made_the_model_and_how_good_it_is(model_path: Path):
    info = json.loads(model_path.with_suffix(".json").read_text(encoding="utf-8"))
    assert set(info) >= {"scikit_learn", "sha256", "accuracy", "features", "classes", "trained_at"}
    assert sorted(file.name for file in model_path.parent.iterdir() if file.suffix != ".lock") == [
        "iris_classifier.joblib",
        "iris_classifier.json",
    ]


def test_a_missing_model_is_trained_once_and_then_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "new" / "folder" / "model.joblib"
    first = load_model(path)
    assert capsys.readouterr().err.startswith(TRAINING)
    assert load_model(path).describe() == first.describe()
    assert capsys.readouterr() == ("", "")


def test_loading_unpickles_nothing(model_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("joblib.load", lambda *_: pytest.fail("unpickled"))
    assert load_model(model_path).predict_proba(np.array([ROW])).argmax() == 0


@pytest.mark.parametrize("missing", ["json", "joblib"])
def test_one_file_without_the_other_is_trained_again(missing: str, copy: Path, capsys: pytest.CaptureFixture[str]):
    copy.with_suffix(f".{missing}").unlink()
    load_model(copy)
    assert capsys.readouterr().err.startswith(TRAINING)
    assert load_model(copy)


def test_a_model_of_another_scikit_learn_is_trained_again(copy: Path, monkeypatch, capsys):
    with monkeypatch.context() as other:
        other.setattr("common.iris_model.file.version", lambda _: "0.18")
        train_and_save(copy)
    assert json.loads(copy.with_suffix(".json").read_text(encoding="utf-8"))["scikit_learn"] == "0.18"
    model = load_model(copy)
    assert capsys.readouterr().err.startswith(TRAINING)
    assert model.info["scikit_learn"] != "0.18"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe", b"x" * 1_000_000])
@pytest.mark.parametrize("suffix", [".json", ".joblib"])
def test_a_damaged_file_is_refused_with_the_command_that_repairs_it(content: bytes, suffix: str, copy: Path):
    copy.with_suffix(suffix).write_bytes(content)
    with pytest.raises(ModelError) as error:
        load_model(copy)
    assert str(error.value) == f"The model file {copy} is damaged. Make a new one with: {REPAIR}"


def test_a_single_changed_byte_is_noticed(copy: Path):
    for suffix in (".joblib", ".json"):
        file = copy.with_suffix(suffix)
        content = file.read_bytes()
        for at in range(0, len(content), max(1, len(content) // 25)):
            file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            if suffix == ".json" and content[at : at + 1] in b" \n":
                continue  # between the words of the sidecar a blank means nothing
            with pytest.raises(ModelError, match="is damaged"):
                load_model(copy)
        file.write_bytes(content)
    assert load_model(copy)


@pytest.mark.parametrize("step", ["the dump", "the first rename", "the sidecar", "the last rename"])
def test_an_interrupted_save_leaves_what_the_next_start_repairs(step: str, copy: Path, monkeypatch, capsys):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    replace = Path.replace
    with monkeypatch.context() as accident:
        if step == "the dump":
            accident.setattr(joblib, "dump", interrupted)
        elif step == "the first rename":
            accident.setattr(Path, "replace", interrupted)
        elif step == "the sidecar":
            accident.setattr(Path, "write_text", interrupted)
        else:
            accident.setattr(
                Path, "replace", lambda self, to: interrupted() if to.suffix == ".json" else replace(self, to)
            )
        with pytest.raises(KeyboardInterrupt):
            train_and_save(copy)
    assert not copy.with_suffix(".json").exists()
    model = load_model(copy)
    assert capsys.readouterr().err.startswith(TRAINING)
    assert model.predict_proba(np.array([ROW])).argmax() == 0


def test_four_programs_that_start_at_once_in_a_fresh_folder_train_once(
    program: Start, env: dict[str, str], tmp_path: Path
):
    env = env | {"IRIS_MODEL_PATH": str(tmp_path / "fresh" / "model.joblib")}
    four = [program(STAGE_1, *LINE.split(), env=env) for _ in range(4)]
    assert [one.wait() for one in four] == [0] * 4
    assert len({one.output for one in four}) == 1
    assert "".join(one.errors for one in four).count(TRAINING) == 1


def test_a_damaged_model_is_one_line_at_the_terminal_and_the_command_in_it_repairs_it(
    program: Start, env: dict[str, str], copy: Path
):
    copy.write_bytes(b"")
    env = env | {"IRIS_MODEL_PATH": str(copy)}
    one = program(STAGE_1, *LINE.split(), env=env)
    assert one.wait() == 1
    assert (one.output, one.errors.count("\n")) == ("", 1)
    command = one.errors.strip().rpartition(": ")[2]
    assert command.split()[:2] == ["python", "-m"]
    repaired = program(*command.split()[2:], env=env)
    assert repaired.wait() == 0
    assert json.loads(repaired.output)["features"] == list(FEATURES)
    assert load_model(copy)


def test_a_path_that_cannot_be_used_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ModelError, match=r"^Cannot use the model file .+: .+\.$"):
        load_model(tmp_path / "file" / "model.joblib")
    (tmp_path / "model.joblib").mkdir()
    (tmp_path / "model.json").mkdir()
    with pytest.raises(ModelError, match=r"^Cannot use the model file .+: .+\.$"):
        load_model(tmp_path / "model.joblib")
