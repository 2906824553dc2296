"""I and I_f: what is behind a hole, guessed from around it; Section 3.4, "Inpainting network".

Trained from scratch on the very videos: what moves is not foreseen by its surroundings, and that
is the point.
"""

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional

from selfseg.contracts import FramePairs, Objective, Phase, View
from selfseg.errors import UserError
from selfseg.methods.proposal.config import InpaintersConfig
from selfseg.methods.proposal.objective import COLOUR_MEAN, COLOUR_UNIT, hole_error
from selfseg.nets.image_inpainter import ImageInpainter
from selfseg.ops.boxes import covered

IMAGE, FLOW = "image_inpainter", "flow_inpainter"


class Inpainters:
    """Two players, `image_inpainter` (I) and, where flow is looked at, `flow_inpainter` (I_f)."""

    views: tuple[View, ...] = ()
    phases: tuple[Phase, ...] = ()
    supervised = False
    wants_background = False

    def __init__(self, config: InpaintersConfig) -> None:
        self.config = config
        self.wants_motion = config.flow_widths is not None
        self.players = nn.ModuleDict({IMAGE: _network(3, config.widths)})
        if config.flow_widths is not None:
            channels = 3 if config.flow_picture == "colour" else 2
            self.players[FLOW] = _network(channels, config.flow_widths)

    def initialise(self, fresh: Collection[str]) -> None:
        """Keep the random weights: the paper trains both from scratch."""

    def prepare(self, step: int) -> None:
        """Change nothing between two steps."""

    def player_at(self, step: int) -> str:
        """Let I move `flow_turns` times, then I_f once."""
        turns = self.config.flow_turns
        return FLOW if FLOW in self.players and step % (turns + 1) == turns else IMAGE

    def objective(
        self, player: str, batch: FramePairs, step: int, generator: Generator
    ) -> Objective:
        """Fill a box at a random place, of random sides: mean squared error within it."""
        del step
        truth = self.colours(batch) if player == IMAGE else self.flow(batch)
        boxes = random_boxes(len(truth), self.config.hole, generator)
        guess, truth, hole = self.fill(player, truth, boxes)
        error = hole_error(guess, truth, hole).mean()
        return Objective(error, {"error": error.detach()})

    def segment(self, frame: FramePairs, view: View) -> Float[Tensor, "h w"]:
        """Refuse: they outline nothing."""
        raise UserError(
            "inpainters alone outline nothing: train the recipe proposal with "
            "--set start.image_inpainter=RUN"
        )

    def colours(self, batch: FramePairs) -> Float[Tensor, "b 3 h w"]:
        """Return the images as I sees them, in which a hole is grey."""
        return as_seen(batch.image)

    def flow(self, batch: FramePairs) -> Float[Tensor, "b c h w"]:
        """Return the flow that is not the camera's, as I_f sees it."""
        unit = self.config.flow_unit * batch.flow.shape[-1]
        residual = (batch.flow - batch.camera) / unit
        if self.config.flow_picture == "vector":
            return residual.tanh()
        return flow_colours(residual)

    def fill(
        self, player: str, truth: Float[Tensor, "n c h w"], boxes: Float[Tensor, "n 4"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Let a player guess what boxes hide.

        Returns:
            The guess, the truth and the hole, all on the player's own grid.
        """
        stride = self.config.stride
        hole = covered(boxes, *truth.shape[-2:])
        if stride > 1:
            truth = functional.avg_pool2d(truth, stride)
            hole = functional.max_pool2d(hole, stride)
        laid_out = truth.contiguous(memory_format=torch.channels_last)
        return self.players[player](laid_out, hole).float(), truth, hole


def as_seen(image: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Bring colours, [0, 1], to zero mean and unit deviation."""
    return (image - COLOUR_MEAN) / COLOUR_UNIT


def as_colours(seen: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Bring what I says back to colours; nothing bounds them."""
    return seen * COLOUR_UNIT + COLOUR_MEAN


def random_boxes(
    count: int, sides: tuple[float, float], generator: Generator
) -> Float[Tensor, "{count} 4"]:
    """Draw boxes whose centres, anywhere in the image, and sides are uniform."""
    drawn = torch.rand(count, 4, generator=generator, device=generator.device)
    least, largest = sides
    return torch.cat([drawn[:, :2], least + (largest - least) * drawn[:, 2:]], 1)


def flow_colours(flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 3 h w"]:
    """Show direction as hue and speed as saturation; rest is white.

    Args:
        flow: (x, y); 1 is fast: 76 % saturated.
    """
    speed = flow.norm(dim=1, keepdim=True).tanh()
    sixths = torch.atan2(flow[:, 1:], flow[:, :1]) * (3 / torch.pi)
    peaks = torch.tensor([0.0, 2.0, 4.0], device=flow.device).view(1, 3, 1, 1)
    distance = (sixths - peaks + 3).remainder(6) - 3
    hue = (2 - distance.abs()).clamp(0, 1)
    return 1 - speed * (1 - hue)


def _network(channels: int, widths: tuple[int, ...]) -> nn.Module:
    return ImageInpainter(channels, widths=widths).to(memory_format=torch.channels_last)
