"""Monte Carlo over the grid's cells: Section 3.3, Eq. 5 and 6.

    E_{c ~ p}[L(c)]  =  E_{c ~ q}[p(c) / q(c) * L(c)]

What stands before L is its `weight`: gradients reach p through it, and none passes through q.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor

from selfseg.methods.proposal.config import ProposalConfig


@dataclass(frozen=True, slots=True)
class Draw:
    """The cells at which the expectation is evaluated.

    cells: of each image
    weight: of each cell's cost in the estimate of the image's expected cost, differentiable in p
    """

    cells: Int64[Tensor, "b k"]
    weight: Float[Tensor, "b k"]


def draw_cells(
    probability: Float[Tensor, "b c"],
    live: Bool[Tensor, " c"],
    config: ProposalConfig,
    generator: Generator,
) -> Draw:
    """Choose cells as the settings say: one for each image, or all that are live."""
    match config.sampling:
        case "all":
            cells = live.nonzero().T.expand(len(probability), -1)
            return Draw(cells, probability.gather(1, cells))
        case "gumbel":
            return gumbel_draw(probability, config.temperature, generator)
        case "uniform":
            return importance_draw(probability, exploring(probability, live, 1.0), generator)
        case "importance":
            law = exploring(probability, live, config.exploration)
            return importance_draw(probability, law, generator)


def exploring(
    probability: Float[Tensor, "b c"], live: Bool[Tensor, " c"], share: float
) -> Float[Tensor, "b c"]:
    """Return q of Eq. 6: p(c) (1 - C epsilon) + epsilon, for the C cells that are live.

    Args:
        probability: p; rows sum to 1.
        live: cells that may be drawn.
        share: C epsilon; 1 makes the draw uniform.
    """
    uniform = live.to(probability.dtype) / live.sum()
    return probability.detach() * (1 - share) + uniform * share


def importance_draw(
    probability: Float[Tensor, "b c"], law: Float[Tensor, "b c"], generator: Generator
) -> Draw:
    """Draw one cell of each image from q; its weight is p(c) / q(c), Eq. 5."""
    cells = torch.multinomial(law, 1, generator=generator)
    return Draw(cells, probability.gather(1, cells) / law.detach().gather(1, cells))


def gumbel_draw(
    probability: Float[Tensor, "b c"], temperature: float, generator: Generator
) -> Draw:
    """Draw one cell of each image from p by Gumbel noise, with a softmax's gradient.

    The weight is 1; its gradient is that of softmax((log p + noise) / temperature), which is
    biased. The reparametrisation is that of Jang et al., 2017.
    """
    shape, dtype, device = probability.shape, probability.dtype, probability.device
    uniform = torch.rand(shape, generator=generator, dtype=dtype, device=device)
    tiny = torch.finfo(dtype).tiny
    noise = -(-uniform.clamp_min(tiny).log()).clamp_min(tiny).log()
    scores = (probability.clamp_min(tiny).log() + noise) / temperature
    cells = scores.argmax(1, keepdim=True)
    soft = scores.softmax(1).gather(1, cells)
    return Draw(cells, 1 + soft - soft.detach())
