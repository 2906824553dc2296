"""Who learns from what is proven by the gradients that are not there."""

import pytest
import torch

from selfseg.contracts import FramePairs
from selfseg.errors import UsageError
from selfseg.methods.proposal import proposal
from selfseg.methods.proposal.inpainting import FLOW, IMAGE
from selfseg.methods.proposal.objective import mask_prior, pixel_distance
from tests.unit.methods.small_proposal import (
    EVERYTHING,
    NO_PRIORS,
    ONLY_O,
    SMALL,
    drawn_by,
    loss_of,
    model_of,
    moved,
    scenes,
)


@pytest.fixture(scope="module")
def batch() -> FramePairs:
    return scenes()


@pytest.fixture
def silent_foreground(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let O be the same whatever is made, so that what still moves is moved by others."""
    monkeypatch.setattr(proposal, "pixel_distance", lambda made, _: made.new_zeros(len(made)))


# Section 3.2: disentangled training


def test_apart_boxes_and_the_autoencoder_learn_from_the_foreground_and_p_does_not(batch):
    assert moved(model_of(**ONLY_O), batch) == EVERYTHING - {"p"}


@pytest.mark.usefixtures("silent_foreground")
@pytest.mark.parametrize("baseline", ["none", "batch"])
def test_apart_p_learns_from_the_background_and_nothing_else_does(batch, baseline):
    assert moved(model_of(**NO_PRIORS, reward_baseline=baseline), batch) == {"p"}


@pytest.mark.usefixtures("silent_foreground")
@pytest.mark.parametrize(
    ("weight", "reached"),
    [
        ({"probability_prior": 0.1}, {"p"}),
        ({"size_weight": 1.0}, {"sizes"}),
        ({"centre_weight": 1.0}, {"offsets"}),
        ({"mask_weight": 1.0}, EVERYTHING - {"p"}),
    ],
    ids=["p", "size", "centre", "mask"],
)
def test_each_prior_moves_what_it_is_on(batch, weight, reached):
    assert moved(model_of(**(ONLY_O | weight)), batch) == reached


def test_together_the_foreground_moves_p_too(batch):
    assert moved(model_of(**ONLY_O, training="joint"), batch) == EVERYTHING


@pytest.mark.usefixtures("silent_foreground")
@pytest.mark.parametrize("training", ["joint", "background"])
@pytest.mark.parametrize("by_area", [True, False])
def test_together_or_alone_the_background_moves_boxes_too_but_never_the_autoencoder(
    batch, training, by_area
):
    model = model_of(**NO_PRIORS, training=training, by_area=by_area)
    assert moved(model, batch) == EVERYTHING - {"S"}


def test_where_the_detector_learns_from_the_background_alone_the_foreground_moves_nothing_of_it(
    batch,
):
    assert moved(model_of(**ONLY_O, training="background"), batch) == {"S"}
    with_prior = ONLY_O | {"mask_weight": 1.0}
    assert moved(model_of(**with_prior, training="background"), batch) == {"S"}


def test_in_training_apart_and_together_the_loss_is_the_same_number(batch):
    losses = [
        loss_of(model_of(training=training), batch)[0].item()
        for training in ("separate", "joint", "background")
    ]
    # Only a soft hole, through which boxes can be moved, has a slightly different area.
    assert losses == pytest.approx(3 * [losses[0]], rel=0.1)


def test_proposals_move_no_inpainter(batch):
    model = model_of()
    loss_of(model, batch)[0].backward()
    assert all(p.grad is None for name in (IMAGE, FLOW) for p in model.players[name].parameters())


# Warm-up


def test_while_they_warm_up_boxes_do_not_move_and_after_it_they_do(batch):
    for step, expected in ((10, {"S"}), (13, {"S"}), (14, EVERYTHING - {"p"})):
        model = model_of(**ONLY_O, warmup_steps=4, inpainter_steps=10)
        assert moved(model, batch, step) == expected


@pytest.mark.usefixtures("silent_foreground")
def test_the_extent_moves_boxes_and_the_outline_masks_but_not_while_they_warm_up(batch):
    settings = ONLY_O | {"extent_weight": 1.0, "warmup_steps": 4}
    assert moved(model_of(**settings), batch, 3) == set()
    assert moved(model_of(**settings), batch, 4) == {"sizes", "offsets"}
    outline = settings | {"extent_weight": 0, "outline_weight": 1.0}
    assert moved(model_of(**outline), batch, 3) == set()
    assert "S" in moved(model_of(**outline), batch, 4)


def test_the_mask_prior_comes_in_over_the_second_half_of_the_warm_up(batch):
    found = []
    with torch.no_grad():
        model = model_of(warmup_steps=4)
        cost = mask_prior(drawn_by(model, batch).decoded.mask, "v", 0.001).mean().item()
        for step in range(6):
            model.config = SMALL.override({"warmup_steps": 4, "mask_weight": 3.0})
            with_prior = loss_of(model, batch, step)[0]
            model.config = SMALL.override({"warmup_steps": 4, "mask_weight": 0})
            found.append((with_prior - loss_of(model, batch, step)[0]).item() / (3 * cost))
    assert found == pytest.approx([0, 0, 0, 0.5, 1, 1], abs=1e-3)


def test_the_crop_is_shown_whole_during_the_warm_up_only(batch):
    model = model_of(**ONLY_O, warmup_steps=4, crop_weight=0.5)
    loss, terms = loss_of(model, batch, 3)
    decoded = drawn_by(model, batch).decoded
    assert terms["crop"] == pytest.approx(pixel_distance(decoded.shown, decoded.crop).mean().item())
    model.config = model.config.override({"crop_weight": 0})
    assert loss.item() - loss_of(model, batch, 3)[0].item() == pytest.approx(0.5 * terms["crop"])
    assert "crop" not in loss_of(model_of(**ONLY_O, warmup_steps=4, crop_weight=0.5), batch, 4)[1]


# Stages and settings


def test_the_inpainters_move_first_and_then_detector_and_segmenter():
    model = model_of(inpainter_steps=5)
    turns = [model.player_at(step) for step in range(8)]
    assert turns == [IMAGE, IMAGE, FLOW, IMAGE, IMAGE, "proposer", "proposer", "proposer"]
    assert [(p.name, p.start, p.stop) for p in model.phases] == [
        ("inpainters", 0, 5),
        ("proposals", 5, 15),
    ]
    (only,) = model_of().phases
    assert (only.name, only.start, only.stop) == ("proposals", 0, 10)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"inpainters.flow_widths": None}, r"flow_weight needs inpainters\.flow_widths"),
        ({"detector.cells": 2}, r"detector: a grid of fewer than 3 x 3 cells needs outer_ring"),
        ({"detector.box": (0.5, 0.4)}, "detector: the least side of a box comes first"),
        ({"detector.first_side": 0.9}, "detector: first_side lies between"),
        ({"detector.weights": "torchvision"}, "detector: a small network has no initial weights"),
        ({"autoencoder.weights": "dino"}, "autoencoder: a small network has no initial weights"),
        ({"autoencoder.side": 40}, "autoencoder: side must be a multiple of 16"),
        ({"training": "background", "background": "known"}, "needs G"),
        ({"extent_weight": 1, "flow_weight": 0}, "extent_weight needs G in the flow"),
        ({"outline_weight": 1, "background": "known"}, "outline_weight needs G in the flow"),
        ({"sampling": "all", "reward_baseline": "batch"}, "has no noise"),
        ({"mask_lambda": 1.0}, r"mask_lambda: "),
        ({"exploration": 0}, r"exploration: "),
    ],
)
def test_settings_that_do_not_fit_are_named_in_one_line(changes, reason):
    with pytest.raises(UsageError, match=rf"^setting: .*{reason}") as error:
        SMALL.override(changes)
    assert "\n" not in str(error.value)
