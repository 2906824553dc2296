"""What a benchmark counts and measures, and how a soft mask meets the truth; NumPy.

The threshold is fixed, or set by the mask alone: no truth chooses a mask, a threshold or a side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float

from selfseg.evaluation.metrics import (
    contour_accuracy,
    f_beta,
    mean_absolute_error,
    region_similarity,
)
from selfseg.ops.masks import resize

THRESHOLD = 0.5
"""A pixel is foreground above this probability."""

ADAPTIVE = 2.0
"""The adaptive threshold over the mask's mean: Achanta et al., 2009."""

Measured = dict[str, float]


@dataclass(frozen=True, slots=True)
class Protocol:
    """What counts, and how it is measured.

    unit: what is averaged over in the end; a video's frames are averaged first
    edges: whether a video's first and last frame count
    labels: what tables call the measures, by their names; the first ranks
    score: from a soft mask of any size, the truth at its own size, and what of it does not count
    statement: the rules in a line, for whoever compares the numbers
    """

    unit: Literal["sequence", "image"]
    edges: bool
    labels: dict[str, str]
    score: Callable[..., Measured]
    statement: str

    def counted_frames(self, num_frames: int) -> range:
        """Return the frames that count if they are annotated."""
        return range(num_frames) if self.edges else range(1, num_frames - 1)


def binary_mask(mask: Float[np.ndarray, "h w"], height: int, width: int) -> Bool[np.ndarray, "..."]:
    """Bring a soft mask to `height` x `width` and threshold it there."""
    return _resized(mask, height, width) > THRESHOLD


def score_frame(
    mask: Float[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "..."],
    void: Bool[np.ndarray, "..."] | None = None,
) -> Measured:
    """Measure J and F at the truth's size.

    Args:
        mask: soft, of any size.
        truth: at its own size; false where void.
        void: pixels that do not count; DAVIS takes them for background on both sides.
    """
    predicted = binary_mask(mask, *truth.shape)
    if void is not None:
        predicted &= ~void
    return {
        "j": region_similarity(predicted, truth),
        "f": contour_accuracy(predicted, truth),
    }


def score_still(
    mask: Float[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "..."],
    void: Bool[np.ndarray, "..."] | None = None,
) -> Measured:
    """Measure IoU and F_beta of the thresholded mask and MAE of the soft one, at the truth's size.

    `f_beta_adaptive` thresholds at twice the mask's mean, at most where it is largest, instead of
    at 0.5: what methods without a calibrated probability are scored by.
    """
    soft = _resized(mask, *truth.shape)
    assert void is None, "no benchmark of stills leaves pixels out"
    predicted = soft > THRESHOLD
    bright = soft >= min(ADAPTIVE * soft.mean(), soft.max())
    return {
        "iou": region_similarity(predicted, truth),
        "f_beta": f_beta(predicted, truth),
        "f_beta_adaptive": f_beta(bright & (soft > 0), truth),
        "mae": mean_absolute_error(soft, truth),
    }


def _resized(mask: Float[np.ndarray, "h w"], height: int, width: int) -> Float[np.ndarray, "..."]:
    return resize(torch.from_numpy(mask), height, width).numpy()


def _of_videos(*, edges: bool, counted: str) -> Protocol:
    return Protocol(
        "sequence",
        edges=edges,
        labels={"j": "J", "f": "F"},
        score=score_frame,
        statement=(
            "J and F at threshold 0.5 and at the size of the truth, all objects of a frame as one, "
            f"empty against empty 1; {counted}; mean over a sequence, then over sequences"
        ),
    )


INNER_FRAMES = _of_videos(edges=False, counted="annotated frames but the first and the last")
"""DAVIS 2016's, used for collections with masks and for DAVIS 2017 with its objects merged."""

ANNOTATED_FRAMES = _of_videos(edges=True, counted="every annotated frame")
"""Of FBMS-59, SegTrackV2 and Youtube-VOS."""

STILLS = Protocol(
    "image",
    edges=True,
    labels={"iou": "IoU", "f_beta": "F_beta", "f_beta_adaptive": "F_beta, adaptive", "mae": "MAE"},
    score=score_still,
    statement=(
        "every image, at the size of its truth: IoU and F_beta (beta^2 = 0.3) at threshold 0.5, "
        "F_beta at twice the mask's own mean (adaptive), MAE of the soft mask (less is better); "
        "mean over images"
    ),
)
