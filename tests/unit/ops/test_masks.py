import numpy as np
import pytest
import torch

from selfseg.ops.masks import bounding_box, foreground_side, resize


def test_a_mask_over_the_border_is_the_background_and_one_in_the_middle_is_not():
    object_mask = torch.full((20, 30), 0.1)
    object_mask[5:15, 10:20] = 0.9
    masks = torch.stack([object_mask, 1 - object_mask])
    torch.testing.assert_close(foreground_side(masks), torch.stack([object_mask, object_mask]))


@pytest.mark.parametrize(("columns", "inverted"), [(11, False), (12, True)])
def test_a_mask_is_inverted_from_sixty_percent_of_the_border_on(columns, inverted):
    # 4 rows high, the border is the whole image: 12 of 20 columns are 60 % of it.
    mask = torch.zeros(4, 20)
    mask[:, :columns] = 1
    expected = 1 - mask if inverted else mask
    torch.testing.assert_close(foreground_side(mask), expected)


def test_the_border_is_two_pixels_wide_and_counts_above_one_half_only():
    inner = torch.zeros(20, 20)
    inner[2:-2, 2:-2] = 1
    torch.testing.assert_close(foreground_side(inner), inner)
    undecided = torch.full((20, 20), 0.5)
    torch.testing.assert_close(foreground_side(undecided), undecided)


def test_resizing_keeps_the_mean_both_ways_and_any_leading_axes():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(2, 3, 8, 12, generator=generator)
    smaller = resize(mask, 4, 6)
    assert smaller.shape == (2, 3, 4, 6)
    ramp = torch.linspace(0, 1, 12).expand(8, 12)
    assert resize(ramp, 16, 24).mean() == pytest.approx(0.5, abs=1e-6)
    assert resize(ramp, 4, 6).mean() == pytest.approx(0.5, abs=1e-6)


def test_a_box_is_left_top_width_height_and_nothing_has_none():
    mask = np.zeros((10, 12), bool)
    assert bounding_box(mask) is None
    mask[3:7, 5] = True
    mask[4, 5:9] = True
    assert bounding_box(mask) == (5, 3, 4, 4)
