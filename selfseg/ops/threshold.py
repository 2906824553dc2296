"""Thresholds that an image sets for itself."""

import torch
from jaxtyping import Float
from torch import Tensor

BINS = 256


def otsu(
    values: Float[Tensor, "b 1 h w"], *, clip_quantile: float = 0.995
) -> Float[Tensor, "b 1 1 1"]:
    """Return each image's threshold that leaves the least variance within its two sides.

    Otsu, 1979, on a histogram of 256 bins from 0 to the `clip_quantile` of the values; larger
    values count in the last bin. Never below 1e-6. No gradient.

    Args:
        values: not negative.
        clip_quantile: where the histogram ends, so that a few wild values cannot stretch it.
    """
    flat = values.detach().flatten(1)
    top = torch.quantile(flat, clip_quantile, dim=1, keepdim=True).clamp_min(1e-6)
    bins = (flat / top * (BINS - 1)).clamp(0, BINS - 1).long()
    counts = torch.zeros(len(flat), BINS, dtype=flat.dtype, device=flat.device)
    counts.scatter_add_(1, bins, torch.ones_like(flat))
    levels = torch.arange(BINS, dtype=flat.dtype, device=flat.device)

    below = counts.cumsum(1)
    above = below[:, -1:] - below
    sum_below = (counts * levels).cumsum(1)
    sum_above = sum_below[:, -1:] - sum_below
    means_apart = sum_above / above.clamp_min(1) - sum_below / below.clamp_min(1)
    between = below * above * means_apart.square()
    # The threshold lies on the upper edge of the last bin below it.
    edge = (between.argmax(1, keepdim=True) + 1) / (BINS - 1) * top
    return edge.clamp_min(1e-6)[:, :, None, None]
