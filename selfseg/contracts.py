"""The nouns every room shares. Types only: nothing here computes."""

from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Generator, Tensor, nn


@dataclass(frozen=True, slots=True)
class FramePairs:
    """A batch of frames, each with the motion to a second frame of its video.

    Everything lies on one pixel grid, (h, w). Flow is (x, y), in pixels of that grid.

    image: the first frame; RGB, [0, 1]
    flow: from the first frame to the second, on the first frame's grid
    flow_back: from the second frame to the first, on the second frame's grid
    camera: the part of `flow` that a model of the camera's motion explains
    camera_back: the same for `flow_back`
    keys: the first frames' sample keys
    """

    image: Float[Tensor, "b 3 h w"]
    flow: Float[Tensor, "b 2 h w"]
    flow_back: Float[Tensor, "b 2 h w"]
    camera: Float[Tensor, "b 2 h w"]
    camera_back: Float[Tensor, "b 2 h w"]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Objective:
    """What one player minimises on one batch.

    loss: the scalar to differentiate
    terms: its summands by name, detached, for the log
    """

    loss: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


class Method(Protocol):
    """A paper as the training loop sees it: players who take turns, each with an objective.

    An objective calls the mover's module through `players[name]`, once: the loop may have
    wrapped it to average gradients over workers. The others are frozen while it moves.
    """

    players: nn.ModuleDict
    needs_motion: bool

    def player_at(self, step: int) -> str:
        """Name the player who moves at `step`."""
        ...

    def objective(
        self, player: str, batch: FramePairs, step: int, generator: Generator
    ) -> Objective:
        """Score `batch` from the point of view of `player`; random draws come from `generator`."""
        ...

    def segment(self, batch: FramePairs) -> Float[Tensor, "b 1 h w"]:
        """Return foreground probability, [0, 1]."""
        ...
