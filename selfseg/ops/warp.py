"""Carrying images and masks along a flow, and knowing where that is honest."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


def sample_along(
    values: Float[Tensor, "b c h w"], flow: Float[Tensor, "b 2 h w"]
) -> Float[Tensor, "b c h w"]:
    """Return `values` at x + flow(x), bilinear; beyond the edge the edge's value goes on.

    Zero flow returns `values`. Gradients reach both arguments.

    Args:
        values: anything on the grid that `flow` points into.
        flow: displacement (x, y) in pixels.
    """
    height, width = flow.shape[-2:]
    there = _targets(flow)
    size = torch.tensor([width, height], dtype=flow.dtype, device=flow.device)
    grid = (2 * there + 1) / size - 1
    return functional.grid_sample(values, grid, padding_mode="border", align_corners=False)


def covisible(
    flow: Float[Tensor, "b 2 h w"], flow_back: Float[Tensor, "b 2 h w"]
) -> Bool[Tensor, "b 1 h w"]:
    """Tell which pixels are seen in both frames: there and back again leads home.

    A pixel is occluded where |w12 + w21|^2 > 0.01 (|w12|^2 + |w21|^2) + 0.5, with w21 sampled at
    x + w12(x) (Sundaram, Brox and Keutzer, 2010), or where the flow leaves the image.

    Args:
        flow: to the other frame, pixels.
        flow_back: from the other frame, on its grid, pixels.
    """
    height, width = flow.shape[-2:]
    back = sample_along(flow_back, flow)
    gap = (flow + back).square().sum(1, keepdim=True)
    size = flow.square().sum(1, keepdim=True) + back.square().sum(1, keepdim=True)
    x, y = _targets(flow).unsqueeze(1).unbind(-1)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return inside & (gap <= 0.01 * size + 0.5)


def _targets(flow: Tensor) -> Tensor:
    """Return where each pixel goes, (x, y), as b h w 2."""
    height, width = flow.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=flow.dtype, device=flow.device),
        torch.arange(width, dtype=flow.dtype, device=flow.device),
        indexing="ij",
    )
    return torch.stack([x, y], -1) + flow.movedim(1, -1)
