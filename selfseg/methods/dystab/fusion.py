"""One frame at test time: by phi, by chi, or phi's mask weighted with chi's (Sec. 5.5)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from selfseg.contracts import FramePairs, View
from selfseg.methods.dystab.dynamic import DynamicModel
from selfseg.methods.dystab.static import StaticModel

VIEWS: tuple[View, ...] = ("fused", "dynamic", "static")

Rule = Literal["product", "logits"]

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
    return seen if view == "static" else fuse(dynamic.segment(frame, "dynamic"), seen, rule=rule)


def fuse(
    dynamic: Float[Tensor, "*shape"], static: Float[Tensor, "*shape"], *, rule: Rule
) -> Float[Tensor, "*shape"]:
    """Weight phi's mask of a frame with chi's.

    product: sqrt(phi * chi), foreground where both see it; the root keeps 0.5 in its place.
    logits: sigmoid of the mean of both logits, so that the surer one decides and doubt remains
    for a CRF to settle.
    """
    if rule == "product":
        return (dynamic * static).sqrt()
    both = torch.stack([dynamic, static]).clamp(1 - CERTAINTY, CERTAINTY)
    return both.logit().mean(0).sigmoid()
