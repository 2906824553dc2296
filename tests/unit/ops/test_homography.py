import cv2
import numpy as np
import pytest

from selfseg.ops.camera import homography_flow
from selfseg.ops.homography import find_corners, fit_homography
from tests.synthetic import moving_disc

TURN = np.array([[1.01, 0.02, 3.0], [-0.02, 1.01, -2.0], [1e-5, -2e-5, 1.0]])
HEIGHT, WIDTH = 96, 128


def corners() -> np.ndarray:
    gray = cv2.cvtColor(moving_disc(1, height=HEIGHT, width=WIDTH).frames[0], cv2.COLOR_RGB2GRAY)
    return find_corners(np.asarray(gray, np.uint8))


def flows(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inverse = np.linalg.inv(matrix)
    return homography_flow(matrix, HEIGHT, WIDTH), homography_flow(inverse, HEIGHT, WIDTH)


def test_an_exact_flow_gives_back_its_homography():
    matrix, inlier_share = fit_homography(corners(), *flows(TURN))
    moved = [m @ np.array([[0, 127, 60], [0, 0, 95], [1, 1, 1]]) for m in (matrix, TURN)]
    np.testing.assert_allclose(*(points[:2] / points[2] for points in moved), atol=0.02)
    assert inlier_share == 1


def test_a_thing_that_moves_by_itself_is_outvoted():
    forward, backward = flows(TURN)
    thing = (slice(30, 60), slice(40, 80))
    forward[thing] += np.array([6, 0], np.float32)
    backward[30:60, 46:86] = -forward[thing]
    matrix, inlier_share = fit_homography(corners(), forward, backward)
    np.testing.assert_allclose(matrix, TURN, atol=0.05)
    assert 0.5 < inlier_share < 0.95


@pytest.mark.parametrize(
    "matrix",
    [
        np.array([[-1.0, 0, WIDTH - 1], [0, 1, 0], [0, 0, 1]]),  # a mirror
        np.diag([0.3, 0.3, 1]),  # a ninth of the area
    ],
)
def test_what_no_camera_does_between_frames_becomes_the_median_translation(matrix):
    forward, backward = flows(matrix)
    fitted, inlier_share = fit_homography(corners(), forward, backward)
    assert inlier_share == 0
    translation = np.eye(3)
    translation[:2, 2] = np.median(forward.reshape(-1, 2), axis=0)
    np.testing.assert_array_equal(fitted, translation)


def test_flows_that_contradict_each_other_become_the_median_translation():
    forward = np.random.default_rng(0).normal(0, 8, (HEIGHT, WIDTH, 2)).astype(np.float32)
    _, inlier_share = fit_homography(corners(), forward, forward)
    assert inlier_share == 0


def test_a_blank_frame_has_no_corners_and_moves_by_the_median():
    blank = find_corners(np.zeros((HEIGHT, WIDTH), np.uint8))
    forward = np.full((HEIGHT, WIDTH, 2), 2, np.float32)
    matrix, inlier_share = fit_homography(blank, forward, -forward)
    assert inlier_share == 0
    np.testing.assert_array_equal(matrix[:2, 2], [2, 2])
