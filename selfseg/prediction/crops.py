"""A frame segmented piece by piece, and mirrored: crops and shifts averaged."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from selfseg.contracts import FramePairs
from selfseg.data.reading.pairs import WHOLE_FRAME, Crop, Pair, on_grid, stacked
from selfseg.data.reading.tensors import to_batch

SIDE = 0.8
"""Side of a crop, as a share of the frame's."""

AUGMENTED = (
    WHOLE_FRAME,
    Crop(flip=True),
    *(Crop(top, left, SIDE) for top in (0.0, 1 - SIDE) for left in (0.0, 1 - SIDE)),
)
"""The whole frame, its mirror image, and its four corners."""


def averaged(
    pairs: Sequence[Pair],
    crops: Sequence[Crop],
    grid: tuple[int, int],
    segment: Callable[[FramePairs], Float[Tensor, "h w"]],
) -> Float32[np.ndarray, "h w"]:
    """Segment each crop of a frame at the full size of the grid; average where they overlap.

    Args:
        pairs: all of the same frame.
        crops: parts of the frame, which cover it together.
        grid: rows and columns that the model looks at, and of the result.
        segment: from a frame's pairs on the grid to its foreground probability.
    """
    total, times = np.zeros((2, *grid), np.float32)
    for crop in crops:
        mask = segment(to_batch(stacked([on_grid(pair, *grid, crop) for pair in pairs]))).numpy()
        window = crop.window(*grid)
        rows, columns = total[window].shape
        seen = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA)
        total[window] += seen[:, ::-1] if crop.flip else seen
        times[window] += 1
    return total / times
