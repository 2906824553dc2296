"""How noisy the gradient of a single draw is: its variance over its square, exactly."""

import math

import torch
from torch import Tensor

from selfseg.methods.proposal.grid import cell_centres
from selfseg.methods.proposal.sampling import exploring

SHARPNESS = (0.0, 3.0, 5.0, 7.0, 12.0)
"""Of p, from one that knows nothing to one that is all but sure: factor before the rewards."""

OBJECT_WIDTH = 0.25
"""Of the object that the rewards are of, share of the image's width."""


def relative_noise(
    probability: Tensor, law: Tensor, reward: Tensor, *, others: int | None
) -> float:
    """Return the estimate's variance over the square of the gradient, both in the logits of p.

    p(c) has slope p(c) (e_c - p) there. A draw of c estimates 1 / q(c) of it, times the reward.

    Args:
        probability: p.
        law: q.
        reward: of each cell.
        others: draws of images like this one whose mean is subtracted; None: nothing is.
    """
    mean = variance = 0.0
    if others is not None:
        mean = (law * reward).sum().item()
        variance = (law * (reward - mean).square()).sum().item() / others
    slope = probability.square() * (1 - 2 * probability + probability.square().sum())
    square = ((reward - mean).square() + variance) * slope / law
    exact = (probability * (reward - (probability * reward).sum())).square().sum()
    return (square.sum() / exact - 1).item()


def noises(cells: int, sharpness: float) -> tuple[float, list[float]]:
    """Return how much of p lies on the object, and the noise of all ways to draw from it."""
    centres = cell_centres(math.isqrt(cells), torch.device("cpu")).double()
    distance = (centres - torch.tensor([0.45, 0.6])).norm(dim=1) / (OBJECT_WIDTH / 2)
    reward = 1 + torch.exp(-distance.square())
    probability = (sharpness * reward).softmax(0)
    live = torch.ones(cells, dtype=torch.bool)
    laws = [exploring(probability.unsqueeze(0), live, share)[0] for share in (0.01, 1.0)]
    found = [
        relative_noise(probability, law, reward, others=others)
        for others in (None, 15)
        for law in laws
    ]
    return probability[distance < 1].sum().item(), found
