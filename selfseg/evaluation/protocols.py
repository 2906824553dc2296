"""What a benchmark counts and measures, and how a soft mask meets the truth; NumPy.

The threshold is fixed, set by the mask alone, or chosen on videos that are not scored: no truth of
what is scored chooses a mask, a threshold or a side.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from selfseg.evaluation.metrics import (
    contour_accuracy,
    f_beta,
    mean_absolute_error,
    region_similarity,
)
from selfseg.evaluation.thresholds import FIXED, Thresholds, resized

ADAPTIVE = 2.0
"""The adaptive threshold over the mask's mean: Achanta et al., 2009."""

Measured = dict[str, float]


@dataclass(frozen=True, slots=True)
class Protocol:
    """What counts, and how it is measured.

    unit: what is averaged over in the end; a video's frames are averaged first
    edges: whether a video's first and last frame count
    labels: what tables call the measures, by their names; the first ranks
    measure: from a soft mask of any size, the truth at its own size, what of it does not count,
        and a threshold
    rules: in a line, for whoever compares the numbers; {threshold} stands for what is chosen
    thresholds: above which probability a pixel is foreground
    """

    unit: Literal["sequence", "image"]
    edges: bool
    labels: dict[str, str]
    measure: Callable[..., Measured]
    rules: str
    thresholds: Thresholds = field(default_factory=Thresholds)

    @property
    def statement(self) -> str:
        """The rules, with the threshold that holds."""
        return self.rules.format(threshold=self.thresholds.stated(self.thresholds.mask))

    def counted_frames(self, num_frames: int) -> range:
        """Return the frames that count if they are annotated."""
        return range(num_frames) if self.edges else range(1, num_frames - 1)

    def score(
        self,
        mask: Float[np.ndarray, "h w"],
        truth: Bool[np.ndarray, "..."],
        void: Bool[np.ndarray, "..."] | None = None,
    ) -> Measured:
        """Measure one frame's soft mask against its truth."""
        return self.measure(
            mask, truth, void, threshold=self.thresholds.deciding(self.thresholds.mask)
        )

    def score_control(
        self,
        bump: Float[np.ndarray, "h w"],
        truth: Bool[np.ndarray, "..."],
        void: Bool[np.ndarray, "..."] | None = None,
    ) -> float:
        """Measure J of the control beside a detector's mask, at a threshold of its own."""
        threshold = self.thresholds.deciding(self.thresholds.control)
        return region_similarity(_foreground(bump, truth, void, threshold=threshold), truth)


def binary_mask(
    mask: Float[np.ndarray, "h w"], height: int, width: int, *, threshold: float = FIXED
) -> Bool[np.ndarray, "{height} {width}"]:
    """Bring a soft mask to `height` x `width` and threshold it there."""
    return resized(mask, height, width) > threshold


def score_frame(
    mask: Float[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "..."],
    void: Bool[np.ndarray, "..."] | None = None,
    *,
    threshold: float = FIXED,
) -> Measured:
    """Measure J and F at the truth's size.

    Args:
        mask: soft, of any size.
        truth: at its own size; false where void.
        void: pixels that do not count; DAVIS takes them for background on both sides.
        threshold: a pixel is foreground above this probability.
    """
    predicted = _foreground(mask, truth, void, threshold=threshold)
    return {
        "j": region_similarity(predicted, truth),
        "f": contour_accuracy(predicted, truth),
    }


def score_still(
    mask: Float[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "..."],
    void: Bool[np.ndarray, "..."] | None = None,
    *,
    threshold: float = FIXED,
) -> Measured:
    """Measure IoU and F_beta of the thresholded mask and MAE of the soft one, at the truth's size.

    `f_beta_adaptive` thresholds at twice the mask's mean, at most where it is largest, instead of
    at `threshold`: what methods without a calibrated probability are scored by.
    """
    soft = resized(mask, *truth.shape)
    assert void is None, "no benchmark of stills leaves pixels out"
    predicted = soft > threshold
    bright = soft >= min(ADAPTIVE * soft.mean(), soft.max())
    return {
        "iou": region_similarity(predicted, truth),
        "f_beta": f_beta(predicted, truth),
        "f_beta_adaptive": f_beta(bright & (soft > 0), truth),
        "mae": mean_absolute_error(soft, truth),
    }


def _foreground(
    mask: Float[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "..."],
    void: Bool[np.ndarray, "..."] | None,
    *,
    threshold: float,
) -> Bool[np.ndarray, "..."]:
    predicted = binary_mask(mask, *truth.shape, threshold=threshold)
    return predicted if void is None else predicted & ~void


def _of_videos(*, edges: bool, counted: str) -> Protocol:
    return Protocol(
        "sequence",
        edges=edges,
        labels={"j": "J", "f": "F"},
        measure=score_frame,
        rules=(
            "J and F at {threshold} and at the size of the truth, all objects of a frame as one, "
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
    measure=score_still,
    rules=(
        "every image, at the size of its truth: IoU and F_beta (beta^2 = 0.3) at {threshold}, "
        "F_beta at twice the mask's own mean (adaptive), MAE of the soft mask (less is better); "
        "mean over images"
    ),
)
