import numpy as np
import pytest
import torch

from selfseg.evaluation.metrics import region_similarity
from selfseg.evaluation.still_baselines import (
    CENTRE_RADIUS,
    boundary_connectivity,
    centre,
    centre_ellipse,
    grabcut,
)
from selfseg.ops.masks import resize


def test_the_ellipse_crosses_one_half_at_its_radius():
    mask = centre_ellipse(200, 400)
    middle = mask[100]
    inside = np.flatnonzero(middle > 0.5)
    # Half the width of the crossing, as a share of the image's, to within a pixel.
    assert len(inside) / 2 / 400 == pytest.approx(CENTRE_RADIUS, abs=1 / 400)
    assert np.pi * CENTRE_RADIUS**2 == pytest.approx((mask > 0.5).mean(), rel=0.01)


def photograph(top: int, left: int) -> tuple[np.ndarray, np.ndarray]:
    """A red block in front of grass and sky, both of which reach the border."""
    rng = np.random.default_rng(1)
    image = np.empty((240, 320, 3), float)
    image[:100], image[100:] = (120, 170, 230), (70, 140, 60)
    truth = np.zeros((240, 320), bool)
    truth[top : top + 90, left : left + 100] = True
    image[truth] = (200, 60, 50)
    noisy = image + rng.normal(0, 8, image.shape)
    return noisy.clip(0, 255).astype(np.uint8), truth


@pytest.mark.parametrize("segment", [grabcut, boundary_connectivity])
def test_an_object_of_its_own_colour_is_found_near_the_middle(segment):
    image, truth = photograph(80, 120)
    assert found(segment, image, truth) > 0.9
    assert found(centre, image, truth) < 0.8


def test_what_the_border_does_not_reach_is_found_away_from_the_middle_too():
    image, truth = photograph(15, 15)
    assert found(boundary_connectivity, image, truth) > 0.9
    assert found(centre, image, truth) < 0.3


@pytest.mark.parametrize("segment", [grabcut, boundary_connectivity])
def test_the_same_image_gives_the_same_mask(segment):
    image, _ = photograph(60, 90)
    np.testing.assert_array_equal(segment(image), segment(image))


@pytest.mark.parametrize("segment", [centre, grabcut, boundary_connectivity])
@pytest.mark.parametrize("shape", [(240, 320), (7, 300), (300, 7)])
def test_an_image_of_one_colour_of_any_shape_gives_a_mask(segment, shape):
    mask = segment(np.full((*shape, 3), 90, np.uint8))
    assert np.isfinite(mask).all()
    assert 0 <= mask.min() <= mask.max() <= 1


def found(segment, image: np.ndarray, truth: np.ndarray) -> float:
    mask = resize(torch.from_numpy(segment(image)), *truth.shape).numpy() > 0.5
    return region_similarity(mask, truth)
