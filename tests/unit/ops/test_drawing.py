import numpy as np
import pytest

from selfseg.ops.drawing import BOX, DOT, LARGEST_DOT, OFFSET, draw_detections

CENTRES = np.array([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])


def drawn(boxes: list[list[float]], cells: list[int], probability: list[float]) -> np.ndarray:
    grey = np.full((400, 600, 3), 100, np.uint8)
    return draw_detections(
        grey,
        boxes=np.array(boxes).reshape(-1, 4),
        cells=np.array(cells, dtype=int),
        centres=CENTRES,
        probability=np.array(probability),
    )


def of_colour(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (image == np.array(colour)).all(-1)


def test_dots_lie_at_the_cells_and_their_radius_grows_with_probability():
    dots = of_colour(drawn([], [], [0.6, 0.3, 0.1, 0.0]), DOT)
    areas = [int(dots[y : y + 200, x : x + 300].sum()) for y, x in ((0, 0), (0, 300), (200, 0))]
    largest = np.pi * (LARGEST_DOT * 400) ** 2
    # The smoothed edge, about a pixel wide, is of other colours.
    assert areas[0] == pytest.approx(largest, rel=0.1)
    assert areas[1] == pytest.approx(largest / 4, rel=0.2)
    assert areas[2] == pytest.approx(largest / 36, rel=0.5)
    assert dots[300 - 1 : 300 + 1, 450 - 1 : 450 + 1].sum() <= 1
    rows, columns = np.nonzero(dots[:200, :300])
    np.testing.assert_allclose((rows.mean(), columns.mean()), (99.5, 149.5), atol=0.5)


def test_a_box_is_drawn_with_a_line_from_its_cell_to_its_centre():
    image = drawn([[0.1, 0.5, 0.2, 0.25]], [3], [0.0, 0.0, 0.0, 1.0])
    rows, columns = np.nonzero(of_colour(image, BOX))
    edges = (rows.min(), rows.max(), columns.min(), columns.max())
    np.testing.assert_allclose(edges, (200, 300, 60, 180), atol=1)
    rows, columns = np.nonzero(of_colour(image, OFFSET))
    # From the cell's centre, x = 450 and y = 300, to the box's.
    ends = (rows.min(), rows.max(), columns.min(), columns.max())
    np.testing.assert_allclose(ends, (250, 300, 120, 450), atol=2)


def test_what_reaches_beyond_the_image_is_drawn_as_far_as_it_is_seen():
    image = drawn([[-0.5, 0.25, 1.0, 0.5]], [0], [1.0, 0.0, 0.0, 0.0])
    rows, columns = np.nonzero(of_colour(image, BOX))
    assert columns.min() == 0
    assert abs(columns.max() - 300) <= 1
    assert abs(rows.max() - 300) <= 1
