"""The proposal method with networks of a few thousand weights, and scenes to show it."""

from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor

from selfseg.contracts import FramePairs
from selfseg.methods.proposal.config import ProposalConfig
from selfseg.methods.proposal.proposal import Proposal
from selfseg.methods.proposal.proposer import Drawn
from tests.unit.methods.test_dystab_dynamic import discs

SMALL = ProposalConfig.model_validate(
    {
        "inpainters": {"widths": (8, 16), "flow_widths": (8, 16)},
        "detector": {"architecture": "small", "weights": "none", "cells": 5, "jitter": 0.05},
        "autoencoder": {
            "architecture": "small",
            "weights": "none",
            "side": 32,
            "code": 16,
            "widths": (8, 8),
            "convolutions": 1,
        },
        "perceptual": {"network": "none"},
        "proposal_steps": 10,
        "exploration": 0.3,
    }
)
EVERYTHING = {"sizes", "offsets", "p", "S"}
"""Rows of D's head that make sizes, offsets and logits of p; and S, whole."""

ONLY_O = {"background_weight": 0, "probability_prior": 0, "mask_weight": 0}
NO_PRIORS = {"probability_prior": 0, "mask_weight": 0}


def scenes() -> FramePairs:
    """Return three discs, and a background of one colour for each."""
    frames = discs(3)
    grey = frames.image.mean((2, 3), keepdim=True).expand_as(frames.image)
    return replace(frames, background=grey)


def model_of(**changes: Any) -> Proposal:
    """Build it with a D that says different things of different cells."""
    torch.manual_seed(0)
    model = Proposal(SMALL.override(changes))
    head = model.proposer.detector.head
    head.weight.data.mul_(100)
    return model


def loss_of(model: Proposal, batch: FramePairs, step: int = 0) -> tuple[Tensor, dict[str, float]]:
    objective = model.objective("proposer", batch, step, Generator().manual_seed(1))
    return objective.loss, {name: term.item() for name, term in objective.terms.items()}


def alone(batch: FramePairs, number: int) -> FramePairs:
    """Return one image of a batch, as far as the method looks at it."""
    only = slice(number, number + 1)
    none = torch.zeros(1, 2, 48, 64)
    return FramePairs(
        batch.image[only], batch.flow[only], none, batch.camera[only], none, keys=("alone",)
    )


def drawn_by(model: Proposal, batch: FramePairs) -> Drawn:
    """Return what `loss_of` sees."""
    return model.proposer(batch.image, Generator().manual_seed(1), hold_boxes=False)


def moved(model: Proposal, batch: FramePairs, step: int = 0) -> set[str]:
    """Name what has a gradient; zeros, to the last bit, are none."""
    loss, _ = loss_of(model, batch, step)
    loss.backward()
    head = model.proposer.detector.head.weight.grad
    assert head is not None
    slopes = {"sizes": head[:2], "offsets": head[2:4], "p": head[4:]}
    learned = [p.grad for p in model.proposer.autoencoder.parameters() if p.grad is not None]
    slopes["S"] = torch.cat([torch.zeros(1), *(slope.flatten() for slope in learned)])
    assert all(slope.isfinite().all() for slope in slopes.values())
    return {name for name, slope in slopes.items() if slope.abs().max() > 0}
