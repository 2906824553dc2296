"""Optical flow by inverse search, on a CPU."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from pydantic import NonNegativeInt, PositiveInt

from selfseg.config import Config
from selfseg.data.motion import gray, resize
from selfseg.ops.optical_flow import dis_flow

Flow = Float32[np.ndarray, "h w 2"]


class DisSettings(Config):
    """Dense inverse search; see `selfseg.ops.optical_flow`."""

    finest_scale: NonNegativeInt = 1
    """Pyramid level that the search ends on; 0 is the full resolution."""

    variational_iterations: NonNegativeInt = 5
    """Rounds of smoothing at each level."""

    descent_iterations: PositiveInt = 16
    """Gradient steps for each patch."""


@dataclass(frozen=True, slots=True)
class DisMatcher:
    """Dense inverse search between two gray images."""

    settings: DisSettings

    def view(
        self, image: UInt8[np.ndarray, "source_h source_w 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "h w"]:
        """Return the image without its colours."""
        return resize(gray(image), size)

    def flows(
        self, first: UInt8[np.ndarray, "h w"], second: UInt8[np.ndarray, "h w"]
    ) -> tuple[Flow, Flow]:
        """Search in either direction."""
        return self._flow(first, second), self._flow(second, first)

    def _flow(self, first: UInt8[np.ndarray, "h w"], second: UInt8[np.ndarray, "h w"]) -> Flow:
        return dis_flow(
            first,
            second,
            finest_scale=self.settings.finest_scale,
            variational_iterations=self.settings.variational_iterations,
            descent_iterations=self.settings.descent_iterations,
        )
