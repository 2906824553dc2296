"""From a box's content to its foreground and mask on the whole image: S, T and T^-1 of Eq. 1."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from selfseg.methods.proposal.config import AutoencoderConfig
from selfseg.methods.proposal.objective import COLOUR_MEAN
from selfseg.ops.boxes import crop, paste

LEAST_MASK = 1e-4
"""No pixel of a mask is less, so that dividing by its largest is safe."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What S makes of a box.

    crop: the box's content, as S is to show it
    shown: S's foreground in the crop
    outlined: S's mask in the crop, [0, 1]; its largest pixel is 1
    foreground: the same on the whole image; beyond the box its outermost pixels
    mask: T^-1(S), [0, 1], 0 beyond the box; its largest pixel is 1
    """

    crop: Float[Tensor, "n 3 s s"]
    shown: Float[Tensor, "n 3 s s"]
    outlined: Float[Tensor, "n 1 s s"]
    foreground: Float[Tensor, "n 3 h w"]
    mask: Float[Tensor, "n 1 h w"]


def decode(
    autoencoder: nn.Module,
    image: Float[Tensor, "n 3 h w"],
    boxes: Float[Tensor, "n 4"],
    config: AutoencoderConfig,
) -> Decoded:
    """Look into boxes, one for each image; differentiable in the boxes."""
    side = config.side
    content = crop(image, boxes, side, side)
    weight = focal_bump(side, image.device) if config.focal else content.new_ones(1, 1, side, side)
    # Grey where the bump is 0, and nothing of the image.
    shown, logit = autoencoder(COLOUR_MEAN + weight * (content - COLOUR_MEAN))
    mask = LEAST_MASK + (1 - LEAST_MASK) * logit.float().sigmoid()
    outlined = _brightest_is_one(mask * weight)
    height, width = image.shape[-2:]
    return Decoded(
        content,
        shown.float(),
        outlined,
        paste(shown.float(), boxes, height, width, beyond="border"),
        _pasted(outlined, boxes, height, width),
    )


def bumps(
    boxes: Float[Tensor, "n 4"], config: AutoencoderConfig, height: int, width: int
) -> Float[Tensor, "n 1 {height} {width}"]:
    """Return the masks that boxes have if S tells nothing: the bump alone."""
    bump = focal_bump(config.side, boxes.device).expand(len(boxes), -1, -1, -1)
    return _pasted(_brightest_is_one(bump), boxes, height, width)


def focal_bump(side: int, device: torch.device) -> Float[Tensor, "1 1 {side} {side}"]:
    """Return the weight of a crop's pixels, 1 in the middle, 0 at the edges.

    exp(1 - 1 / (1 - r)) with r = sqrt(x^4 + y^4), x and y in [-1, 1]; 0 where r >= 1. The focal
    spatial transformer's of Katircioglu et al.
    """
    along = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
    radius = (along.view(1, -1) ** 4 + along.view(-1, 1) ** 4).sqrt()
    inside = radius < 1
    safe = torch.where(inside, radius, torch.zeros_like(radius))
    bump = torch.where(inside, torch.exp(1 - 1 / (1 - safe)), torch.zeros_like(radius))
    return bump.view(1, 1, side, side)


def _pasted(mask: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    return _brightest_is_one(paste(mask, boxes, height, width))


def _brightest_is_one(mask: Tensor) -> Tensor:
    return mask / mask.amax((1, 2, 3), keepdim=True).clamp_min(LEAST_MASK)
