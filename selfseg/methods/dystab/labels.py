"""What a model is taught: another's masks, or its own, refined by the colours of their images."""

import torch
from jaxtyping import Float
from torch import Tensor

from selfseg.ops.crf import CrfSettings, refine_all
from selfseg.ops.masks import resize
from selfseg.ops.threshold import otsu

LABEL_CRF = CrfSettings(
    colour_reach_px=40.0, colour_weight=5.0, smooth_reach_px=5.0, smooth_weight=2.0, certainty=0.97
)
"""Of labels, which are coarser than a final mask."""

LOGIT_LIMIT = 6.0
"""Logits are clipped to +- this before they are split: a side may be surer than that by chance."""


def split(mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Shift each mask's logits so that 0 lies where Otsu splits them in two; no gradient passes.

    A model that was taught small objects doubts large ones: all of it is less than 0.5, yet more
    than the background. Where every image shows an object, that is enough to tell.

    Args:
        mask: probability of foreground, [0, 1].
    """
    logits = mask.detach().logit().clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    threshold = otsu(logits + LOGIT_LIMIT, clip_quantile=1.0) - LOGIT_LIMIT
    return (logits - threshold).sigmoid()


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
