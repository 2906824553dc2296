"""What the detector says, read as boxes with probabilities: D of Section 3."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from selfseg.methods.proposal.config import DetectorConfig


@dataclass(frozen=True, slots=True)
class Proposals:
    """One box and one probability for each cell of the grid, cells row by row.

    boxes: b_c; centre x, centre y, width, height; shares of the image's sides
    probability: p; rows sum to 1, 0 where a cell must not be drawn
    """

    boxes: Float[Tensor, "b c 4"]
    probability: Float[Tensor, "b c"]


def read_grid(raw: Float[Tensor, "b 5 rows columns"], config: DetectorConfig) -> Proposals:
    """Turn D's five numbers a cell into proposals.

    Args:
        raw: two sizes, two offsets and a logit, none of them bounded.
        config: how far they reach.
    """
    least, largest = config.box
    values = raw.flatten(2).transpose(1, 2).float()
    size = least + (largest - least) * torch.sigmoid(values[..., :2] + _first_size(config))
    reach = config.offset / config.cells
    centre = cell_centres(config.cells, raw.device) + reach * torch.tanh(values[..., 2:4])
    dead = ~live_cells(config, raw.device)
    probability = values[..., 4].masked_fill(dead, -math.inf).softmax(1)
    return Proposals(torch.cat([centre.clamp(0, 1), size], -1), probability)


def cell_centres(cells: int, device: torch.device) -> Float[Tensor, "c 2"]:
    """Return x, y of every cell's centre; shares of the image's sides."""
    along = (torch.arange(cells, device=device) + 0.5) / cells
    y, x = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


def live_cells(config: DetectorConfig, device: torch.device) -> Bool[Tensor, " c"]:
    """Tell which cells may be drawn."""
    live = torch.ones(config.cells, config.cells, dtype=torch.bool, device=device)
    if not config.outer_ring:
        live[[0, -1], :] = False
        live[:, [0, -1]] = False
    return live.flatten()


def chosen(boxes: Float[Tensor, "b c 4"], cells: Int64[Tensor, "b k"]) -> Float[Tensor, "n 4"]:
    """Return the boxes of k cells of each image, one below the other."""
    return boxes.gather(1, cells.unsqueeze(-1).expand(-1, -1, 4)).flatten(0, 1)


def _first_size(config: DetectorConfig) -> float:
    """Return what brings the sigmoid of 0 to `first_side`."""
    if config.first_side is None:
        return 0.0
    least, largest = config.box
    return math.log((config.first_side - least) / (largest - config.first_side))
