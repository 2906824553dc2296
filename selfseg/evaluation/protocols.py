"""Which frames of a sequence a benchmark counts, and how a soft mask meets the truth; NumPy.

DAVIS 2016's protocol, used for collections with masks as well: the first and the last frame of a
sequence are left out, J and F are taken frame by frame at the truth's own size, empty against empty
scores 1, and a sequence's score is the mean over its frames. The threshold is fixed: no truth
chooses a mask, a threshold or a side.
"""

import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from selfseg.evaluation.metrics import contour_accuracy, region_similarity
from selfseg.ops.masks import resize

THRESHOLD = 0.5
"""A pixel is foreground above this probability."""


def counted_frames(num_frames: int) -> range:
    """Return the frames that count: all but the first and the last; none below three frames."""
    return range(1, num_frames - 1)


def binary_mask(mask: Float[ndarray, "h w"], height: int, width: int) -> Bool[ndarray, "..."]:
    """Bring a soft mask to `height` x `width` and threshold it there."""
    return resize(torch.from_numpy(mask), height, width).numpy() > THRESHOLD


def score_frame(mask: Float[ndarray, "h w"], truth: Bool[ndarray, "..."]) -> tuple[float, float]:
    """Return (J, F) of a soft mask of any size against the truth at its own size."""
    height, width = truth.shape
    predicted = binary_mask(mask, height, width)
    return region_similarity(predicted, truth), contour_accuracy(predicted, truth)
