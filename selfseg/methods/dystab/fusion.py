"""One frame at test time: by phi, by chi, or phi's mask weighted with chi's (Sec. 5.5)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from selfseg.contracts import FramePairs, View
from selfseg.methods.dystab.dynamic import DynamicModel
from selfseg.methods.dystab.static import StaticModel

VIEWS: tuple[View, ...] = ("fused", "dynamic", "static")

Rule = Literal["product", "logits", "contrast"]

CERTAINTY = 0.98
"""Probabilities are clipped to [1 - CERTAINTY, CERTAINTY] before their logits are taken."""


@torch.no_grad()
def segment(
    dynamic: DynamicModel, static: StaticModel, frame: FramePairs, view: View, *, rule: Rule
) -> Float[Tensor, "h w"]:
    """Return one frame's foreground probability, [0, 1], given all its pairs."""
    if view == "dynamic":
        return dynamic.segment(frame, view)
    seen = static.masks(frame.image[:1])[0, 0]
    if view == "static":
        return seen
    moving = dynamic.segment(frame, "dynamic")
    share = static_share(dynamic, frame, moving) if rule == "contrast" else 0.5
    return fuse(moving, seen, share, rule=rule)


def static_share(
    dynamic: DynamicModel, frame: FramePairs, mask: Float[Tensor, "h w"]
) -> Float[Tensor, ""]:
    """Return chi's share where it is fused with phi's mask of a frame: (1 - contrast) / 2.

    At most 1 / 2, which it is where the motion does not speak for the mask. Where it does, chi may
    settle what phi doubts but not overrule it: of what it never learned, chi is sure that it is
    background.
    """
    masks = mask.expand(len(frame.flow), 1, -1, -1)
    return (1 - dynamic.contrast_of(frame, masks).clamp_min(0).mean()) / 2


def fuse(
    dynamic: Float[Tensor, "*shape"],
    static: Float[Tensor, "*shape"],
    share: Float[Tensor, ""] | float = 0.5,
    *,
    rule: Rule,
) -> Float[Tensor, "*shape"]:
    """Weight phi's mask of a frame with chi's.

    product: sqrt(phi * chi), foreground where both see it; the root keeps 0.5 in its place.
    logits, contrast: sigmoid of the mean of both logits, in which `share` is chi's, so that the
    surer one decides and doubt remains for a CRF to settle.
    """
    if rule == "product":
        return (dynamic * static).sqrt()
    moving, seen = (mask.clamp(1 - CERTAINTY, CERTAINTY).logit() for mask in (dynamic, static))
    return torch.lerp(moving, seen, share).sigmoid()
