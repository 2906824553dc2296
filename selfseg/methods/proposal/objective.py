"""Eq. 1, 2, 4 and 7: what an image costs at a proposal, and what a proposal earns.

Colours are measured in units of ImageNet's deviation, as the networks see them.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

COLOUR_MEAN, COLOUR_UNIT = 0.45, 0.225
"""Mean and deviation of ImageNet's colours, over its channels; colours lie in [0, 1]."""

LEAST_DEVIATION = 1e-6

Image = Float[Tensor, "n 3 h w"]
Mask = Float[Tensor, "n 1 h w"]


def composite(foreground: Image, mask: Mask, background: Image) -> Image:
    """F, Eq. 1: the pasted foreground over the background."""
    return mask * foreground + (1 - mask) * background


def pixel_distance(image: Image, other: Image) -> Float[Tensor, " n"]:
    """Return the mean squared difference of colours, in squares of `COLOUR_UNIT`."""
    return ((image - other) / COLOUR_UNIT).square().flatten(1).mean(1)


def perceptual_distance(
    features: Sequence[Float[Tensor, "n _ _ _"]], wanted: Sequence[Float[Tensor, "n _ _ _"]]
) -> Float[Tensor, " n"]:
    """Return the mean squared difference of features, averaged over the taps.

    Args:
        features: of the image that was made, one entry a tap.
        wanted: of the image itself; each tap's mean square over the batch is the unit, so that
            networks whose features are larger do not weigh more.
    """
    each = [
        (a - b).square().flatten(1).mean(1) / b.square().mean().clamp_min(LEAST_DEVIATION)
        for a, b in zip(features, wanted, strict=True)
    ]
    return torch.stack(each).mean(0)


def hole_error(
    guess: Float[Tensor, "n c h w"],
    truth: Float[Tensor, "n c h w"],
    hole: Mask,
    *,
    by_area: bool = True,
) -> Float[Tensor, " n"]:
    """Return how wrong a guess is within the hole: L(I(I, b), I) / a(b) of Eq. 4.

    Args:
        guess: what the inpainter says.
        truth: what the hole hides.
        hole: membership, [0, 1].
        by_area: divide by the hole's area; otherwise by the image's, so that large holes earn more.
    """
    error = (guess - truth).square().mean(1, keepdim=True)
    area = hole.sum((1, 2, 3)).clamp_min(1) if by_area else hole[0].numel()
    return (error * hole).sum((1, 2, 3)) / area


def extent(membership: Mask, error: Mask, *, share: float) -> Float[Tensor, " n"]:
    """Return how much more than `share` of what nobody can explain lies in a region, per area.

    It grows where it meets more than that, and shrinks where it meets less; at the optimum it is
    the object's own. Ours; in the paper nothing but O knows where an object ends.

    Args:
        membership: in the region, a box or a mask; it alone gets a gradient.
        error: of an inpainter whose hole is larger than the region, squared, in any unit.
        share: 0.5 is what a pixel holds whose error is the region's mean, 1 what is far above it.
    """
    inside, error = membership.detach(), error.detach()
    area = inside.sum((1, 2, 3), keepdim=True).clamp_min(1)
    usual = (inside * error).sum((1, 2, 3), keepdim=True) / area
    held = error / (error + usual).clamp_min(LEAST_DEVIATION)
    return (membership * (held - share) / area).sum((1, 2, 3))


def advantage(reward: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Measure each reward against the batch's others: how many of their deviations above the mean.

    A reward's own draw moves neither their mean nor their deviation, so that the expected gradient
    of each image points where Eq. 5 says. Its length is another: the mean of 1 / deviation, which
    may differ between images. Fewer than three rewards are returned as they are.
    """
    others = len(reward) - 1
    if others < 2:
        return reward
    # Differences are the same without the mean of all, and their squares exact.
    reward = reward - reward.mean()
    mean = (reward.sum() - reward) / others
    square = (reward.square().sum() - reward.square()) / others
    deviation = (square - mean.square()).clamp_min(LEAST_DEVIATION**2).sqrt()
    return (reward - mean) / deviation


def mask_prior(
    mask: Mask, kind: Literal["none", "l1", "l2", "v"], favoured: float
) -> Float[Tensor, " n"]:
    """Return what a pasted mask costs by itself: Table 3's priors.

    Args:
        mask: T^-1(S), [0, 1].
        kind: v is L_v of Eq. 7, |mean - lambda| + lambda; l1 and l2 are means of S and of S^2.
        favoured: lambda, a share of the image.
    """
    values = mask.flatten(1)
    match kind:
        case "none":
            return values.new_zeros(len(mask))
        case "l1":
            return values.mean(1)
        case "l2":
            return values.square().mean(1)
        case "v":
            return (values.mean(1) - favoured).abs() + favoured


def box_prior(
    boxes: Float[Tensor, "n 4"], *, size: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return how far the batch's mean side is from `size`, and its mean centre from the middle.

    Squared, in squares of the image's side. In the authors' code; the paper is silent.
    """
    side = (boxes[:, 2] * boxes[:, 3]).sqrt().mean()
    centre = boxes[:, :2].mean(0)
    return (side - size).square(), (centre - 0.5).square().sum()
