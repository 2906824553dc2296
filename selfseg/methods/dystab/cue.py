"""What flow alone says without learning: a normalised view of it, and a classical soft mask."""

import torch
from jaxtyping import Float
from torch import Tensor

from selfseg.ops.threshold import otsu

MOTION_FLOOR = 0.001
"""Motion that counts as noise, as a share of the frame's width."""

STEEPNESS = 4.0
"""Slope of the soft threshold: magnitude 0 gives sigmoid(-4) = 0.02, twice the threshold 0.98."""

FIXED_UNIT = 80 / 854
"""The predecessor's unit of flow, 80 pixels at DAVIS's width, as a share of the width."""

STANDARD_FLOOR = 1e-3
"""Added to a spread of flow before dividing by it; pixels."""


def in_fixed_unit(flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
    """Return flow in units of 80 pixels of a frame 854 wide."""
    return flow / (FIXED_UNIT * flow.shape[-1])


def in_own_unit(flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
    """Return flow in units of its own 95th percentile, plus a floor for frames at rest."""
    high = torch.quantile(magnitude(flow).flatten(1), 0.95, dim=1)
    return flow / (high + MOTION_FLOOR * flow.shape[-1])[:, None, None, None]


def in_threshold_unit(flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
    """Return flow in units of twice its Otsu threshold, plus a floor for frames at rest.

    The threshold depends on the whole frame, more than a convolution can see: here it lies at 0.5.
    """
    threshold = otsu(magnitude(flow)) + MOTION_FLOOR / 2 * flow.shape[-1]
    return flow / (2 * threshold)


def standardised(flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 2 h w"]:
    """Return flow with zero mean and unit spread in each direction of each sample."""
    mean = flow.mean((2, 3), keepdim=True)
    return (flow - mean) / (flow.std((2, 3), keepdim=True) + STANDARD_FLOOR)


def magnitude(flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Return each vector's length."""
    return flow.norm(dim=1, keepdim=True)


def moving(
    flow: Float[Tensor, "b 2 h w"], camera: Float[Tensor, "b 2 h w"]
) -> Float[Tensor, "b 1 h w"]:
    """Softly mark what moves against the camera: magnitude against its own Otsu threshold.

        sigmoid(4 (|flow - camera| / threshold - 1)),   0.5 at the threshold

    This is the classical cue that a trained phi has to beat. No labels, no learning.
    """
    residual = magnitude(flow - camera)
    return torch.sigmoid(STEEPNESS * (residual / otsu(residual) - 1))
