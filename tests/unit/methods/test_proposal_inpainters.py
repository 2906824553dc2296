"""I and I_f: what is hidden from them, what they are paid for, and that they learn it."""

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from selfseg.contracts import FramePairs
from selfseg.errors import UserError
from selfseg.methods.proposal.config import InpaintersConfig
from selfseg.methods.proposal.inpainting import FLOW, IMAGE, Inpainters, flow_colours, random_boxes
from selfseg.methods.proposal.objective import hole_error
from selfseg.ops.boxes import covered
from tests.unit.methods.test_dystab_dynamic import discs

SMALL = InpaintersConfig(widths=(8, 16), flow_widths=(8, 16))


@pytest.fixture(scope="module")
def batch() -> FramePairs:
    return discs(3)


def model_of(**changes: object) -> Inpainters:
    torch.manual_seed(0)
    return Inpainters(SMALL.override(changes))


def error_of(model: Inpainters, player: str, batch: FramePairs, seed: int = 0) -> Tensor:
    return model.objective(player, batch, 0, Generator().manual_seed(seed)).loss


@pytest.mark.parametrize(
    ("turns", "expected"),
    [(2, [IMAGE, IMAGE, FLOW, IMAGE, IMAGE, FLOW]), (1, [IMAGE, FLOW, IMAGE, FLOW, IMAGE, FLOW])],
)
def test_they_take_turns_as_the_settings_say(turns, expected):
    model = model_of(flow_turns=turns)
    assert [model.player_at(step) for step in range(6)] == expected
    assert model.wants_motion


def test_without_flow_there_is_one_player_who_always_moves(batch):
    model = model_of(flow_widths=None)
    assert list(model.players) == [IMAGE]
    assert {model.player_at(step) for step in range(6)} == {IMAGE}
    assert not model.wants_motion
    lost = replace(batch, flow=batch.flow * torch.nan)
    assert error_of(model, IMAGE, lost).isfinite()


@pytest.mark.parametrize("player", [IMAGE, FLOW])
def test_each_pays_for_its_mean_square_error_in_a_random_hole_and_there_alone(batch, player):
    model = model_of()
    with torch.no_grad():
        found = error_of(model, player, batch).item()
    flow = flow_colours((batch.flow - batch.camera) / (0.03 * 64))
    truth = (batch.image - 0.45) / 0.225 if player == IMAGE else flow
    boxes = random_boxes(3, (0.3, 0.5), Generator().manual_seed(0))
    hole = covered(boxes, 48, 64)
    with torch.no_grad():
        guess = model.players[player](truth * (1 - hole), hole)
    assert found == pytest.approx(hole_error(guess, truth, hole).mean().item(), rel=1e-5)


def test_only_the_one_who_moves_learns(batch):
    for player, other in ((IMAGE, FLOW), (FLOW, IMAGE)):
        model = model_of()
        error_of(model, player, batch).backward()
        assert all(p.grad is not None for p in model.players[player].parameters())
        assert all(p.grad is None for p in model.players[other].parameters())


def test_flow_that_is_the_cameras_is_nothing_to_see(batch):
    model = model_of()
    at_rest = replace(batch, flow=batch.camera)
    assert torch.equal(model.flow(at_rest), torch.ones(3, 3, 48, 64))
    assert (model.flow(batch) < 0.9).any()
    vectors = model_of(flow_picture="vector", flow_unit=0.1)
    assert torch.equal(vectors.flow(at_rest), torch.zeros(3, 2, 48, 64))
    expected = ((batch.flow - batch.camera) / 6.4).tanh()
    torch.testing.assert_close(vectors.flow(batch), expected)
    assert error_of(vectors, FLOW, batch).isfinite()


@pytest.mark.parametrize("stride", [2, 4])
def test_on_a_coarser_grid_a_hole_hides_every_pixel_that_it_touches(batch, stride):
    model = model_of(stride=stride)
    boxes = random_boxes(3, (0.3, 0.5), Generator().manual_seed(0))
    colours = model.colours(batch)
    with torch.no_grad():
        guess, truth, hole = model.fill(IMAGE, colours, boxes)
        other = torch.where(covered(boxes, 48, 64).bool(), 7.0, colours)
        again, _, _ = model.fill(IMAGE, other, boxes)
    assert guess.shape == truth.shape == (3, 3, 48 // stride, 64 // stride)
    torch.testing.assert_close(again, guess, rtol=0, atol=0)
    fine = hole.repeat_interleave(stride, -1).repeat_interleave(stride, -2)
    assert (fine >= covered(boxes, 48, 64)).all()
    assert set(hole.unique().tolist()) == {0, 1}
    block = colours[0, 0, :stride, :stride].mean()
    assert truth[0, 0, 0, 0].item() == pytest.approx(block.item())


@pytest.mark.parametrize("player", [IMAGE, FLOW])
def test_in_thirty_steps_a_hole_is_filled_better(batch, player):
    """Of images whose surroundings tell nearly all: each has a level of its own."""
    levels = torch.tensor([0.1, 0.5, 0.8]).view(3, 1, 1, 1)
    batch = replace(batch, image=levels + 0.2 * batch.image)
    model = model_of()
    optimiser = torch.optim.Adam(model.players[player].parameters(), 1e-2)

    def untrained_holes() -> float:
        with torch.no_grad():
            return sum(error_of(model, player, batch, seed).item() for seed in range(100, 104))

    before = untrained_holes()
    for step in range(30):
        optimiser.zero_grad()
        error_of(model, player, batch, seed=step).backward()
        optimiser.step()
    assert untrained_holes() < before / 3


def test_they_outline_nothing_and_say_what_does(batch):
    with pytest.raises(UserError, match=r"recipe proposal with --set start\.image_inpainter=RUN"):
        model_of().segment(batch, "static")
