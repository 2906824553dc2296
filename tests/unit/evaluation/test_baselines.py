import cv2
import numpy as np
import pytest

from selfseg.evaluation.baselines import (
    SubtractionBaseline,
    moving_against_otsu,
    subtract_background,
)
from selfseg.evaluation.metrics import region_similarity


def test_what_moves_faster_than_the_rest_is_found():
    noise = np.random.default_rng(0).normal(0, 0.05, (2, 40, 60, 2))
    truth = np.zeros((40, 60), bool)
    truth[10:30, 20:40] = True
    residuals = noise + truth[..., None] * np.array([3.0, -1.0])
    assert region_similarity(moving_against_otsu(residuals) > 0.5, truth) > 0.99


def test_a_frame_without_any_motion_has_no_foreground():
    assert (moving_against_otsu(np.zeros((1, 8, 8, 2))) < 0.5).all()


def panning_scene() -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """A textured plane seen by a camera that pans 4 px a frame; a white block moves down on it."""
    rng = np.random.default_rng(3)
    plane = cv2.GaussianBlur(rng.integers(0, 256, (240, 320, 3), np.uint8), (0, 0), 3)
    plane = (plane.astype(int) - 128) * 4 + 100
    plane = plane.clip(0, 200).astype(np.uint8)
    images, truths = [], []
    for frame in range(20):
        image = plane[:, 4 * frame : 4 * frame + 160].copy()
        truth = np.zeros((240, 160), bool)
        top = 5 + 11 * frame
        truth[top : top + 20, 60:84] = True
        image[truth] = (255, 255, 255)
        images.append(image)
        truths.append(truth)
    step = np.array([[1, 0, -4], [0, 1, 0], [0, 0, 1.0]])
    return images, truths, [step] * 19


@pytest.mark.parametrize("model", ["mog2", "knn"])
def test_background_subtraction_needs_registered_frames_when_the_camera_moves(model):
    images, truths, homographies = panning_scene()

    def mean_j(stabilised: bool) -> float:
        masks = subtract_background(SubtractionBaseline(model, stabilised), images, homographies)
        pairs = list(zip(masks, truths, strict=True))[1:-1]
        return float(np.mean([region_similarity(mask > 0.5, truth) for mask, truth in pairs]))

    assert mean_j(stabilised=True) > 0.45
    assert mean_j(stabilised=True) > mean_j(stabilised=False) + 0.2
