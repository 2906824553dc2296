"""Fitting a smooth motion to a part of a flow, so that a gradient reaches the part."""

import torch
from jaxtyping import Float
from torch import Tensor

RIDGE = 0.03
"""Strength of the pull towards no motion, against the mean weight of a pixel."""

CONSTANT_RIDGE = 0.05
"""The constant's share of the pull: a part that moves as one is believed early."""


def extrapolate_affine(
    flow: Float[Tensor, "b 2 h w"], weight: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, "b 2 h w"]:
    """Return everywhere the affine motion that explains `flow` best where `weight` is.

        A = argmin_A  mean(weight |flow - A (1, x, y)|^2) + RIDGE |A diag(sqrt(0.05), 1, 1)|^2

    with the shorter axis in [-1, 1], the longer in proportion. A closed form: nothing is learned,
    and gradients reach both arguments through the solve. No weight at all returns zeros; a part
    of few pixels is believed less than a large one.

    Args:
        flow: displacement, any unit.
        weight: how much each pixel counts, [0, 1].
    """
    basis = _affine_basis(flow)
    pixels = basis.shape[0]
    shares = weight.flatten(2).transpose(1, 2) / pixels
    weighted = basis * shares
    penalty = torch.tensor([CONSTANT_RIDGE, 1.0, 1.0], dtype=flow.dtype, device=flow.device)
    normal = weighted.transpose(1, 2) @ basis + RIDGE * torch.diag(penalty)
    moments = weighted.transpose(1, 2) @ flow.flatten(2).transpose(1, 2)
    coefficients = torch.linalg.solve(normal, moments)
    return (basis @ coefficients).transpose(1, 2).reshape_as(flow)


def _affine_basis(flow: Tensor) -> Tensor:
    """Return (1, x, y) at every pixel, pixels x 3."""
    height, width = flow.shape[-2:]
    half = min(height, width) / 2
    options = {"dtype": flow.dtype, "device": flow.device}
    y, x = torch.meshgrid(
        (torch.arange(height, **options) - (height - 1) / 2) / half,
        (torch.arange(width, **options) - (width - 1) / 2) / half,
        indexing="ij",
    )
    return torch.stack([torch.ones_like(x), x, y], -1).reshape(-1, 3)
