"""How a collection's samples were made; they are read back, and made alike, by these."""

from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from selfseg.config import Config


class DisSettings(Config):
    """Dense inverse search; see `selfseg.ops.optical_flow`."""

    finest_scale: NonNegativeInt = 1
    """Pyramid level that the search ends on; 0 is the full resolution."""

    variational_iterations: NonNegativeInt = 5
    """Rounds of smoothing at each level."""

    descent_iterations: PositiveInt = 16
    """Gradient steps for each patch."""


class IngestSettings(Config):
    """How a video becomes samples; a checkpoint keeps them, to prepare new videos alike."""

    height: Annotated[int, Field(ge=16)] = 240
    """Height of stored frames, pixels; the width keeps the aspect and is even."""

    gaps: Annotated[tuple[PositiveInt, ...], MinLen(1)] = (1, 2, 3)
    """Frames between the two ends of a flow; kept in rising order."""

    flow: Literal["dis", "raft_small", "raft_large", "none"] = "dis"
    """How motion is measured: dense inverse search; RAFT, a network, small or large, which wants a
    GPU; or not at all."""

    dis: DisSettings = DisSettings()
    """How dense inverse search goes about it."""

    flow_weights: str = "torchvision"
    """What RAFT learned: "torchvision" (downloaded), or the path or s3:// URL of a state dict."""

    matching_scale: PositiveFloat = 2.0
    """Height at which motion is measured, in units of `height`; at most the source's own."""

    flow_scale: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Height of stored flow, in units of `height`."""

    background: Literal["none", "median"] = "none"
    """How a video's scene without what moves is found: as the median of its frames, which wants a
    camera at rest; or not at all."""

    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 92
    """Quality of stored frames."""

    @field_validator("gaps")
    @classmethod
    def _rising(cls, gaps: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(gaps)))
