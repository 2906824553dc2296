"""Optical flow by inverse search, on a CPU."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from selfseg.data.format.settings import DisSettings
from selfseg.data.ingest.motion import gray, resize
from selfseg.ops.optical_flow import dis_flow

Flow = Float32[np.ndarray, "h w 2"]


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
        self, first: UInt8[np.ndarray, "h w"], others: Sequence[UInt8[np.ndarray, "h w"]]
    ) -> list[tuple[Flow, Flow]]:
        """Search in either direction."""
        return [(self._flow(first, other), self._flow(other, first)) for other in others]

    def _flow(self, first: UInt8[np.ndarray, "h w"], second: UInt8[np.ndarray, "h w"]) -> Flow:
        return dis_flow(
            first,
            second,
            finest_scale=self.settings.finest_scale,
            variational_iterations=self.settings.variational_iterations,
            descent_iterations=self.settings.descent_iterations,
        )
