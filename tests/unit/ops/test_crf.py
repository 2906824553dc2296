import numpy as np
import pytest

from selfseg.ops.crf import refine


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray]:
    """A red square on green, and its mask."""
    truth = np.zeros((120, 160), bool)
    truth[40:80, 50:110] = True
    image = np.where(truth[..., None], [200, 40, 40], [40, 160, 40]).astype(np.uint8)
    return image, truth


def test_a_sloppy_outline_snaps_to_the_colours(scene):
    image, truth = scene
    sloppy = np.roll(truth, (4, -5), (0, 1)).astype(np.float32) * 0.7 + 0.15
    wrong_before = np.count_nonzero((sloppy > 0.5) != truth)
    wrong_after = np.count_nonzero((refine(image, sloppy) > 0.5) != truth)
    assert wrong_before > 400
    assert wrong_after == 0


def test_without_either_pull_the_mask_comes_back_clipped(scene):
    image, truth = scene
    mask = truth.astype(np.float32)
    refined = refine(image, mask, colour_weight=0.0, smooth_weight=0.0, certainty=0.9)
    np.testing.assert_allclose(refined, np.where(truth, 0.9, 0.1), atol=1e-6)


def test_neither_the_image_nor_the_mask_is_changed(scene):
    image, truth = scene
    mask = truth.astype(np.float32)
    image.setflags(write=False)
    mask.setflags(write=False)
    refine(image, mask)
