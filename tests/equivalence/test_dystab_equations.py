"""Eq. 3 and 4 of DyStaB against sums over pixels, written out."""

import math

import pytest
import torch
from torch import Tensor

from selfseg.methods.dystab.objective import (
    SMOOTHING,
    inpainting_error,
    separation,
    temporal_inconsistency,
)

HEIGHT, WIDTH = 5, 6
EPSILON = 0.03
DRAWS = {"dtype": torch.float64, "generator": torch.Generator().manual_seed(0)}
FLOW, FROM_OUTSIDE, FROM_INSIDE = (torch.randn(2, 2, HEIGHT, WIDTH, **DRAWS) for _ in range(3))
INSIDE, OTHER = (torch.rand(2, 1, HEIGHT, WIDTH, **DRAWS) for _ in range(2))
PIXELS = [(y, x) for y in range(HEIGHT) for x in range(WIDTH)]


def norm(vector: Tensor) -> float:
    return math.sqrt(vector[0].item() ** 2 + vector[1].item() ** 2 + SMOOTHING)


def slow_separation(sample: int, *, bounded: bool) -> float:
    total = 0.0
    sides = ((INSIDE, FROM_OUTSIDE), (1 - INSIDE, FROM_INSIDE))
    for region, guess in sides:
        unknown = present = 0.0
        for y, x in PIXELS:
            u, member = FLOW[sample, :, y, x], region[sample, 0, y, x].item()
            error = norm(u - guess[sample, :, y, x])
            unknown += member * (min(error, norm(u)) if bounded else error)
            present += member * norm(u)
        total += (unknown / len(PIXELS)) / (present / len(PIXELS) + EPSILON)
    return total


@pytest.mark.parametrize("bounded", [True, False])
def test_separation_is_both_terms_of_equation_3(bounded):
    found = separation(FLOW, INSIDE, FROM_OUTSIDE, FROM_INSIDE, epsilon=EPSILON, bounded=bounded)
    expected = [slow_separation(sample, bounded=bounded) for sample in range(2)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_only_the_bounded_error_keeps_the_bound_of_two():
    wild = 100 * FROM_OUTSIDE
    options = {"epsilon": EPSILON}
    assert (separation(FLOW, INSIDE, wild, wild, bounded=True, **options) <= 2).all()
    assert (separation(FLOW, INSIDE, wild, wild, bounded=False, **options) > 2).all()


def test_an_object_against_a_moving_wall_separates_best_by_its_own_outline():
    """Each side is guessed by the other's mean motion, so only the true outline hides both."""
    inside = torch.zeros(1, 1, 16, 16)
    inside[..., 4:10, 5:11] = 1
    flow = inside * torch.tensor([0.0, 1.0]).view(1, 2, 1, 1) + (1 - inside) * torch.tensor(
        [1.0, 0.0]
    ).view(1, 2, 1, 1)

    def mean_motion(weight: Tensor) -> Tensor:
        total = (weight * flow).sum((2, 3), keepdim=True)
        return (total / weight.sum((2, 3), keepdim=True)).expand_as(flow)

    def score(mask: Tensor) -> float:
        guesses = mean_motion(1 - mask), mean_motion(mask)
        return separation(flow, mask, *guesses, epsilon=EPSILON, bounded=True).item()

    shifted = inside.roll((2, 3), (2, 3))
    larger = torch.zeros_like(inside)
    larger[..., 2:12, 3:13] = 1
    smaller = torch.zeros_like(inside)
    smaller[..., 6:8, 7:9] = 1
    assert all(score(inside) > score(other) for other in (shifted, larger, smaller))


def test_the_inpainter_minimises_both_numerators():
    error = 0.0
    for y, x in PIXELS:
        member = INSIDE[0, 0, y, x].item()
        error += member * norm(FLOW[0, :, y, x] - FROM_OUTSIDE[0, :, y, x])
        error += (1 - member) * norm(FLOW[0, :, y, x] - FROM_INSIDE[0, :, y, x])
    found = inpainting_error(FLOW, INSIDE, FROM_OUTSIDE, FROM_INSIDE)[0]
    assert found.item() == pytest.approx(error / len(PIXELS))


def test_temporal_inconsistency_is_equation_4():
    """Whole-pixel motion, so that warping is indexing; the edge's value goes on beyond it."""
    forward = torch.tensor([1.0, -1.0], dtype=torch.float64).view(1, 2, 1, 1)
    flow = forward.expand(2, 2, HEIGHT, WIDTH)
    seen, seen_back = (torch.rand(2, 1, HEIGHT, WIDTH, **DRAWS) > 0.3 for _ in range(2))
    expected = 0.0
    for y, x in PIXELS:
        there = OTHER[0, 0, max(y - 1, 0), min(x + 1, WIDTH - 1)]
        back = INSIDE[0, 0, min(y + 1, HEIGHT - 1), max(x - 1, 0)]
        expected += seen[0, 0, y, x].item() * abs((INSIDE[0, 0, y, x] - there).item())
        expected += seen_back[0, 0, y, x].item() * abs((OTHER[0, 0, y, x] - back).item())
    found = temporal_inconsistency(INSIDE, OTHER, flow, -flow, seen=seen, seen_back=seen_back)
    assert found[0].item() == pytest.approx(expected / len(PIXELS))
