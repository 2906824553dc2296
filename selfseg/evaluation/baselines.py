"""What a person would use instead of training anything; NumPy.

Every claim stands beside these. They see the same frames and flows as a trained model, and their
masks take the same way to the score: border rule, CRF if asked for, resize, threshold at 0.5.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from selfseg.evaluation.soft_masks import against_otsu
from selfseg.evaluation.still_baselines import boundary_connectivity, centre, grabcut

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
class StillBaseline:
    """What looks at each image for itself, whether it is a still or a frame."""

    segment: Callable[[UInt8[np.ndarray, "h w 3"]], Float32[np.ndarray, "h w"]]


Baseline = FlowBaseline | SubtractionBaseline | StillBaseline

BASELINES: dict[str, Baseline] = {
    "flow-otsu": FlowBaseline("quadratic"),
    "flow-otsu-homography": FlowBaseline("homography"),
    "flow-otsu-median": FlowBaseline("median"),
    "flow-otsu-raw": FlowBaseline("none"),
    "mog2": SubtractionBaseline("mog2", stabilised=True),
    "mog2-raw": SubtractionBaseline("mog2", stabilised=False),
    "knn": SubtractionBaseline("knn", stabilised=True),
    "knn-raw": SubtractionBaseline("knn", stabilised=False),
    "centre": StillBaseline(centre),
    "grabcut": StillBaseline(grabcut),
    "boundary-connectivity": StillBaseline(boundary_connectivity),
}
"""The plain name is the strongest of its kind; the others show what the rest would score."""


def moving_against_otsu(
    residuals: Float[np.ndarray, "pairs h w 2"],
) -> Float32[np.ndarray, "h w"]:
    """Return a soft mask of what is faster than Otsu's threshold, by the mean over the pairs.

    Args:
        residuals: motion of one frame to several others, camera taken out; pixels.
    """
    return against_otsu(np.linalg.norm(residuals, axis=-1).mean(0))


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
