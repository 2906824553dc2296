"""Eq. 3 and 4 of DyStaB against sums over pixels, written out, and what they are at extremes."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from selfseg.methods.dystab.config import DynamicConfig
from selfseg.methods.dystab.dynamic import DynamicModel
from selfseg.methods.dystab.objective import (
    AREA_FLOOR,
    SMOOTHING,
    contrast,
    inpainting_error,
    separation,
    temporal_inconsistency,
)
from tests.unit.methods.test_dystab_dynamic import discs

HEIGHT, WIDTH = 5, 6
EPSILON = 0.03
DRAWS = {"dtype": torch.float64, "generator": torch.Generator().manual_seed(0)}
FLOW, FROM_OUTSIDE, FROM_INSIDE = (torch.randn(2, 2, HEIGHT, WIDTH, **DRAWS) for _ in range(3))
INSIDE, OTHER = (torch.rand(2, 1, HEIGHT, WIDTH, **DRAWS) for _ in range(2))
PIXELS = [(y, x) for y in range(HEIGHT) for x in range(WIDTH)]
EMPTY = torch.zeros_like(INSIDE)
FULL = torch.ones_like(INSIDE)
NO_FLOW = torch.zeros_like(FLOW)
EVERYWHERE = torch.ones_like(INSIDE, dtype=torch.bool)


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


def test_a_mask_and_its_inverse_separate_alike():
    expected = separation(FLOW, INSIDE, FROM_OUTSIDE, FROM_INSIDE, epsilon=EPSILON, bounded=False)
    found = separation(FLOW, 1 - INSIDE, FROM_INSIDE, FROM_OUTSIDE, epsilon=EPSILON, bounded=False)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mask", [0.0, 1.0])
def test_an_empty_and_a_full_mask_separate_by_one_term_of_two(mask):
    """Nothing tells of everything, so that psi guesses no motion; of nothing all is told."""
    model = DynamicModel(DynamicConfig(segmenter="unet", unet_width=8, psi="affine"))
    batch = discs(2)
    found = model.separation_of(batch, torch.full((2, 1, 48, 64), mask))
    unit = 80 / 854 * 64
    moved = ((batch.flow / unit).square().sum(1) + SMOOTHING).sqrt().mean((1, 2))
    torch.testing.assert_close(found, moved / (moved + model.config.epsilon))


@pytest.mark.parametrize(("epsilon", "expected"), [(0.0005, 1 / 2 + 1 / 2), (0.0495, 1 / 50)])
def test_rest_separates_little_only_where_epsilon_is_much_more_than_the_smoothing(
    epsilon, expected
):
    """Both halves rest: each term is 0.5 * 0.001 / (0.5 * 0.001 + epsilon)."""
    half = EMPTY.clone()
    half[..., : WIDTH // 2] = 1
    found = separation(NO_FLOW, half, NO_FLOW, NO_FLOW, epsilon=epsilon, bounded=True)
    torch.testing.assert_close(found, torch.full_like(found, expected))


def test_contrast_is_the_mean_error_inside_against_that_outside():
    held = out = area = 0.0
    for y, x in PIXELS:
        member = INSIDE[1, 0, y, x].item()
        error = norm(FLOW[1, :, y, x] - FROM_OUTSIDE[1, :, y, x])
        held, out = held + member * error, out + (1 - member) * error
        area += member
    held /= area + AREA_FLOOR * len(PIXELS)
    out /= len(PIXELS) - area
    found = contrast(FLOW, INSIDE, FROM_OUTSIDE)[1]
    assert found.item() == pytest.approx((held - out) / (held + out))


def test_contrast_is_one_for_what_alone_moves_otherwise_and_ends_at_empty_and_full_masks():
    inside = (INSIDE > 0.5).double()
    outline = contrast(inside * FLOW.sign(), inside, NO_FLOW)
    # The error is sqrt(2 + 1e-6) inside and 0.001 outside.
    assert (outline > 0.99).all()
    inverse = contrast(inside * FLOW.sign(), 1 - inside, NO_FLOW)
    assert (inverse < -0.99).all()
    minus = -torch.ones(2, dtype=torch.float64)
    torch.testing.assert_close(contrast(FLOW, EMPTY, FROM_OUTSIDE), minus)
    torch.testing.assert_close(contrast(FLOW, FULL, FROM_OUTSIDE), -minus)


def test_temporal_inconsistency_runs_from_equal_masks_to_inverse_ones_where_both_frames_see():
    binary = (INSIDE > 0.5).double()

    def found(second: Tensor, seen: Tensor) -> list[float]:
        terms = temporal_inconsistency(binary, second, NO_FLOW, NO_FLOW, seen=seen, seen_back=seen)
        return terms.tolist()

    assert found(binary, EVERYWHERE) == pytest.approx([0, 0])
    assert found(1 - binary, EVERYWHERE) == pytest.approx([2, 2])
    assert found(1 - binary, ~EVERYWHERE) == [0, 0]


EQUATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "L_A": lambda u, m, psi: separation(u, m, psi, psi, epsilon=EPSILON, bounded=False),
    "L_A, bounded": lambda u, m, psi: separation(u, m, psi, psi, epsilon=EPSILON, bounded=True),
    "psi's": lambda u, m, psi: inpainting_error(u, m, psi, psi),
    "contrast": contrast,
    "L_TC": lambda u, m, _: temporal_inconsistency(
        m, m.flip(3), u, -u, seen=EVERYWHERE, seen_back=EVERYWHERE
    ),
}


@pytest.mark.parametrize("equation", EQUATIONS.values(), ids=EQUATIONS)
@pytest.mark.parametrize("mask", [EMPTY, FULL, INSIDE.round()], ids=["empty", "full", "binary"])
def test_every_value_and_gradient_is_finite_at_rest_and_where_a_guess_is_exact(equation, mask):
    for flow, guess in ((NO_FLOW, NO_FLOW), (FLOW, FLOW), (FLOW, NO_FLOW)):
        arguments = [x.clone().requires_grad_() for x in (flow, mask, guess)]
        value = equation(*arguments)
        gradients = torch.autograd.grad(value.sum(), arguments, allow_unused=True)
        assert value.isfinite().all()
        assert all(each.isfinite().all() for each in gradients if each is not None)
