"""How near a mask comes to the truth; NumPy.

J and F are DAVIS 2016's: Perazzi et al., "A benchmark dataset and evaluation methodology for video
object segmentation", 2016. F_beta and MAE are those of salient object detection: Achanta et al.,
"Frequency-tuned salient region detection", 2009; Perazzi et al., "Saliency filters", 2012. Each
takes one predicted and one true mask of the same size.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

BOUNDARY_TOLERANCE = 0.008
"""How far a contour may be off, as a share of the image's diagonal; rounded up to pixels."""

BETA_SQUARED = 0.3
"""Weighs precision above recall in F_beta."""


def region_similarity(predicted: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"]) -> float:
    """Return J, intersection over union: 1 for equal masks, two empty ones included; 0 if apart."""
    union = np.count_nonzero(predicted | truth)
    return np.count_nonzero(predicted & truth) / union if union else 1.0


def contour_accuracy(
    predicted: Bool[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "h w"],
    *,
    tolerance: float = BOUNDARY_TOLERANCE,
) -> float:
    """Return F, the harmonic mean of the contours' precision and recall.

    A contour pixel is right when the other mask's contour comes within a disk around it whose
    radius is ceil(tolerance * diagonal) pixels. 1: every contour pixel is right, or neither mask
    has a contour. 0: none is, or one mask alone has a contour.

    Args:
        predicted: the mask that is scored.
        truth: the ground truth, of the same size.
        tolerance: radius of the disk over the image's diagonal.
    """
    predicted_contour, true_contour = contour(predicted), contour(truth)
    if not (predicted_contour.any() and true_contour.any()):
        return float(predicted_contour.any() == true_contour.any())
    radius = int(np.ceil(tolerance * np.linalg.norm(predicted.shape)))
    # Far from both contours there is nothing to match, and most of an image is far from them.
    window = _window(predicted_contour | true_contour)
    predicted_contour, true_contour = predicted_contour[window], true_contour[window]
    precision = _share_near(predicted_contour, true_contour, radius)
    recall = _share_near(true_contour, predicted_contour, radius)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour(mask: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Mark with 1 the pixels whose right, lower or lower right neighbour differs.

    The last row looks right only, the last column down only, the last pixel nowhere: the
    benchmark's `seg2bmap` at the mask's own size. A mask that touches the image's border has no
    contour there.
    """
    marked = np.zeros(mask.shape, np.uint8)
    marked[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    marked[:-1] |= mask[:-1] ^ mask[1:]
    marked[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return marked


def f_beta(predicted: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"]) -> float:
    """Return F_beta, the weighted harmonic mean of the pixels' precision and recall.

        F_beta = (1 + b) precision recall / (b precision + recall),   b = BETA_SQUARED

    1: equal masks, two empty ones included. 0: nothing in common.
    """
    # The same fraction with its common factors cancelled, so that no part of it can be 0 / 0.
    weighted = BETA_SQUARED * np.count_nonzero(truth) + np.count_nonzero(predicted)
    if not weighted:
        return 1.0
    return (1 + BETA_SQUARED) * np.count_nonzero(predicted & truth) / weighted


def mean_absolute_error(mask: Float[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"]) -> float:
    """Return MAE, the mean of |mask - truth| over the pixels of a soft mask; the less the better.

    0: a hard mask, and right. 0.5: 0.5 everywhere. 1: hard, and wrong everywhere.
    """
    return float(np.abs(mask.astype(np.float64) - truth).mean())


def _window(marked: UInt8[np.ndarray, "h w"]) -> tuple[slice, slice]:
    left, top, width, height = cv2.boundingRect(marked)
    return slice(top, top + height), slice(left, left + width)


def _share_near(
    points: UInt8[np.ndarray, "h w"], others: UInt8[np.ndarray, "h w"], radius: int
) -> float:
    """Return the share of marked `points` that lie within a disk around one of the `others`."""
    near = cv2.dilate(others, _disk(radius))
    return cv2.countNonZero(points & near) / cv2.countNonZero(points)


def _disk(radius: int) -> UInt8[np.ndarray, "side side"]:
    offsets = np.arange(-radius, radius + 1)
    return (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)
