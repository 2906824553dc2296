"""An image searched in ten copies: where things are, how sure one may be, what is averaged."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from selfseg.contracts import Detections
from selfseg.prediction.augmentation import AUGMENTATIONS, detect_augmented
from tests.unit.prediction.scenes import BrightObjects

HEIGHT, WIDTH = 60, 80


def image_of(*things: tuple[int, int, int, int]) -> Tensor:
    """Return black with bright rectangles: left, top, width, height in pixels."""
    image = torch.zeros(3, HEIGHT, WIDTH)
    for left, top, across, down in things:
        image[:, top : top + down, left : left + across] = 1
    return image


def in_shares(left: float, top: float, across: float, down: float) -> Tensor:
    return torch.tensor([left / WIDTH, top / HEIGHT, across / WIDTH, down / HEIGHT])


class SeesCopies(BrightObjects):
    """What is found in the n-th copy is changed first."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def detect(self, image: Tensor, *, objects: int = 1) -> Detections:
        found = super().detect(image, objects=objects)
        return self.change(len(self.looked_at) - 1, found)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_what_a_copy_shows_is_where_it_is_in_the_image(augmentation):
    thing = (16, 27, 12, 18)
    copy = augmentation.of(image_of(thing))
    found = augmentation.undone(BrightObjects(mask=1, bump=1).detect(copy))
    # Four pixels to a side, three up or down: whole ones, so that nothing is lost to rounding.
    assert torch.allclose(found.boxes[0], in_shares(*thing), atol=1e-5)
    for mask in (found.masks[0], found.bumps[0]):
        assert torch.allclose(mask, image_of(thing)[0], atol=1e-4)
    middle = in_shares(22, 36, 0, 0)[:2]
    beyond = (found.centres[found.cells[0]] - middle).abs()
    assert bool((beyond <= torch.tensor([0.5 / 8, 0.5 / 6]) + 1e-5).all())
    assert found.probability.sum() == pytest.approx(1)


def test_copies_are_ten_and_the_first_is_the_image():
    image = torch.rand(3, 20, 20)
    copies = [augmentation.of(image) for augmentation in AUGMENTATIONS]
    assert torch.equal(copies[0], image)
    assert len({copy.numpy().tobytes() for copy in copies}) == len(copies) == 10


def test_what_errs_to_one_side_is_averaged_with_its_mirror_image():
    def lean(_: int, found: Detections) -> Detections:
        return replace(found, boxes=found.boxes + torch.tensor([0.02, 0, 0, 0]))

    thing = (16, 27, 12, 18)
    found = detect_augmented(SeesCopies(lean), image_of(thing))
    assert torch.allclose(found.boxes[0], in_shares(*thing), atol=1e-5)
    assert found.probability.sum() == pytest.approx(1)
    assert len(found.centres) == len(found.probability) == 480


def test_the_surer_copies_count_for_more():
    def move_first(copy: int, found: Detections) -> Detections:
        if copy:
            return replace(found, confidence=torch.tensor([0.1]))
        shift = torch.tensor([0.02, 0, 0, 0])
        return replace(found, boxes=found.boxes + shift, masks=found.masks * 0)

    thing = (16, 27, 12, 18)
    found = detect_augmented(SeesCopies(move_first), image_of(thing))
    # One copy with 1, nine with 0.1 each.
    assert found.boxes[0, 0] == pytest.approx(16 / WIDTH + 0.02 / 1.9, abs=1e-5)
    assert found.masks.max() == pytest.approx(0.9 * 0.9 / 1.9, abs=1e-3)
    assert found.confidence.tolist() == pytest.approx([0.19])


def test_two_objects_stay_two_and_the_one_seen_more_often_comes_first():
    def hide_the_larger(copy: int, found: Detections) -> Detections:
        if copy < 4:
            return found
        parts = ("boxes", "confidence", "masks", "bumps", "cells")
        return replace(found, **{part: getattr(found, part)[1:] for part in parts})

    larger, smaller = (10, 10, 18, 20), (50, 33, 16, 18)
    detector = SeesCopies(hide_the_larger)
    found = detect_augmented(detector, image_of(larger, smaller), objects=2)
    assert torch.allclose(
        found.boxes, torch.stack([in_shares(*smaller), in_shares(*larger)]), atol=1e-5
    )
    area = torch.tensor([16 * 18, 18 * 20])
    share = area / area.sum() * torch.tensor([1, 0.4])
    assert torch.allclose(found.confidence, share, atol=1e-5)
    near = found.centres[found.cells] - found.boxes[:, :2] - found.boxes[:, 2:] / 2
    assert near.abs().max() < 0.1
    assert len(detect_augmented(BrightObjects(), image_of(larger, smaller)).boxes) == 1


def test_nothing_is_found_where_nothing_is():
    found = detect_augmented(BrightObjects(), image_of(), objects=3)
    assert len(found.boxes) == len(found.masks) == len(found.confidence) == 0
