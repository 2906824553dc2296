"""One video into samples: frames, flow both ways for every gap, and the camera's motion."""

from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import Field, PositiveFloat, PositiveInt

from selfseg.config import Config


class IngestSettings(Config):
    """How a video becomes samples; a checkpoint keeps them, to prepare new videos alike."""

    height: PositiveInt = 240
    """Height of stored frames, pixels; the width keeps the aspect and is even."""

    gaps: Annotated[tuple[PositiveInt, ...], MinLen(1)] = (1, 2, 3)
    """Frames between the two ends of a flow."""

    flow: Literal["dis", "none"] = "dis"
    """How motion is measured: dense inverse search, or not at all."""

    matching_scale: PositiveFloat = 1.5
    """Height at which motion is measured, in units of `height`."""

    flow_scale: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Height of stored flow, in units of `height`."""

    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 92
    """Quality of stored frames."""
