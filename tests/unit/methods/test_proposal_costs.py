"""What an image costs, what a box earns, and what draws make of both."""

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor, nn

from selfseg.contracts import FramePairs
from selfseg.methods.proposal import proposal, proposer
from selfseg.methods.proposal.grid import Proposals, live_cells
from selfseg.methods.proposal.inpainting import FLOW, IMAGE, flow_colours
from selfseg.methods.proposal.objective import (
    advantage,
    composite,
    extent,
    hole_error,
    pixel_distance,
)
from selfseg.methods.proposal.proposal import Proposal
from selfseg.methods.proposal.sampling import Draw, exploring
from selfseg.ops.boxes import covered, crop, scaled, softly_covered
from tests.unit.methods.small_proposal import (
    EVERYTHING,
    NO_PRIORS,
    ONLY_O,
    SMALL,
    alone,
    drawn_by,
    loss_of,
    model_of,
    moved,
    scenes,
)


@pytest.fixture(scope="module")
def batch() -> FramePairs:
    return scenes()


# What an image costs and what a box earns


def gradients(loss: Tensor, model: Proposal) -> list[Tensor]:
    parameters = list(model.proposer.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


SEEN_GREY = (0.4 - 0.45) / 0.225
"""A grey of 0.4 less ImageNet's mean, in its deviations."""


class Grey(nn.Module):
    """An inpainter for whom everything is of one colour."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        del hole
        return torch.full_like(image, self.level)


def with_grey_inpainters(model: Proposal) -> Proposal:
    model.players[IMAGE] = Grey(SEEN_GREY)
    model.players[FLOW] = Grey(0.9)
    return model


@pytest.mark.parametrize("baseline", ["none", "batch"])
@pytest.mark.parametrize("hole_side", [None, 0.3])
def test_the_loss_is_equation_3_less_equation_4_plus_the_priors(batch, hole_side, baseline):
    model = with_grey_inpainters(
        model_of(
            foreground_weight=1.3,
            background_weight=0.7,
            flow_weight=0.6,
            reward_hole=hole_side,
            reward_baseline=baseline,
            size_weight=2.0,
            centre_weight=3.0,
            size=0.3,
        )
    )
    with torch.no_grad():
        loss, terms = loss_of(model, batch)
        drawn = drawn_by(model, batch)
    erased = covered(scaled(drawn.boxes, 1.1), 48, 64)
    behind = composite(torch.full_like(batch.image, 0.4), erased, batch.image)
    made = composite(drawn.decoded.foreground, drawn.decoded.mask, behind)
    cost = pixel_distance(made, batch.image)
    hole = erased
    if hole_side is not None:
        side = torch.full((3, 2), hole_side)
        hole = covered(torch.cat([drawn.boxes[:, :2], side], 1), 48, 64)
    flow = flow_colours((batch.flow - batch.camera) / (0.03 * 64))
    seen = (batch.image - 0.45) / 0.225
    colours = hole_error(torch.full_like(seen, SEEN_GREY), seen, hole)
    moving = hole_error(torch.full_like(flow, 0.9), flow, hole)
    assert terms["pixels"] == pytest.approx(cost.mean().item(), rel=1e-5)
    assert terms["image_inpainter_error"] == pytest.approx(colours.mean().item(), rel=1e-4)
    assert terms["flow_inpainter_error"] == pytest.approx(moving.mean().item(), rel=1e-4)
    measured = advantage if baseline == "batch" else lambda reward: reward
    earned = measured(colours) + 0.6 * measured(moving)
    sides = (drawn.boxes[:, 2] * drawn.boxes[:, 3]).sqrt().mean()
    expected = (
        1.3 * (drawn.weight * cost).mean()
        - 0.7 * (drawn.weight * earned).mean()
        + 0.1 * drawn.proposals.probability.square().sum(1).mean()
        + 0.25 * ((drawn.decoded.mask.mean((1, 2, 3)) - 0.001).abs() + 0.001).mean()
        + 2 * (sides - 0.3).square()
        + 3 * (drawn.boxes[:, :2].mean(0) - 0.5).square().sum()
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("by_area", [True, False])
def test_together_the_background_moves_boxes_and_p_by_the_slopes_of_equation_4(
    batch, by_area, monkeypatch
):
    monkeypatch.setattr(proposal, "pixel_distance", lambda made, _: made.new_zeros(len(made)))
    settings = {"training": "joint", "background_weight": 0.7, "flow_weight": 0, **NO_PRIORS}
    model = with_grey_inpainters(model_of(**settings, by_area=by_area))
    found = gradients(loss_of(model, batch)[0], model)
    drawn = drawn_by(model, batch)
    hole = softly_covered(scaled(drawn.boxes, 1.1), 48, 64)
    seen = (batch.image - 0.45) / 0.225
    earned = hole_error(torch.full_like(seen, SEEN_GREY), seen, hole, by_area=by_area)
    expected = gradients(-0.7 * (drawn.weight * earned).mean(), model)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_without_flow_no_flow_is_looked_at(batch):
    model = model_of(flow_weight=0)
    lost = replace(batch, flow=batch.flow * torch.nan)
    loss, terms = loss_of(model, lost)
    assert loss.isfinite()
    assert "flow_inpainter_error" not in terms


def test_before_a_known_background_equation_3_alone_trains_both_and_no_inpainter_is_asked(batch):
    model = model_of(background="known", probability_prior=0, mask_weight=0, flow_weight=0)
    assert model.wants_background
    del model.players[IMAGE], model.players[FLOW]
    assert moved(model, batch) == EVERYTHING
    loss, terms = loss_of(model, batch)
    drawn = drawn_by(model, batch)
    assert batch.background is not None
    made = composite(drawn.decoded.foreground, drawn.decoded.mask, batch.background)
    cost = pixel_distance(made, batch.image)
    assert terms["pixels"] == pytest.approx(cost.mean().item())
    assert loss.item() == pytest.approx((drawn.weight * cost).mean().item())


def test_looks_count_beside_pixels_and_move_what_pixels_do_but_never_themselves(batch):
    looks = {"perceptual": {"network": "squeezenet1_0", "weights": "none", "weight": 3.0}}
    model = model_of(**ONLY_O, **looks)
    model.initialise(tuple(model.players))  # reads no file
    before = [p.clone() for p in model.players["features"].parameters()]
    with torch.no_grad():
        loss, terms = loss_of(model, batch)
        weight = drawn_by(model, batch).weight
    assert moved(model, batch) == EVERYTHING - {"p"}
    assert not any(p.requires_grad for p in model.players["features"].parameters())
    assert all(map(torch.equal, before, model.players["features"].parameters()))
    one = alone(batch, 0)
    with torch.no_grad():
        loss, terms = loss_of(model, one)
        weight = drawn_by(model, one).weight.item()
    assert loss.item() == pytest.approx(weight * (terms["pixels"] + 3 * terms["features"]))


# How far an object reaches


def what_moves() -> Tensor:
    """Return the error of an object 0.3 wide and 0.5 high at (0.45, 0.55), and a little beside."""
    object_ = covered(torch.tensor([[0.45, 0.55, 0.3, 0.5]]), 64, 64)
    return object_ + 0.02 * torch.rand(1, 1, 64, 64, generator=Generator().manual_seed(0))


@pytest.mark.parametrize(
    "start", [(0.45, 0.55, 0.6, 0.7), (0.5, 0.5, 0.15, 0.2), (0.3, 0.65, 0.4, 0.4)]
)
def test_the_box_of_the_largest_extent_is_the_objects_own(start):
    box = torch.tensor([start], requires_grad=True)
    optimiser = torch.optim.Adam([box], 0.01)
    for _ in range(300):
        optimiser.zero_grad()
        membership = softly_covered(box, 64, 64)
        extent(membership, what_moves(), share=0.15).neg().sum().backward()
        optimiser.step()
    assert box.detach().tolist()[0] == pytest.approx([0.45, 0.55, 0.3, 0.5], abs=0.04)


def test_an_extent_has_no_unit_and_that_of_a_box_over_nothing_is_finite():
    membership = softly_covered(torch.tensor([[0.5, 0.5, 0.4, 0.4]]), 64, 64)
    one = extent(membership, what_moves(), share=0.15)
    torch.testing.assert_close(extent(membership, 40 * what_moves(), share=0.15), one)
    nothing = extent(membership, torch.zeros(1, 1, 64, 64), share=0.15)
    assert nothing.item() == pytest.approx(-0.15)


def test_an_extent_moves_its_region_and_not_what_it_is_measured_in():
    region = torch.full((1, 1, 64, 64), 0.5, requires_grad=True)
    error = what_moves().requires_grad_()
    extent(region, error, share=0.15).sum().backward()
    assert region.grad is not None
    assert region.grad.abs().max() > 0
    assert error.grad is None


def test_boxes_and_masks_hold_what_the_flow_inpainter_leaves_over_in_a_hole_around_the_box(batch):
    shares = {"extent_share": 0.2, "outline_share": 0.4, "surroundings": 1.7}
    model = with_grey_inpainters(model_of(extent_weight=0.8, outline_weight=0.3, **shares))
    with torch.no_grad():
        without, _ = loss_of(with_grey_inpainters(model_of()), batch)
        loss, terms = loss_of(model, batch)
        drawn = drawn_by(model, batch)
    hole = covered(scaled(drawn.boxes, 1.7), 48, 64)
    flow = flow_colours((batch.flow - batch.camera) / (0.03 * 64))
    error = (flow - 0.9).square().mean(1, keepdim=True) * hole
    box = extent(softly_covered(drawn.boxes, 48, 64), error, share=0.2)
    near = crop(error, drawn.boxes, 32, 32)
    mask = extent(drawn.decoded.outlined, near, share=0.4)
    assert terms["extent"] == pytest.approx(box.mean().item(), rel=1e-5)
    assert terms["outline"] == pytest.approx(mask.mean().item(), rel=1e-5)
    expected = without - (drawn.weight * (0.8 * box + 0.3 * mask)).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


# Draws


@pytest.mark.parametrize("training", ["separate", "joint"])
def test_the_whole_sum_over_nine_cells_is_what_single_draws_are_on_average(
    batch, training, monkeypatch
):
    """Each is drawn in turn and counts as often as q draws it: the loss, and every gradient."""
    one = alone(batch, 0)
    model = model_of(mask_weight=0, training=training)
    live = live_cells(SMALL.detector, torch.device("cpu"))
    probability = drawn_by(model, one).proposals.probability
    q = exploring(probability, live, 0.3)[0].tolist()
    mean_loss = torch.zeros(())
    mean = [torch.zeros_like(p) for p in model.proposer.parameters()]
    for cell in live.nonzero()[:, 0].tolist():

        def draw_this(probability: Tensor, *_: object, cell: int = cell) -> Draw:
            return Draw(torch.tensor([[cell]]), probability[:, [cell]] / q[cell])

        monkeypatch.setattr(proposer, "draw_cells", draw_this)
        loss, _ = loss_of(model, one)
        mean_loss = mean_loss + q[cell] * loss.detach()
        slopes = gradients(loss, model)
        mean = [total + q[cell] * slope for total, slope in zip(mean, slopes, strict=True)]
    monkeypatch.undo()
    everything = model_of(mask_weight=0, training=training, sampling="all")
    loss, _ = loss_of(everything, one)
    torch.testing.assert_close(mean_loss, loss)
    expected = gradients(loss, everything)
    scale = max(slope.abs().max().item() for slope in expected)
    torch.testing.assert_close(mean, expected, rtol=1e-3, atol=1e-5 * scale)


def test_the_whole_sum_of_a_batch_is_the_mean_over_its_images(batch):
    model = model_of(sampling="all", **{"detector.jitter": 0})
    with torch.no_grad():
        together = loss_of(model, batch)[0].item()
        each = [loss_of(model, alone(batch, n))[0].item() for n in range(3)]
    assert together == pytest.approx(sum(each) / 3, rel=1e-5)


@pytest.mark.parametrize("sampling", ["importance", "uniform", "gumbel", "all"])
def test_every_way_of_drawing_lets_both_objectives_through(batch, sampling):
    assert moved(model_of(sampling=sampling), batch) == EVERYTHING


def test_a_grid_of_one_cell_regresses_its_box(batch):
    """Fig. 10d: there is nothing to choose, and both objectives move the box."""
    model = model_of(training="joint", **{"detector.cells": 1, "detector.outer_ring": True})
    drawn = drawn_by(model, batch)
    assert drawn.proposals.probability.tolist() == 3 * [[1]]
    assert drawn.weight.tolist() == [1, 1, 1]
    assert moved(model, batch) == EVERYTHING - {"p"}
    found = model.detect(batch.image[0], objects=3)
    assert found.confidence.tolist() == [1]
    assert found.centres.tolist() == [[0.5, 0.5]]


def test_boxes_that_were_seen_in_a_shifted_image_are_brought_back(monkeypatch):
    """By a D that puts every box on a bright spot."""
    at = (torch.arange(64) + 0.5) / 64
    spot = (-((at - 0.4) ** 2 + (at.view(-1, 1) - 0.6) ** 2) / 0.005).exp().expand(8, 3, 64, 64)
    model = model_of(**{"detector.jitter": 0.1})
    seen = []

    def on_the_spot(image: Tensor) -> Proposals:
        light = image[:, 0] / image[:, 0].sum((1, 2), keepdim=True)
        centre = torch.stack([(light * at).sum((1, 2)), (light * at.view(-1, 1)).sum((1, 2))], 1)
        seen.append(centre)
        boxes = torch.cat([centre, torch.full((8, 2), 0.3)], 1)
        return Proposals(boxes.unsqueeze(1), torch.ones(8, 1))

    monkeypatch.setattr(model.proposer, "propose", on_the_spot)
    found = model.proposer.propose_shifted(spot, Generator().manual_seed(0)).boxes[:, 0]
    wanted = torch.tensor([0.4, 0.6, 0.3, 0.3]).expand(8, 4)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)
    shifts = (seen[0] - wanted[:, :2]).abs()
    assert 0.05 < shifts.max() <= 0.1 + 1e-3
