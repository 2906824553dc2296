"""What a model is taught: another's masks, or its own, refined by the colours of their images."""

import torch
from jaxtyping import Float
from torch import Tensor

from selfseg.ops.crf import CrfSettings, refine_all
from selfseg.ops.masks import resize

LABEL_CRF = CrfSettings(colour_weight=5.0, smooth_reach_px=5.0, smooth_weight=2.0)
"""Milder than for a final mask, so that labels stay soft."""


@torch.no_grad()
def refined(
    image: Float[Tensor, "b 3 h w"], mask: Float[Tensor, "b 1 h w"], *, stride: int
) -> Float[Tensor, "b 1 h w"]:
    """Refine masks by a dense CRF; no gradient passes.

    Args:
        image: RGB, [0, 1].
        mask: probability of foreground, [0, 1].
        stride: pixels, along each side, to one of the grid they are refined on.
    """
    size = (image.shape[-2] // stride, image.shape[-1] // stride)
    small = resize(image, *size)
    return resize(
        refine_all(small, resize(mask, *size), LABEL_CRF.at_rows(size[0])), *image.shape[-2:]
    )
