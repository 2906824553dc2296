import numpy as np
import pytest

from selfseg.ops.camera import fit_quadratic, homography_flow, quadratic_flow

HEIGHT, WIDTH = 36, 64


def test_coefficients_are_those_of_a_quadratic_between_minus_one_and_one():
    coefficients = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]])
    flow = quadratic_flow(coefficients, HEIGHT, WIDTH)
    # At the top left, x = y = -1: c0 - c1 - c2 + c3 + c4 + c5.
    np.testing.assert_allclose(flow[0, 0], [1 - 2 - 3 + 4 + 5 + 6, 1], rtol=1e-6)
    np.testing.assert_allclose(flow[-1, -1], [21, 1], rtol=1e-6)


def test_a_camera_that_follows_the_model_is_found_again():
    truth = np.random.default_rng(0).normal(size=(2, 6))
    flow = quadratic_flow(truth, HEIGHT, WIDTH)
    np.testing.assert_allclose(fit_quadratic(flow), truth, atol=0.02)


def test_a_thing_that_moves_by_itself_does_not_sway_the_camera():
    truth = np.array([[3.0, 1.0, 0.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
    flow = quadratic_flow(truth, HEIGHT, WIDTH)
    camera = flow.copy()
    flow[10:26, 20:44] += [8.0, -4.0]
    found = quadratic_flow(fit_quadratic(flow), HEIGHT, WIDTH)
    assert np.abs(found - camera).max() < 0.1


def test_one_model_serves_every_resolution_of_the_same_motion():
    truth = np.random.default_rng(1).normal(size=(2, 6))
    coarse = fit_quadratic(quadratic_flow(truth, HEIGHT, WIDTH))
    fine = fit_quadratic(quadratic_flow(2 * truth, 2 * HEIGHT, 2 * WIDTH))
    np.testing.assert_allclose(fine, 2 * coarse, atol=0.02)


def test_flow_that_is_not_finite_is_refused():
    flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flow[3, 4, 0] = np.inf
    with pytest.raises(ValueError, match="finite"):
        fit_quadratic(flow)


def test_a_homography_moves_a_pixel_to_its_image():
    matrix = np.array([[1.1, 0.1, 3.0], [0.0, 0.9, -2.0], [0.001, 0.0, 1.0]])
    flow = homography_flow(matrix, HEIGHT, WIDTH)
    there = matrix @ [20, 10, 1]
    np.testing.assert_allclose(flow[10, 20], there[:2] / there[2] - [20, 10], rtol=1e-5)
