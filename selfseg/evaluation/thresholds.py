"""Above which probability a pixel is foreground: fixed, or chosen on videos that are not scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64

from selfseg.ops.masks import resize

FIXED = 0.5
"""Where there is nothing to choose on."""

GRID = tuple(step / 20 for step in range(1, 20))
"""What is chosen from: 0.05, 0.10, ... 0.95, as the proposal paper does."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Above which probability a pixel is foreground.

    mask: in a subject's masks
    control: in the control that stands beside a detector's masks
    chosen_on: names of the videos or images that they were chosen on; empty: they are fixed
    """

    mask: float = FIXED
    control: float = FIXED
    chosen_on: tuple[str, ...] = ()

    def stated(self, threshold: float) -> str:
        """Say what one of the two is, and why."""
        if not self.chosen_on:
            return f"threshold {threshold}"
        return (
            f"threshold {threshold:.2f} (the best by mean J on {', '.join(self.chosen_on)}; "
            "these are not scored)"
        )


def similarities(
    mask: Float[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "rows columns"],
    void: Bool[np.ndarray, "rows columns"] | None = None,
) -> Float64[np.ndarray, " thresholds"]:
    """Return J of a soft mask at each threshold of GRID, at the truth's size.

    Args:
        mask: soft, of any size.
        truth: at its own size; false where void.
        void: pixels that are background on both sides.
    """
    soft = resized(mask, *truth.shape)
    if void is not None:
        soft = np.where(void, 0, soft)
    # A pixel's level is the number of thresholds that it exceeds: one count answers for them all.
    levels = np.searchsorted(np.array(GRID, soft.dtype), soft)
    found, hits = _above(levels), _above(levels[truth])
    union = found + np.count_nonzero(truth) - hits
    return np.where(union, hits / np.maximum(union, 1), 1.0)


def best_threshold(videos: Sequence[Float64[np.ndarray, " thresholds"]]) -> float:
    """Return the threshold of GRID with the highest mean; of equal ones that nearest to 0.5.

    Args:
        videos: mean J at each threshold, of each video or image.
    """
    mean = np.mean(videos, axis=0)
    return max(zip(mean, GRID, strict=True), key=lambda pair: (pair[0], -abs(pair[1] - FIXED)))[1]


def resized(
    mask: Float[np.ndarray, "h w"], height: int, width: int
) -> Float[np.ndarray, "{height} {width}"]:
    """Bring a soft mask to `height` x `width`."""
    return resize(torch.from_numpy(mask), height, width).numpy()


def _above(levels: np.ndarray) -> np.ndarray:
    """Count the pixels above each threshold."""
    counts = np.bincount(levels.ravel(), minlength=len(GRID) + 1)
    return counts[::-1].cumsum()[::-1][1:]
