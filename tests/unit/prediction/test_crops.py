import numpy as np
import pytest
import torch
from torch import Tensor

from selfseg.contracts import FramePairs
from selfseg.data.reading.pairs import WHOLE_FRAME, Crop, still_pair
from selfseg.prediction.crops import AUGMENTED, averaged

GRID = (40, 60)


def bright(frame: FramePairs) -> Tensor:
    """A mask that says of each pixel how bright it is, wherever it is seen."""
    return frame.image[0].mean(0)


def ramp() -> np.ndarray:
    """An image that grows brighter to the right and, more slowly, downwards."""
    y, x = np.mgrid[: 3 * GRID[0], : 3 * GRID[1]]
    return np.repeat((x + 0.5 * y).astype(np.uint8)[..., None], 3, axis=2)


def test_a_mirror_image_is_mirrored_back():
    pair = still_pair("ramp", ramp())
    whole = averaged([pair], [WHOLE_FRAME], GRID, bright)
    both = averaged([pair], [WHOLE_FRAME, Crop(flip=True)], GRID, bright)
    np.testing.assert_allclose(both, whole, atol=1e-6)


def test_each_crop_is_laid_where_it_was_cut():
    pair = still_pair("ramp", ramp())
    whole = averaged([pair], [WHOLE_FRAME], GRID, bright)
    pieces = averaged([pair], AUGMENTED, GRID, bright)
    # A grid pixel is 3 levels wide: crops are resampled by less than one.
    np.testing.assert_allclose(pieces, whole, atol=3 / 255)


@pytest.mark.parametrize("crops", [(WHOLE_FRAME,), AUGMENTED])
def test_where_crops_overlap_the_mean_is_taken_not_the_sum(crops):
    pair = still_pair("ramp", ramp())
    sure = averaged([pair], crops, GRID, lambda frame: torch.ones(GRID))
    np.testing.assert_allclose(sure, 1.0)


def test_crops_that_disagree_are_averaged_pixel_by_pixel():
    answers = iter([torch.zeros(GRID), torch.ones(GRID)])
    corner = Crop(0.0, 0.0, 0.5)
    pair = still_pair("ramp", ramp())
    found = averaged([pair], [WHOLE_FRAME, corner], GRID, lambda frame: next(answers))
    expected = np.zeros(GRID)
    expected[:20, :30] = 0.5
    np.testing.assert_allclose(found, expected)
