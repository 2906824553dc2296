"""The nouns every room shares. Types only: nothing here computes."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

View = Literal["dynamic", "static", "fused"]
"""What a mask is seen by: motion, a single image, or both together."""


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
    truth: annotated masks of the first frames, 0 or 1; only a supervised method is given them
    background: each video's scene without what moves; only a method that wants it is given it
    """

    image: Float[Tensor, "b 3 h w"]
    flow: Float[Tensor, "b 2 h w"]
    flow_back: Float[Tensor, "b 2 h w"]
    camera: Float[Tensor, "b 2 h w"]
    camera_back: Float[Tensor, "b 2 h w"]
    keys: tuple[str, ...]
    truth: Float[Tensor, "b 1 h w"] | None = None
    background: Float[Tensor, "b 3 h w"] | None = None


@dataclass(frozen=True, slots=True)
class Objective:
    """What one player minimises on one batch.

    loss: the scalar to differentiate
    terms: its summands by name, detached, for the log
    """

    loss: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]


@dataclass(frozen=True, slots=True)
class Phase:
    """Consecutive steps with one purpose; learning rates run through their schedule once in each.

    start, stop: its first step, and the one after its last
    rate: share of the learning rate that holds in it
    completes: the round whose models are there at its end, which are kept; None: none
    """

    name: str
    start: int
    stop: int
    rate: float = 1.0
    completes: int | None = None


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects that a method found in one image, the most confident first.

    boxes: left, top, width, height; shares of the image's sides, may reach beyond it
    confidence: [0, 1]
    masks: each object's foreground probability, [0, 1], on the image's grid
    bumps: the control: what `masks` would be if nothing had been decoded inside the boxes
    cells: the grid's cell that each box belongs to
    centres: x, y of every cell's centre; shares of the image's sides
    probability: of every cell; sums to 1
    """

    boxes: Float[Tensor, "k 4"]
    confidence: Float[Tensor, " k"]
    masks: Float[Tensor, "k h w"]
    bumps: Float[Tensor, "k h w"]
    cells: Int64[Tensor, " k"]
    centres: Float[Tensor, "c 2"]
    probability: Float[Tensor, " c"]


@runtime_checkable
class Detector(Protocol):
    """What a method also is that finds objects one by one in a single image."""

    def detect(self, image: Float[Tensor, "3 h w"], *, objects: int = 1) -> Detections:
        """Find at most `objects`, maybe none; masks lie on the grid of `image`."""
        ...


class Method(Protocol):
    """A paper as the training loop sees it: players who take turns, each with an objective.

    An objective calls the mover's module through `players[name]`, once: the loop may have
    wrapped it to average gradients over workers. The others are frozen while it moves.
    """

    players: nn.ModuleDict

    views: tuple[View, ...]
    """What it can segment by, the best one for a video first."""

    phases: tuple[Phase, ...]
    """The whole run in order; empty: all of it is one phase."""

    supervised: bool
    """Whether it learns from annotated masks."""

    wants_motion: bool
    """Whether it learns from the motion in videos; stills will do for one that does not."""

    wants_background: bool
    """Whether it must be told each video's background, which a camera at rest makes known."""

    def initialise(self, fresh: Collection[str]) -> None:
        """Fetch the initial weights that the settings name for the players in `fresh`.

        Those of a fresh run are, unless they begin as they are in another run.

        Raises:
            UserError: they are out of reach, or not of this network.
        """
        ...

    def prepare(self, step: int) -> None:
        """Change what changes between two steps; `step` is the one to come, maybe once more."""
        ...

    def player_at(self, step: int) -> str:
        """Name the player who moves at `step`."""
        ...

    def objective(
        self, player: str, batch: FramePairs, step: int, generator: Generator
    ) -> Objective:
        """Score `batch` from the point of view of `player`; random draws come from `generator`."""
        ...

    def segment(self, frame: FramePairs, view: View) -> Float[Tensor, "h w"]:
        """Return one frame's foreground probability, [0, 1], given all its pairs.

        The static view looks at the first pair's image alone.
        """
        ...
