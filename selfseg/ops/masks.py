"""What one may do to a mask without knowing the truth."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

BORDER_PX = 2
"""Width of the frame around the image that tells background from foreground."""

BORDER_SHARE = 0.6
"""A mask that covers this much of the border is taken for the background."""


def foreground_side(mask: Float[Tensor, "*batch h w"]) -> Float[Tensor, "*batch h w"]:
    """Invert the masks that cover most of the image's border: 1 - mask, without ground truth.

    Motion splits an image in two but does not say which side is the object; objects rarely cover
    60 % of a 2-pixel border, backgrounds nearly always do. The rule is DyStaB's.

    Args:
        mask: soft membership, [0, 1]; a pixel is covered above 0.5.

    Returns:
        Soft membership of the foreground, [0, 1]. Differentiable in the values, not in the choice.
    """
    border = torch.ones(mask.shape[-2:], dtype=torch.bool, device=mask.device)
    border[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = False
    covered = (mask[..., border] > 0.5).double().mean(-1)[..., None, None]
    return torch.where(covered >= BORDER_SHARE, 1 - mask, mask)


def resize(mask: Float[Tensor, "*batch h w"], height: int, width: int) -> Float[Tensor, "..."]:
    """Resize soft masks bilinearly, pixel areas aligned, averaging where they shrink."""
    flat = mask.reshape(-1, 1, *mask.shape[-2:])
    shrinks = height < mask.shape[-2] or width < mask.shape[-1]
    resized = functional.interpolate(flat, (height, width), mode="bilinear", antialias=shrinks)
    return resized.reshape(*mask.shape[:-2], height, width)


def bounding_box(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int] | None:
    """Return the smallest box around a mask as (left, top, width, height), px; None if empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1
