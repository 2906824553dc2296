"""What a person would use instead of training anything; NumPy.

Every claim stands beside these. They see the same frames and flows as a trained model, and their
masks take the same way to the score: border rule, CRF if asked for, resize, threshold at 0.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

Camera = Literal["none", "median", "homography", "quadratic"]


@dataclass(frozen=True, slots=True)
class FlowBaseline:
    """Flow magnitude after taking the camera's motion out, split in two by Otsu's threshold."""

    camera: Camera


@dataclass(frozen=True, slots=True)
class SubtractionBaseline:
    """OpenCV's background subtraction, on frames registered to each other or as they are."""

    model: Literal["mog2", "knn"]
    stabilised: bool


@dataclass(frozen=True, slots=True)
class CentreBaseline:
    """An ellipse in the middle of the image, always the same."""


Baseline = FlowBaseline | SubtractionBaseline | CentreBaseline

BASELINES: dict[str, Baseline] = {
    "flow-otsu": FlowBaseline("quadratic"),
    "flow-otsu-homography": FlowBaseline("homography"),
    "flow-otsu-median": FlowBaseline("median"),
    "flow-otsu-raw": FlowBaseline("none"),
    "mog2": SubtractionBaseline("mog2", stabilised=True),
    "mog2-raw": SubtractionBaseline("mog2", stabilised=False),
    "knn": SubtractionBaseline("knn", stabilised=True),
    "knn-raw": SubtractionBaseline("knn", stabilised=False),
    "centre": CentreBaseline(),
}
"""The plain name is the strongest of its kind; the others show what the rest would score."""

CENTRE_RADIUS = 0.3
"""Half axes of the centre ellipse, as shares of the image's width and height."""

SOFTNESS = 4.0
"""Slope of the soft masks at their threshold: 0.98 at twice it, 0.02 at zero."""


def moving_against_otsu(
    residuals: Float[np.ndarray, "pairs h w 2"],
) -> Float32[np.ndarray, "h w"]:
    """Return sigmoid(SOFTNESS * (speed / threshold - 1)), speed being the mean over the pairs.

    Above 0.5 exactly where the speed exceeds Otsu's threshold. A field of zeros has no threshold
    and moves nowhere: all 0.02.

    Args:
        residuals: motion of one frame to several others, camera taken out; pixels.
    """
    speed = np.linalg.norm(residuals, axis=-1).mean(0)
    excess = speed / max(_otsu_threshold(speed), 1e-6) - 1
    return _soft(np.clip(excess, -1, 4))


def centre_ellipse(height: int, width: int) -> Float32[np.ndarray, "{height} {width}"]:
    """Return a soft ellipse around the image's middle, 0.5 at CENTRE_RADIUS of its sides."""
    y = (np.arange(height)[:, None] + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    return _soft(1 - np.hypot(x, y) / CENTRE_RADIUS)


def subtract_background(
    baseline: SubtractionBaseline,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    homographies: Sequence[Float[np.ndarray, "3 3"]],
) -> list[Float32[np.ndarray, "h w"]]:
    """Mark with 1 what differs from a background learnt from the whole sequence.

    The sequence is shown twice and masks are taken the second time, so that the first frames are
    judged as well as the last; then specks are opened away and small gaps closed.

    Args:
        baseline: which model, on registered frames or not.
        images: all frames of one sequence, RGB.
        homographies: from each frame to the next in their pixels; one less than `images`.
    """
    create = {
        "mog2": cv2.createBackgroundSubtractorMOG2,
        "knn": cv2.createBackgroundSubtractorKNN,
    }[baseline.model]
    model = create(history=len(images), detectShadows=False)
    height, width = images[0].shape[:2]
    places = _canvas_places(homographies, height, width) if baseline.stabilised else None
    masks = []
    for masks in ([], []):
        for index, image in enumerate(images):
            if places is None:
                moving = model.apply(image)
            else:
                shown = cv2.warpPerspective(image, places[index], (2 * width, 2 * height))
                moving = cv2.warpPerspective(
                    model.apply(shown), np.linalg.inv(places[index]), (width, height)
                )
            masks.append(_tidy(moving))
    return masks


def _canvas_places(
    homographies: Sequence[Float[np.ndarray, "3 3"]], height: int, width: int
) -> list[Float[np.ndarray, "3 3"]]:
    """Map each frame to a canvas twice its size that shows the middle frame at its centre."""
    from_first = [np.eye(3)]
    for step in homographies:
        from_first.append(step @ from_first[-1])
    middle = from_first[len(from_first) // 2]
    centre = np.array([[1, 0, width / 2], [0, 1, height / 2], [0, 0, 1.0]])
    return [centre @ middle @ np.linalg.inv(there) for there in from_first]


def _tidy(moving: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    opened = cv2.morphologyEx(moving, cv2.MORPH_OPEN, _ellipse(3))
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, _ellipse(9))
    return (closed > 127).astype(np.float32)


def _ellipse(side_px: int) -> UInt8[np.ndarray, "side side"]:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side_px, side_px)).astype(np.uint8)


def _otsu_threshold(speed: Float[np.ndarray, "h w"]) -> float:
    """Return the speed that best splits its histogram of 256 bins; the fastest 0.5 % share one."""
    top = max(float(np.percentile(speed, 99.5)), 1e-3)
    levels = np.clip(speed / top * 255, 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return level / 255 * top


def _soft(excess: Float[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    return (1 / (1 + np.exp(-SOFTNESS * excess))).astype(np.float32)
