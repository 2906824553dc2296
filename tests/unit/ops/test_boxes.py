"""Boxes in shares of the image, against closed forms; pixels are areas, not points."""

import math

import pytest
import torch
from torch import Generator, Tensor

from selfseg.ops.boxes import corners, covered, crop, paste, scaled, softly_covered

WHOLE = [0.5, 0.5, 1.0, 1.0]


def of(*boxes: list[float]) -> Tensor:
    return torch.tensor(boxes, dtype=torch.float64)


def noise(count: int, channels: int, height: int, width: int) -> Tensor:
    generator = Generator().manual_seed(1)
    return torch.rand(count, channels, height, width, dtype=torch.float64, generator=generator)


def ramp(height: int, width: int) -> Tensor:
    """An image whose two channels are x and y of its pixels, shares of its sides."""
    x = (torch.arange(width, dtype=torch.float64) + 0.5) / width
    y = (torch.arange(height, dtype=torch.float64) + 0.5) / height
    return torch.stack([x.expand(height, -1), y.view(-1, 1).expand(-1, width)]).unsqueeze(0)


def test_a_crop_of_the_whole_image_is_the_image_and_so_is_a_paste():
    image = noise(2, 3, 7, 9)
    boxes = of(WHOLE, WHOLE)
    torch.testing.assert_close(crop(image, boxes, 7, 9), image)
    torch.testing.assert_close(paste(image, boxes, 7, 9), image)


def test_a_crop_shows_the_places_that_the_box_names():
    """On an image that says where each pixel is; no box comes within half a pixel of its edge."""
    boxes = of([0.5, 0.5, 0.4, 0.4], [0.3, 0.6, 0.2, 0.5])
    shown = crop(ramp(40, 50).expand(2, -1, -1, -1), boxes, 4, 5)
    along_x = (torch.arange(5).double() + 0.5) / 5 - 0.5
    along_y = (torch.arange(4).double() + 0.5) / 4 - 0.5
    for (x, y, width, height), (shown_x, shown_y) in zip(boxes, shown, strict=True):
        torch.testing.assert_close(shown_x, (x + width * along_x).expand(4, -1))
        torch.testing.assert_close(shown_y, (y + height * along_y).view(-1, 1).expand(-1, 5))


def test_a_box_of_whole_pixels_is_cut_out_and_put_back_as_it_is():
    """Rows 3 to 6 and columns 2 to 7 of ten by twelve."""
    image = noise(1, 3, 10, 12)
    box = of([5 / 12, 0.5, 6 / 12, 0.4])
    cut = crop(image, box, 4, 6)
    torch.testing.assert_close(cut, image[..., 3:7, 2:8])
    back = torch.zeros_like(image)
    back[..., 3:7, 2:8] = image[..., 3:7, 2:8]
    torch.testing.assert_close(paste(cut, box, 10, 12), back)


def test_a_paste_undoes_a_crop_within_any_box_up_to_interpolation():
    y, x = torch.meshgrid(*2 * [torch.linspace(0, math.pi, 60, dtype=torch.float64)], indexing="ij")
    image = (x.sin() * (2 * y).cos()).view(1, 1, 60, 60)
    box = of([0.43, 0.58, 0.51, 0.37])
    again = paste(crop(image, box, 60, 60), box, 60, 60)
    inside = covered(scaled(box, 0.95), 60, 60).bool()
    assert inside.sum() > 500
    # Linear interpolation, twice, errs by curvature times step squared over 8.
    assert (again - image)[inside].abs().max() < 2 * 5 * (math.pi / 59) ** 2 / 8
    beyond = covered(scaled(box, 1.05), 60, 60) == 0
    assert again[beyond].abs().max() == 0


def test_outside_the_image_lies_nothing_or_its_outermost_pixels():
    image = 1 + noise(1, 1, 4, 4)
    left_half_outside = of([0.0, 0.5, 1.0, 1.0])
    torch.testing.assert_close(
        crop(image, left_half_outside, 4, 4)[..., :2], torch.zeros(1, 1, 4, 2).double()
    )
    bordered = crop(image, left_half_outside, 4, 4, beyond="border")
    torch.testing.assert_close(bordered[..., :2], image[..., :1].expand(-1, -1, -1, 2))
    for beyond in ("zeros", "border"):
        shown = crop(image, left_half_outside, 4, 4, beyond=beyond)
        torch.testing.assert_close(shown[..., 2:], image[..., :2])


def test_outside_a_box_lies_nothing_or_the_patchs_outermost_pixels():
    patch = 1 + noise(1, 1, 2, 2)
    middle = of([0.5, 0.5, 0.5, 0.5])
    alone = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    alone[..., 1:3, 1:3] = patch
    torch.testing.assert_close(paste(patch, middle, 4, 4), alone)
    continued = patch.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(paste(patch, middle, 4, 4, beyond="border"), continued)


def test_a_box_may_reach_beyond_the_image_and_loses_what_lies_there():
    patch = 1 + noise(1, 1, 4, 4)
    corner = of([0.0, 1.0, 1.0, 1.0])
    shown = paste(patch, corner, 4, 4)
    torch.testing.assert_close(shown[..., 2:, :2], patch[..., :2, 2:])
    assert shown.sum() == pytest.approx(patch[..., :2, 2:].sum())
    assert covered(corner, 4, 4).sum() == 4
    assert covered(of([-0.6, 0.5, 1.0, 1.0]), 4, 4).sum() == 0


def test_exactly_the_pixels_are_covered_whose_centre_lies_in_the_box():
    generator = Generator().manual_seed(2)
    boxes = torch.rand(20, 4, dtype=torch.float64, generator=generator) + of([-0.2, -0.2, 0, 0])
    expected = torch.zeros(20, 1, 7, 9, dtype=torch.float64)
    for number, (x, y, width, height) in enumerate(boxes.tolist()):
        for row in range(7):
            for column in range(9):
                along_x = abs((column + 0.5) / 9 - x) <= width / 2
                along_y = abs((row + 0.5) / 7 - y) <= height / 2
                expected[number, 0, row, column] = along_x and along_y
    assert 0 < expected.mean() < 1
    assert torch.equal(covered(boxes, 7, 9), expected)
    assert torch.equal(covered(of(WHOLE), 7, 9), torch.ones(1, 1, 7, 9, dtype=torch.float64))


def test_soft_membership_is_a_quarter_in_a_corner_and_falls_across_the_edge():
    box = of([0.5, 0.5, 0.4, 0.4])
    wide = softly_covered(box, 100, 100, edge=0.02)[0, 0]
    # Of 100 pixels, those numbered 29 and 30 lie half a pixel outside and inside the edge at 0.3.
    half = 2 * 0.005 / 0.02
    assert wide[50, 29].item() == pytest.approx(1 / (1 + math.exp(half)), rel=1e-6)
    assert wide[50, 30].item() == pytest.approx(1 / (1 + math.exp(-half)), rel=1e-6)
    # At the corner itself both sides are undecided: 1/2 * 1/2.
    corner = wide[29:31, 29:31].mean().item()
    assert corner == pytest.approx(0.25, rel=1e-6)
    narrow = softly_covered(box, 100, 100, edge=1e-4)
    torch.testing.assert_close(narrow, covered(box, 100, 100), rtol=0, atol=1e-12)


def test_what_is_covered_has_no_gradient_and_soft_membership_has():
    box = of([0.5, 0.5, 0.4, 0.4]).requires_grad_()
    assert not covered(box, 8, 8).requires_grad
    softly_covered(box, 8, 8).sum().backward()
    assert box.grad is not None
    assert (box.grad[0, 2:] > 0).all()


@pytest.mark.parametrize("beyond", ["zeros", "border"])
def test_gradients_of_a_boxs_four_numbers_are_finite_differences(beyond):
    """Bilinear interpolation has kinks; these boxes put no sample on one."""
    image, patch = noise(2, 2, 6, 7), noise(2, 2, 5, 5)
    boxes = of([0.47, 0.53, 0.61, 0.43], [0.11, 0.83, 0.57, 0.71]).requires_grad_()

    def cropped(boxes: Tensor, image: Tensor) -> Tensor:
        return crop(image, boxes, 4, 3, beyond=beyond)

    def pasted(boxes: Tensor, patch: Tensor) -> Tensor:
        return paste(patch, boxes, 6, 7, beyond=beyond)

    def member(boxes: Tensor) -> Tensor:
        return softly_covered(boxes, 6, 7, edge=0.3)

    assert torch.autograd.gradcheck(cropped, (boxes, image.requires_grad_()))
    assert torch.autograd.gradcheck(pasted, (boxes, patch.requires_grad_()))
    assert torch.autograd.gradcheck(member, (boxes,))


def test_scaling_keeps_the_centre_and_corners_are_half_a_side_away():
    box = of([0.4, 0.6, 0.2, 0.5])
    torch.testing.assert_close(scaled(box, 1.1), of([0.4, 0.6, 0.22, 0.55]))
    torch.testing.assert_close(corners(box), of([0.3, 0.35, 0.5, 0.85]))
    grid = box.expand(2, 3, 4)
    torch.testing.assert_close(corners(grid), corners(box).expand(2, 3, 4))
