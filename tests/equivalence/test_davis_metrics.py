import numpy as np
import pytest

from selfseg.evaluation.metrics import contour, contour_accuracy, region_similarity


def slow_contour(mask: np.ndarray) -> np.ndarray:
    """The benchmark's seg2bmap, pixel by pixel: shifted copies compared, with its three edges."""
    height, width = mask.shape
    marked = np.zeros(mask.shape, bool)
    for row in range(height):
        for column in range(width):
            right = mask[row, column + 1] if column + 1 < width else False
            below = mask[row + 1, column] if row + 1 < height else False
            inside = row + 1 < height and column + 1 < width
            diagonal = mask[row + 1, column + 1] if inside else False
            here = mask[row, column]
            if inside:
                marked[row, column] = here != right or here != below or here != diagonal
            elif column + 1 < width:
                marked[row, column] = here != right
            elif row + 1 < height:
                marked[row, column] = here != below
    return marked


def slow_contour_accuracy(predicted: np.ndarray, truth: np.ndarray, tolerance: float) -> float:
    """Match every contour pixel against every other by squared distance."""
    radius = np.ceil(tolerance * np.hypot(*truth.shape))
    points = [np.argwhere(slow_contour(mask)) for mask in (predicted, truth)]
    if not all(map(len, points)):
        return float(len(points[0]) == len(points[1]))

    def share(of: np.ndarray, near: np.ndarray) -> float:
        squared = ((of[:, None] - near[None]) ** 2).sum(-1)
        return float((squared.min(1) <= radius**2).mean())

    precision, recall = share(points[0], points[1]), share(points[1], points[0])
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    for _ in range(rng.integers(1, 4)):
        top, left = rng.integers(0, height - 2), rng.integers(0, width - 2)
        mask[top : top + rng.integers(1, height), left : left + rng.integers(1, width)] ^= True
    return mask ^ (rng.random(mask.shape) < rng.choice([0, 0.02]))


@pytest.mark.parametrize("seed", range(25))
def test_the_contour_is_the_benchmarks_pixel_for_pixel(seed):
    mask = blobs(seed, 17, 23)
    np.testing.assert_array_equal(contour(mask).astype(bool), slow_contour(mask))


@pytest.mark.parametrize("tolerance", [0.008, 0.05, 0.12])
@pytest.mark.parametrize("seed", range(25))
def test_f_matches_contours_as_an_exhaustive_search_does(seed, tolerance):
    predicted, truth = blobs(seed, 31, 47), blobs(seed + 1000, 31, 47)
    expected = slow_contour_accuracy(predicted, truth, tolerance)
    assert contour_accuracy(predicted, truth, tolerance=tolerance) == pytest.approx(expected)


def square(top: int, left: int, side: int, shape: tuple[int, int] = (480, 854)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_j_of_two_shifted_squares_is_overlap_over_union():
    # 10 x 10 squares, 4 apart: 10 * 6 shared, 2 * 100 - 60 covered.
    assert region_similarity(square(5, 5, 10), square(5, 9, 10)) == 60 / 140


def test_f_forgives_a_shift_up_to_the_tolerance_and_not_a_pixel_more():
    # ceil(0.008 * hypot(480, 854)) = ceil(7.84) = 8.
    truth = square(100, 100, 60)
    assert contour_accuracy(square(108, 100, 60), truth) == 1
    assert contour_accuracy(square(109, 100, 60), truth) < 1
    # A line's contour is the line and the column left of it: moved by 10 they are 9 apart.
    line = np.zeros((480, 854), bool)
    line[:, 400] = True
    assert contour_accuracy(np.roll(line, 9, axis=1), line) > 0
    assert contour_accuracy(np.roll(line, 10, axis=1), line) == 0


@pytest.mark.parametrize("metric", [region_similarity, contour_accuracy])
def test_empty_against_empty_is_perfect_and_against_anything_else_nothing(metric):
    empty, some = np.zeros((48, 64), bool), square(10, 10, 12, (48, 64))
    assert metric(empty, empty) == 1
    assert metric(some, some) == 1
    assert metric(empty, some) == 0
    assert metric(some, empty) == 0


def test_a_mask_that_fills_the_image_has_no_contour():
    full = np.ones((48, 64), bool)
    assert not contour(full).any()
    assert contour_accuracy(full, np.zeros_like(full)) == 1
