"""F_beta and MAE against their definitions, pixel by pixel, and at their extremes."""

import numpy as np
import pytest

from selfseg.evaluation.metrics import BETA_SQUARED, f_beta, mean_absolute_error

EMPTY, FULL = np.zeros((6, 9), bool), np.ones((6, 9), bool)
PART = np.zeros((6, 9), bool)
PART[2:4, 3:7] = True


def slow_f_beta(predicted: np.ndarray, truth: np.ndarray) -> float:
    hits = found = wanted = 0
    for here, true in zip(predicted.ravel(), truth.ravel(), strict=True):
        hits += bool(here and true)
        found += bool(here)
        wanted += bool(true)
    precision, recall = hits / found, hits / wanted
    return (1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)


@pytest.mark.parametrize("seed", range(10))
def test_f_beta_is_the_weighted_harmonic_mean_of_precision_and_recall(seed):
    rng = np.random.default_rng(seed)
    predicted, truth = rng.random((2, 13, 17)) < rng.uniform(0.2, 0.8, (2, 1, 1))
    assert f_beta(predicted, truth) == pytest.approx(slow_f_beta(predicted, truth))


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        (PART, PART, 1),
        (EMPTY, EMPTY, 1),
        (FULL, FULL, 1),
        (EMPTY, PART, 0),
        (PART, EMPTY, 0),
        (~PART, PART, 0),
        # All found, and 8 of 54 right: precision 8 / 54, recall 1.
        (FULL, PART, 1.3 * (8 / 54) / (0.3 * (8 / 54) + 1)),
    ],
)
def test_f_beta_at_its_extremes(predicted, truth, expected):
    assert f_beta(predicted, truth) == pytest.approx(expected)


def test_precision_weighs_more_than_recall():
    half, double = PART.copy(), PART.copy()
    half[2] = False  # precision 1, recall 1 / 2
    double[1:5, 3:7] = True  # precision 1 / 2, recall 1
    assert f_beta(half, PART) > f_beta(double, PART)


def test_mae_is_the_mean_distance_of_each_pixel_and_keeps_what_a_threshold_would_hide():
    assert mean_absolute_error(PART.astype(np.float32), PART) == 0
    assert mean_absolute_error((~PART).astype(np.float32), PART) == 1
    assert mean_absolute_error(np.full(PART.shape, 0.5, np.float32), PART) == 0.5
    soft = np.where(PART, 0.75, 0.25).astype(np.float32)
    assert mean_absolute_error(soft, PART) == 0.25
