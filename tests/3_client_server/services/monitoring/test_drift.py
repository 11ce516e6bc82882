"""Drift: the same flowers are not flagged, others are, and the statistic is what its definition says."""

import importlib

import numpy as np
import pytest

from common.iris_dto import FEATURES

drift = importlib.import_module("3_client_server.services.monitoring.drift")


@pytest.fixture(scope="module")
def flowers():
    return drift.training_flowers()[0]


def by_definition(first, second):
    """Return the largest difference of the shares of values <= x, over every x that occurs."""
    return max(abs(np.mean(first <= x) - np.mean(second <= x)) for x in np.concatenate([first, second]))


def test_the_training_flowers_do_not_differ_from_themselves(flowers):
    report = drift.measure_drift(flowers.tolist())
    assert report.enough and report.drifted == []
    assert [test.feature for test in report.features] == list(FEATURES)
    assert [test.statistic for test in report.features] == [0, 0, 0, 0]


def test_samples_of_the_training_flowers_are_rarely_flagged(flowers):
    rng = np.random.default_rng(1)
    flagged = [drift.measure_drift(flowers[rng.integers(0, 150, 60)].tolist()).drifted for _ in range(100)]
    assert sum(map(bool, flagged)) <= 3  # one in a hundred is expected


def test_only_the_shifted_feature_is_flagged(flowers):
    shifted = flowers + np.array([0, 0, 1.5, 0])
    assert drift.measure_drift(shifted.tolist()).drifted == ["petal_length"]


def test_inches_taken_for_centimetres_are_flagged(flowers):
    assert drift.measure_drift((flowers / 2.54).tolist()).drifted == list(FEATURES)


@pytest.mark.parametrize("n", [20, 33, 150, 1000])
def test_the_statistic_is_the_largest_distance_of_the_distribution_functions(flowers, n):
    recent = np.random.default_rng(n).normal([6, 3, 4, 1], 0.5, (n, 4)).round(1).clip(0.1)
    for i, test in enumerate(drift.measure_drift(recent.tolist()).features):
        distance = abs(np.mean(recent[:, i] <= test.location) - np.mean(flowers[:, i] <= test.location))
        assert test.statistic == pytest.approx(by_definition(recent[:, i], flowers[:, i]))
        assert test.statistic == pytest.approx(distance)
        assert test.drifted == (test.p_value < drift.P_VALUE_LIMIT)


@pytest.mark.parametrize("n", [0, 1, drift.MIN_INPUTS - 1])
def test_few_inputs_are_not_judged(n):
    report = drift.measure_drift([[50.0, 50.0, 50.0, 50.0]] * n)
    assert (report.enough, report.inputs, report.features, report.drifted) == (False, n, (), [])


def test_one_flower_again_and_again_is_drift():
    assert drift.measure_drift([[5.1, 3.5, 1.4, 0.2]] * drift.MIN_INPUTS).drifted == list(FEATURES)
