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

COARSE_GRID = GRID[1::2]
"""The same for masks that a CRF refines, once for each: 0.1, 0.2, ... 0.9."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Above which probability a pixel is foreground.

    mask: in a subject's masks
    control: in the control that stands beside a detector's masks
    chosen_on: names of the videos or images that they were chosen on; empty: they are fixed
    before_crf: a CRF was told that a pixel at the threshold is as likely foreground as not; of what
        it returns, 0.5 decides
    on_itself: what they were chosen on is what is scored
    """

    mask: float = FIXED
    control: float = FIXED
    chosen_on: tuple[str, ...] = ()
    before_crf: bool = False
    on_itself: bool = False

    def deciding(self, threshold: float) -> float:
        """Return what one of the two comes to once all refinement is done."""
        return FIXED if self.before_crf else threshold

    def stated(self, threshold: float) -> str:
        """Say what one of the two is, and why."""
        if not self.chosen_on:
            return f"threshold {threshold}"
        when = ", before the CRF" if self.before_crf else ""
        scored = (
            "are scored here: good to choose by, no result" if self.on_itself else "are not scored"
        )
        return (
            f"threshold {threshold:.2f}{when} (the best by mean J on {', '.join(self.chosen_on)}; "
            f"these {scored})"
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


def with_even_odds(
    mask: Float[np.ndarray, "*size"], threshold: float
) -> Float[np.ndarray, "*size"]:
    """Move a soft mask's logits so that `threshold` becomes 0.5; 0 and 1 stay where they are."""
    odds = threshold / (1 - threshold)
    return mask / (mask + odds * (1 - mask))


def best_threshold(
    videos: Sequence[Float64[np.ndarray, " thresholds"]], grid: Sequence[float] = GRID
) -> float:
    """Return the threshold with the highest mean; of equal ones that nearest to 0.5.

    Args:
        videos: mean J at each threshold of `grid`, of each video or image.
        grid: what is chosen from.
    """
    mean = np.mean(videos, axis=0)
    return max(zip(mean, grid, strict=True), key=lambda pair: (pair[0], -abs(pair[1] - FIXED)))[1]


def resized(
    mask: Float[np.ndarray, "h w"], height: int, width: int
) -> Float[np.ndarray, "{height} {width}"]:
    """Bring a soft mask to `height` x `width`."""
    return resize(torch.from_numpy(mask), height, width).numpy()


def _above(levels: np.ndarray) -> np.ndarray:
    """Count the pixels above each threshold."""
    counts = np.bincount(levels.ravel(), minlength=len(GRID) + 1)
    return counts[::-1].cumsum()[::-1][1:]
