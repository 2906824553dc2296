"""What a trained D and S find in an image: boxes, what is in them, and how sure they are."""

import pytest
import torch
from torch import nn

from selfseg.contracts import Detector, FramePairs
from selfseg.methods.proposal.grid import Proposals, live_cells
from selfseg.methods.proposal.proposal import Proposal
from selfseg.ops.boxes import covered, scaled
from tests.unit.methods.small_proposal import SMALL, model_of
from tests.unit.methods.test_dystab_dynamic import discs


@pytest.fixture(scope="module")
def batch() -> FramePairs:
    return discs(1)


def proposing(model: Proposal, boxes: list[list[float]], probability: list[float]) -> Proposal:
    """Let D say this of a grid's live cells, and nothing of the others."""
    live = live_cells(model.config.detector, torch.device("cpu")).nonzero()[: len(boxes), 0]
    every, chances = torch.full((1, 25, 4), 0.5), torch.zeros(1, 25)
    every[0, live] = torch.tensor(boxes)
    chances[0, live] = torch.tensor(probability)
    model.proposer.propose = lambda image: Proposals(every, chances)
    return model


LEFT, LEFT_TOO, RIGHT, TINY = (
    [0.3, 0.5, 0.4, 0.6],
    [0.33, 0.5, 0.4, 0.6],
    [0.8, 0.4, 0.3, 0.3],
    [0.5, 0.9, 0.2, 0.2],
)
"""Centre and sides; the first two overlap by 37 / 43, no others do."""


def test_boxes_of_one_object_count_as_their_mean_and_their_probabilities_add_up(batch):
    model = proposing(model_of(), [RIGHT, LEFT_TOO, TINY, LEFT], [0.3, 0.2, 0.1, 0.4])
    found = model.detect(batch.image[0], objects=5)
    left, right, tiny = [0.11, 0.2, 0.4, 0.6], [0.65, 0.25, 0.3, 0.3], [0.4, 0.8, 0.2, 0.2]
    torch.testing.assert_close(found.boxes, torch.tensor([left, right, tiny]))
    torch.testing.assert_close(found.confidence, torch.tensor([0.6, 0.3, 0.1]))
    live = live_cells(SMALL.detector, torch.device("cpu")).nonzero()[:, 0]
    assert found.cells.tolist() == live[[3, 0, 2]].tolist()
    assert found.probability.sum().item() == pytest.approx(1)
    assert found.centres.shape == (25, 2)


def test_the_object_with_most_probability_in_all_comes_first_not_the_cell_with_most(batch):
    model = proposing(model_of(), [RIGHT, LEFT_TOO, LEFT], [0.4, 0.25, 0.35])
    found = model.detect(batch.image[0], objects=2)
    assert found.confidence.tolist() == pytest.approx([0.6, 0.4])
    mean = 0.1 + 0.03 * 0.25 / 0.6
    torch.testing.assert_close(found.boxes[0], torch.tensor([mean, 0.2, 0.4, 0.6]))


def test_the_box_of_a_cell_that_is_never_drawn_is_nobodys(batch):
    """Even where it overlaps one that an object's box has swallowed, but not that box."""
    swallowed, dead = [0.5, 0.5, 0.4, 0.6], [0.55, 0.5, 0.4, 0.6]
    model = proposing(model_of(overlap=0.3), [LEFT, swallowed, dead], [0.6, 0.4, 0])
    found = model.detect(batch.image[0], objects=3)
    torch.testing.assert_close(found.boxes, torch.tensor([[0.18, 0.2, 0.4, 0.6]]))
    assert found.confidence.tolist() == pytest.approx([1])


def test_how_much_two_objects_may_overlap_is_a_setting(batch):
    for overlap, count in ((0.85, 1), (0.87, 2), (1, 2)):
        model = proposing(model_of(overlap=overlap), [LEFT, LEFT_TOO], [0.6, 0.4])
        found = model.detect(batch.image[0], objects=5)
        assert len(found.boxes) == count
        assert found.confidence.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("objects", [1, 2])
def test_no_more_objects_are_found_than_asked_for_and_the_most_confident_come_first(batch, objects):
    model = proposing(model_of(), [RIGHT, TINY, LEFT], [0.35, 0.2, 0.45])
    found = model.detect(batch.image[0], objects=objects)
    parts = (found.boxes, found.confidence, found.masks, found.bumps, found.cells)
    assert {len(part) for part in parts} == {objects}
    assert found.confidence.tolist() == pytest.approx([0.45, 0.35][:objects])
    assert found.confidence.sum() <= 1


@pytest.mark.parametrize("focal", [True, False])
def test_masks_lie_in_their_boxes_and_reach_one(batch, focal):
    model = proposing(
        model_of(**{"autoencoder.focal": focal}), [LEFT, RIGHT, TINY], [0.5, 0.3, 0.2]
    )
    found = model.detect(batch.image[0], objects=3)
    # Interpolation reaches half a pixel of the crop, a 64th of the box, beyond it.
    boxes = torch.tensor([LEFT, RIGHT, TINY])
    beyond = covered(scaled(boxes, 1 + 1 / 32), 48, 64)[:, 0] == 0
    for maps in (found.masks, found.bumps):
        assert maps.shape == (3, 48, 64)
        assert maps.min() >= 0
        assert maps.amax((1, 2)).tolist() == pytest.approx([1, 1, 1])
        assert maps[beyond].abs().max() == 0
    assert not found.masks.requires_grad


def test_the_bump_is_the_mask_of_a_segmenter_that_tells_nothing(batch):
    model = proposing(model_of(), [LEFT, RIGHT], [0.6, 0.4])
    last = model.proposer.autoencoder.decoder[-1]
    assert isinstance(last, nn.Conv2d)
    last.weight.data.zero_()
    found = model.detect(batch.image[0], objects=2)
    torch.testing.assert_close(found.masks, found.bumps)


def test_an_image_is_segmented_by_the_mask_of_its_most_confident_box(batch):
    model = model_of()
    found = model.detect(batch.image[0], objects=4)
    assert found.confidence.argmax() == 0
    torch.testing.assert_close(model.segment(batch, "static"), found.masks[0])
    assert isinstance(model, Detector)
