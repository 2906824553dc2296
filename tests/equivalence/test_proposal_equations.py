"""The proposal method's equations and readings against sums over pixels, and their extremes."""

import colorsys
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from selfseg.methods.proposal.config import DetectorConfig
from selfseg.methods.proposal.crops import focal_bump
from selfseg.methods.proposal.grid import cell_centres, chosen, live_cells, read_grid
from selfseg.methods.proposal.inpainting import flow_colours, random_boxes
from selfseg.methods.proposal.objective import (
    COLOUR_UNIT,
    box_prior,
    composite,
    hole_error,
    mask_prior,
    perceptual_distance,
    pixel_distance,
)
from selfseg.ops.boxes import covered

HEIGHT, WIDTH = 5, 6
PIXELS = [(y, x) for y in range(HEIGHT) for x in range(WIDTH)]
CPU = torch.device("cpu")


def rand(*size: int, seed: int = 0) -> Tensor:
    return torch.rand(size, dtype=torch.float64, generator=Generator().manual_seed(seed))


IMAGE, OTHER, BEHIND = (rand(3, 3, HEIGHT, WIDTH, seed=seed) for seed in range(3))
MASK = rand(3, 1, HEIGHT, WIDTH, seed=3)
EMPTY, FULL = torch.zeros_like(MASK), torch.ones_like(MASK)


def detector(**changes: Any) -> DetectorConfig:
    settings = {"architecture": "small", "weights": "none", "cells": 4, "outer_ring": True}
    return DetectorConfig.model_validate(settings | changes)


# Eq. 1


def test_equation_1_lays_the_foreground_over_the_background_by_its_mask():
    found = composite(IMAGE, MASK, BEHIND)
    for n, channel, (y, x) in ((n, c, at) for n in range(3) for c in range(3) for at in PIXELS):
        share = MASK[n, 0, y, x].item()
        over = share * IMAGE[n, channel, y, x].item()
        expected = over + (1 - share) * BEHIND[n, channel, y, x].item()
        assert found[n, channel, y, x].item() == pytest.approx(expected)


def test_an_empty_mask_shows_the_background_alone_and_a_full_one_the_foreground():
    assert torch.equal(composite(IMAGE, EMPTY, BEHIND), BEHIND)
    assert torch.equal(composite(IMAGE, FULL, BEHIND), IMAGE)


# The distances of Eq. 2 and 3


def test_pixels_differ_by_their_mean_square_in_units_of_imagenets_deviation():
    expected = []
    for image, other in zip(IMAGE.numpy(), OTHER.numpy(), strict=True):
        total = 0.0
        for channel in range(3):
            for y, x in PIXELS:
                total += ((image[channel, y, x] - other[channel, y, x]) / 0.225) ** 2
        expected.append(total / (3 * len(PIXELS)))
    assert pixel_distance(IMAGE, OTHER).tolist() == pytest.approx(expected)
    deviations = (0.229, 0.224, 0.225)
    assert abs(COLOUR_UNIT - sum(deviations) / 3) < 0.002
    assert pixel_distance(IMAGE, IMAGE).tolist() == [0, 0, 0]
    # Black and white are as far apart as any two images.
    black, white = torch.zeros_like(IMAGE), torch.ones_like(IMAGE)
    assert pixel_distance(black, white).tolist() == pytest.approx(3 * [1 / 0.225**2])


def test_looks_differ_by_each_taps_mean_square_over_its_own_size_in_the_batch():
    made = [rand(3, 4, 5, 5, seed=1), 50 * rand(3, 2, 3, 3, seed=2)]
    wanted = [rand(3, 4, 5, 5, seed=3), 50 * rand(3, 2, 3, 3, seed=4)]
    expected = np.zeros(3)
    for a, b in zip(made, wanted, strict=True):
        unit = sum(value**2 for value in b.numpy().flat) / b.numel()
        for n in range(3):
            pairs = zip(a[n].numpy().flat, b[n].numpy().flat, strict=True)
            error = sum((p - q) ** 2 for p, q in pairs) / a[n].numel()
            expected[n] += error / unit / len(made)
    assert perceptual_distance(made, wanted).tolist() == pytest.approx(expected.tolist())
    assert perceptual_distance(wanted, wanted).tolist() == [0, 0, 0]
    nothing = [0 * tap for tap in wanted]
    assert perceptual_distance(nothing, nothing).tolist() == [0, 0, 0]


def test_taps_with_larger_features_weigh_no_more():
    made, wanted = rand(3, 4, 5, 5, seed=1), rand(3, 4, 5, 5, seed=3)
    once = perceptual_distance([made], [wanted])
    torch.testing.assert_close(perceptual_distance([100 * made], [100 * wanted]), once)


# Eq. 4


def slow_hole_error(guess: Tensor, truth: Tensor, hole: Tensor, *, by_area: bool) -> float:
    error = area = 0.0
    for y, x in PIXELS:
        share = hole[0, y, x].item()
        channels = [(guess[c, y, x] - truth[c, y, x]).item() ** 2 for c in range(len(guess))]
        error += share * sum(channels) / len(channels)
        area += share
    return error / (max(area, 1) if by_area else len(PIXELS))


@pytest.mark.parametrize("by_area", [True, False])
@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("hole", [MASK, MASK.round(), FULL], ids=["soft", "binary", "full"])
def test_equation_4_measures_a_guess_within_the_hole_over_its_area(hole, channels, by_area):
    guess, truth = IMAGE[:, :channels], OTHER[:, :channels]
    expected = [
        slow_hole_error(*maps, by_area=by_area) for maps in zip(guess, truth, hole, strict=True)
    ]
    assert hole_error(guess, truth, hole, by_area=by_area).tolist() == pytest.approx(expected)


def test_what_lies_outside_the_hole_does_not_count():
    hole = MASK.round()
    elsewhere = IMAGE + 5 * (1 - hole)
    torch.testing.assert_close(hole_error(elsewhere, OTHER, hole), hole_error(IMAGE, OTHER, hole))


def test_of_two_holes_as_badly_filled_the_larger_earns_more_only_where_area_does_not_divide():
    truth = torch.zeros(2, 3, 10, 10)
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4]])
    hole = covered(boxes, 10, 10)
    assert hole_error(truth + 3, truth, hole).tolist() == pytest.approx([9, 9])
    found = hole_error(truth + 3, truth, hole, by_area=False)
    assert found.tolist() == pytest.approx([9 * 4 / 100, 9 * 16 / 100])


def test_a_box_beyond_the_image_is_divided_by_what_is_left_of_it_and_nothing_earns_nothing():
    truth = torch.zeros(2, 3, 10, 10)
    half_outside, outside = [0.0, 0.5, 0.4, 0.4], [-0.5, 0.5, 0.4, 0.4]
    hole = covered(torch.tensor([half_outside, outside]), 10, 10)
    assert hole.sum((1, 2, 3)).tolist() == [8, 0]
    assert hole_error(truth + 3, truth, hole).tolist() == pytest.approx([9, 0])


# Eq. 7 and the other priors of Table 3


@pytest.mark.parametrize("favoured", [0.001, 0.005, 0.6])
def test_equation_7_is_least_at_its_lambda_and_rises_to_either_side(favoured):
    for mask in (MASK, EMPTY, FULL):
        expected = []
        for each in mask:
            mean = sum(each[0, y, x].item() for y, x in PIXELS) / len(PIXELS)
            expected.append(abs(mean - favoured) + favoured)
        assert mask_prior(mask, "v", favoured).tolist() == pytest.approx(expected)
    assert mask_prior(EMPTY, "v", favoured).tolist() == pytest.approx(3 * [2 * favoured])
    level = torch.full_like(MASK, favoured)
    assert mask_prior(level, "v", favoured).tolist() == pytest.approx(3 * [favoured])
    slopes = []
    for mean in (favoured / 2, favoured * 1.2):
        mask = torch.full_like(MASK, mean).requires_grad_()
        mask_prior(mask, "v", favoured).sum().backward()
        assert mask.grad is not None
        slopes.append(mask.grad[0, 0, 0, 0].item())
    assert slopes == pytest.approx([-1 / len(PIXELS), 1 / len(PIXELS)])


def test_the_other_priors_are_the_mean_of_the_mask_and_of_its_square_or_nothing():
    for mask in (MASK, EMPTY, FULL):
        values = mask.flatten(1).numpy()
        assert mask_prior(mask, "l1", 0.1).tolist() == pytest.approx(np.abs(values).mean(1))
        assert mask_prior(mask, "l2", 0.1).tolist() == pytest.approx((values**2).mean(1))
        assert mask_prior(mask, "none", 0.1).tolist() == [0, 0, 0]


def test_boxes_are_held_to_a_mean_side_and_a_mean_centre_not_each_to_its_own():
    boxes = torch.tensor([[0.2, 0.4, 0.1, 0.4], [0.6, 0.9, 0.3, 0.3]])
    size, centre = box_prior(boxes, size=0.4)
    assert size.item() == pytest.approx((((0.1 * 0.4) ** 0.5 + 0.3) / 2 - 0.4) ** 2)
    assert centre.item() == pytest.approx((0.4 - 0.5) ** 2 + (0.65 - 0.5) ** 2)
    balanced = torch.tensor([[0.1, 0.5, 0.2, 0.2], [0.9, 0.5, 0.6, 0.6]])
    assert [term.item() for term in box_prior(balanced, size=0.4)] == pytest.approx([0, 0])


# The grid


def raw_grid(cells: int, value: float = 0.0) -> Tensor:
    return torch.full((1, 5, cells, cells), value)


def test_a_detector_that_says_nothing_proposes_every_cells_centre_alike():
    proposals = read_grid(raw_grid(4), detector(box=(0.2, 0.8)))
    expected = [
        [(column + 0.5) / 4, (row + 0.5) / 4, 0.5, 0.5] for row in range(4) for column in range(4)
    ]
    torch.testing.assert_close(proposals.boxes[0], torch.tensor(expected))
    torch.testing.assert_close(proposals.probability, torch.full((1, 16), 1 / 16))
    torch.testing.assert_close(cell_centres(4, CPU), torch.tensor(expected)[:, :2])


def test_each_of_a_cells_five_numbers_means_its_own():
    raw = 2 * torch.randn(2, 5, 4, 4, generator=Generator().manual_seed(0))
    config = detector(box=(0.2, 0.8), offset=1.5)
    proposals = read_grid(raw, config)
    for image in range(2):
        total = sum(math.exp(value) for value in raw[image, 4].flatten().tolist())
        for row in range(4):
            for column in range(4):
                width, height, right, down, logit = raw[image, :, row, column].tolist()
                x = (column + 0.5 + 1.5 * math.tanh(right)) / 4
                y = (row + 0.5 + 1.5 * math.tanh(down)) / 4
                sides = [0.2 + 0.6 / (1 + math.exp(-side)) for side in (width, height)]
                cell = 4 * row + column
                expected = [min(max(x, 0), 1), min(max(y, 0), 1), *sides]
                assert proposals.boxes[image, cell].tolist() == pytest.approx(expected, abs=1e-6)
                share = math.exp(logit) / total
                assert proposals.probability[image, cell].item() == pytest.approx(share, rel=1e-5)


def test_sizes_and_offsets_reach_as_far_as_the_settings_say_and_centres_stay_in_the_image():
    for sign, side in ((-1, 0.2), (1, 0.6)):
        boxes = read_grid(raw_grid(8, sign * 50.0), detector(cells=8, box=(0.2, 0.6))).boxes[0]
        torch.testing.assert_close(boxes[:, 2:], torch.full((64, 2), side))
        wanted = (cell_centres(8, CPU) + sign * 1.5 / 8).clamp(0, 1)
        torch.testing.assert_close(boxes[:, :2], wanted)
        assert ((boxes[:, :2] == 0) | (boxes[:, :2] == 1)).any()
    rigid = read_grid(raw_grid(8, 50.0), detector(cells=8, offset=0)).boxes[0]
    torch.testing.assert_close(rigid[:, :2], cell_centres(8, CPU))


@pytest.mark.parametrize("first", [0.25, 0.42, 0.75])
def test_boxes_begin_with_the_side_they_are_told(first):
    boxes = read_grid(raw_grid(4), detector(box=(0.2, 0.8), first_side=first)).boxes
    torch.testing.assert_close(boxes[..., 2:], torch.full((1, 16, 2), first))


def test_a_grid_of_eight_has_36_live_cells_unless_its_ring_may_be_drawn():
    ringless = detector(cells=8, outer_ring=False)
    live = live_cells(ringless, CPU).view(8, 8)
    assert live.sum() == 36
    assert live[1:-1, 1:-1].all()
    assert live_cells(detector(cells=8), CPU).all()
    raw = torch.randn(2, 5, 8, 8, generator=Generator().manual_seed(0)).requires_grad_()
    probability = read_grid(raw, ringless).probability
    assert probability[:, ~live.flatten()].abs().max() == 0
    torch.testing.assert_close(probability.sum(1), torch.ones(2))
    logits = raw[:, 4, 1:-1, 1:-1].flatten(1).softmax(1)
    torch.testing.assert_close(probability[:, live.flatten()], logits)
    probability.square().sum().backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()
    assert raw.grad[:, 4, ~live].abs().max() == 0
    assert raw.grad[:, 4, live].abs().min() > 0


def test_the_boxes_of_chosen_cells_come_image_by_image():
    boxes = rand(2, 6, 4)
    cells = torch.tensor([[5, 0], [2, 2]])
    expected = torch.stack([boxes[0, 5], boxes[0, 0], boxes[1, 2], boxes[1, 2]])
    assert torch.equal(chosen(boxes, cells), expected)


# The focal bump, holes and the look of flow


@pytest.mark.parametrize("side", [15, 64])
def test_the_focal_bump_is_its_formula_and_fades_to_nothing_at_the_edge(side):
    bump = focal_bump(side, CPU)[0, 0]
    for row in range(side):
        for column in range(side):
            x, y = (2 * (at + 0.5) / side - 1 for at in (column, row))
            r = math.sqrt(x**4 + y**4)
            expected = math.exp(1 - 1 / (1 - r)) if r < 1 else 0
            assert bump[row, column].item() == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert bump.max() == pytest.approx(1, abs=0.01)
    assert bump[0].max() < 0.05
    torch.testing.assert_close(bump, bump.T)
    torch.testing.assert_close(bump, bump.flip(0))


def test_random_holes_have_sides_and_centres_uniform_within_their_limits():
    boxes = random_boxes(4000, (0.3, 0.5), Generator().manual_seed(0))
    for values, least, largest in ((boxes[:, :2], 0, 1), (boxes[:, 2:], 0.3, 0.5)):
        assert values.min() >= least
        assert values.max() <= largest
        places = ((values - least) / (largest - least)).T
        for place in places:
            quarters = torch.histc(place, 4, min=0, max=1) / len(place)
            assert (quarters - 0.25).abs().max() < 0.05


def test_rest_is_white_and_the_faster_the_more_colour():
    flow = torch.zeros(1, 2, 1, 4)
    flow[0, 0, 0] = torch.tensor([0.0, 0.5, 1.0, 30.0])
    red, green, blue = flow_colours(flow)[0, :, 0]
    torch.testing.assert_close(red, torch.ones(4))
    torch.testing.assert_close(green, 1 - torch.tensor([0.0, 0.5, 1.0, 30.0]).tanh())
    torch.testing.assert_close(blue, green)


def test_directions_are_the_hues_of_the_colour_circle():
    degrees = list(range(-175, 181, 15))
    flow = torch.zeros(1, 2, 1, len(degrees))
    for number, angle in enumerate(degrees):
        flow[0, :, 0, number] = 0.8 * torch.tensor(
            [math.cos(math.radians(angle)), math.sin(math.radians(angle))]
        )
    found = flow_colours(flow)[0, :, 0].T
    expected = [colorsys.hsv_to_rgb(angle / 360 % 1, math.tanh(0.8), 1) for angle in degrees]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-4, atol=1e-5)
