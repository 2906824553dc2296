"""Eq. 6 of DyStaB and cross-entropy against sums over pixels, and what they are at extremes."""

import math

import pytest
import torch
from torch import Tensor

from selfseg.methods.dystab.static_objective import (
    SMOOTHING,
    confidence,
    cross_entropy,
    f_measure,
    static_gain,
)

HEIGHT, WIDTH = 5, 6
PIXELS = [(y, x) for y in range(HEIGHT) for x in range(WIDTH)]
DRAWS = {"dtype": torch.float64, "generator": torch.Generator().manual_seed(3)}
LOGITS = 2 * torch.randn(3, 1, HEIGHT, WIDTH, **DRAWS)
PREDICTION = LOGITS.sigmoid()
MASK, OTHER = (torch.rand(3, 1, HEIGHT, WIDTH, **DRAWS) for _ in range(2))
BINARY = MASK.round()
EMPTY, FULL = torch.zeros_like(MASK), torch.ones_like(MASK)
SURE = 200.0
"""A logit whose sigmoid is 1, and 0 for its negative, but for 1e-87."""


def slow_f_measure(prediction: Tensor, mask: Tensor, alpha_squared: float) -> float:
    found = predicted = marked = 0.0
    for y, x in PIXELS:
        found += prediction[0, y, x].item() * mask[0, y, x].item()
        predicted += prediction[0, y, x].item()
        marked += mask[0, y, x].item()
    precision, recall = found / predicted, found / marked
    return (1 + alpha_squared) * precision * recall / (alpha_squared * precision + recall)


def f_of(prediction: Tensor, mask: Tensor, alpha_squared: float = 1.5) -> list[float]:
    return f_measure(prediction, mask, alpha_squared=alpha_squared).tolist()


def logits_of(binary: Tensor) -> Tensor:
    return SURE * (2 * binary - 1)


@pytest.mark.parametrize("alpha_squared", [0.3, 1.5])
@pytest.mark.parametrize("mask", [MASK, BINARY], ids=["soft", "binary"])
def test_f_alpha_is_equation_6_of_precision_and_recall(mask, alpha_squared):
    expected = [slow_f_measure(*maps, alpha_squared) for maps in zip(PREDICTION, mask, strict=True)]
    # Smoothing adds (1 + alpha^2) 1e-6 (1 - F) to areas that sum to more than a fifth here.
    tolerance = 5 * (1 + alpha_squared) * SMOOTHING
    found = f_of(PREDICTION, mask, alpha_squared)
    assert found == pytest.approx(expected, rel=0, abs=tolerance)


def test_f_alpha_is_one_for_equal_binary_maps_and_nothing_for_inverse_ones():
    assert f_of(BINARY, BINARY) == pytest.approx([1, 1, 1])
    assert f_of(1 - BINARY, BINARY) == pytest.approx([0, 0, 0], abs=1e-5)


def test_f_alpha_of_empty_and_full_maps_tells_areas_only():
    assert f_of(EMPTY, EMPTY) == f_of(FULL, FULL) == [1, 1, 1]
    for prediction, mask in ((EMPTY, BINARY), (PREDICTION, EMPTY), (FULL, EMPTY)):
        assert f_of(prediction, mask) == pytest.approx([0, 0, 0], abs=5e-5)
    # All is predicted: precision is the area, recall is 1.
    areas = BINARY.mean((1, 2, 3)).tolist()
    everything = [2.5 * area / (1.5 * area + 1) for area in areas]
    assert f_of(FULL, BINARY) == pytest.approx(everything, abs=1e-5)
    # All is marked: precision is 1, recall is the area.
    whole = [2.5 * area / (1.5 + area) for area in areas]
    assert f_of(BINARY, FULL) == pytest.approx(whole, abs=1e-5)


def test_f_alpha_prefers_a_false_alarm_to_a_miss():
    """Of the same mask 10 pixels large, 4 too many or 4 too few."""
    mask = (torch.arange(30.0).view(1, 1, HEIGHT, WIDTH) < 10).double()
    larger = (torch.arange(30.0).view(1, 1, HEIGHT, WIDTH) < 14).double()
    smaller = (torch.arange(30.0).view(1, 1, HEIGHT, WIDTH) < 6).double()
    assert f_of(larger, mask) == pytest.approx([2.5 * 10 / (15 + 14)], abs=1e-5)
    assert f_of(smaller, mask) == pytest.approx([2.5 * 6 / (15 + 6)], abs=1e-5)


@pytest.mark.parametrize("mask", [EMPTY, BINARY, FULL], ids=["empty", "binary", "full"])
def test_no_mask_however_empty_makes_the_gradients_of_f_alpha_and_cross_entropy_burst(mask):
    """All pixels' slopes together: cross-entropy's are at most 1, those of areas near 1/4."""
    for certainty in (-SURE, -20.0, -14.0, -13.0, -6.0, 0.0, 13.0, SURE):
        logits = torch.full_like(mask, certainty).requires_grad_()
        f = f_measure(logits.sigmoid(), mask, alpha_squared=1.5)
        (slope,) = torch.autograd.grad(f.sum(), logits)
        assert slope.isfinite().all()
        assert slope.abs().sum((1, 2, 3)).max() <= 1.25
        (slope,) = torch.autograd.grad(cross_entropy(logits, mask).sum(), logits)
        assert slope.isfinite().all()
        assert slope.abs().sum((1, 2, 3)).max() <= 1.25


def test_cross_entropy_is_the_mean_surprise_over_pixels():
    expected = []
    for logits, mask in zip(LOGITS, MASK, strict=True):
        entropy = 0.0
        for y, x in PIXELS:
            m, p = mask[0, y, x].item(), 1 / (1 + math.exp(-logits[0, y, x].item()))
            entropy -= (m * math.log(p) + (1 - m) * math.log(1 - p)) / len(PIXELS)
        expected.append(entropy)
    found = cross_entropy(LOGITS, MASK)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_cross_entropy_is_zero_for_equal_binary_maps_and_the_logit_for_inverse_ones():
    for mask in (EMPTY, BINARY, FULL):
        torch.testing.assert_close(cross_entropy(logits_of(mask), mask), 0 * LOGITS[:, 0, 0, 0])
        inverse = cross_entropy(logits_of(1 - mask), mask)
        torch.testing.assert_close(inverse, torch.full_like(inverse, SURE))


@pytest.mark.parametrize("doubt", [0.2, 0.5, 0.8])
def test_where_a_mask_doubts_cross_entropy_is_least_at_its_doubt_and_f_alpha_when_sure(doubt):
    levels = torch.linspace(0, 1, 1001, dtype=torch.float64)[1:-1].view(-1, 1, 1, 1)
    mask = torch.full_like(levels, doubt)
    best = levels[cross_entropy(levels.logit(), mask).argmin()].item()
    assert best == pytest.approx(doubt, abs=1e-3)
    assert f_measure(levels, mask, alpha_squared=1.5).argmax() == len(levels) - 1


def test_equation_7_believes_motion_by_what_it_says_beyond_the_earlier_model():
    motion, earlier = torch.tensor([[1.5, 1.0, 0.4], [0.6, 0.9, 0.6]], dtype=torch.float64)
    weight = confidence(motion, earlier, delta=0.25)
    # 1.5 - 0.6 - 0.25, and twice less than nothing.
    assert weight.tolist() == pytest.approx([0.65, 0, 0])
    with_earlier = f_measure(PREDICTION, OTHER, alpha_squared=1.5)
    with_motion = f_measure(PREDICTION, MASK, alpha_squared=1.5)
    expected = [
        0.7 * slow_f_measure(PREDICTION[n], OTHER[n], 1.5)
        + max(motion[n].item() - earlier[n].item() - 0.25, 0)
        * slow_f_measure(PREDICTION[n], MASK[n], 1.5)
        for n in range(3)
    ]
    found = static_gain(with_earlier, with_motion, weight, lambda_f=0.7)
    assert found.tolist() == pytest.approx(expected, abs=1e-5)
