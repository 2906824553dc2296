"""What a detector found, drawn over its frame; NumPy, RGB, 0 to 255."""

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

DOT = (64, 144, 255)
"""Colour of a cell's probability."""

OFFSET = (64, 255, 96)
"""Colour of the way from a cell's centre to its box's."""

BOX = (255, 220, 0)

LARGEST_DOT = 0.05
"""Most that the largest dot's radius may be, as a share of the image's shorter side."""

CELL_SHARE = 0.45
"""The same as a share of the shorter side over the number of cells along it: dots do not touch."""

FRACTION_BITS = 4
"""OpenCV draws between pixels where it is told coordinates in this many bits below one."""


def draw_detections(
    image: UInt8[np.ndarray, "h w 3"],
    *,
    boxes: Float[np.ndarray, "k 4"],
    cells: Int[np.ndarray, " k"],
    centres: Float[np.ndarray, "c 2"],
    probability: Float[np.ndarray, " c"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a grid's probabilities as dots, and each box with a line to it from its cell's centre.

    A dot's radius is proportional to its cell's probability; the most probable cell's is the
    largest. The proposal paper's Figure 5.

    Args:
        image: RGB; left as it is.
        boxes: left, top, width, height; shares of the image's sides, may reach beyond it.
        cells: the cell that each box belongs to.
        centres: x, y of every cell's centre; shares of the image's sides.
        probability: of every cell.
    """
    drawn = image.copy()
    height, width = image.shape[:2]
    size = np.array([width, height])
    thickness = max(1, round(min(height, width) / 240))
    largest = min(LARGEST_DOT, CELL_SHARE / max(1.0, np.sqrt(len(centres)))) * min(height, width)
    radii = largest * probability / max(float(probability.max(initial=0)), 1e-12)
    for centre, radius in zip(centres * size, radii.tolist(), strict=True):
        fine = (_fine(centre), _fixed(radius))
        cv2.circle(drawn, *fine, DOT, cv2.FILLED, cv2.LINE_AA, FRACTION_BITS)
    for box, cell in zip(boxes, cells, strict=True):
        corner, far = box[:2] * size, (box[:2] + box[2:]) * size
        middle = (corner + far) / 2
        begin = _fine(centres[cell] * size)
        cv2.line(drawn, begin, _fine(middle), OFFSET, thickness, cv2.LINE_AA, FRACTION_BITS)
        cv2.rectangle(drawn, _fine(corner), _fine(far), BOX, thickness, cv2.LINE_AA, FRACTION_BITS)
    return drawn


def _fine(point: Float[np.ndarray, "2"]) -> tuple[int, int]:
    """Bring a point to OpenCV's fractions; its origin is the middle of the first pixel."""
    x, y = (point - 0.5).tolist()
    return _fixed(x), _fixed(y)


def _fixed(value: float) -> int:
    return round(value * 2**FRACTION_BITS)
