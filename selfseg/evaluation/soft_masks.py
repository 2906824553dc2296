"""From any measure of how much a pixel stands out to a soft mask; NumPy."""

import cv2
import numpy as np
from jaxtyping import Float, Float32

SOFTNESS = 4.0
"""Slope of the soft masks at their threshold: 0.98 at twice it, 0.02 at zero."""


def against_otsu(values: Float[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Return sigmoid(SOFTNESS * (value / threshold - 1)), above 0.5 where Otsu's is exceeded.

    A field of zeros has no threshold, and nothing stands out: all 0.02.

    Args:
        values: not negative; any unit.
    """
    return soft(np.clip(values / max(_otsu_threshold(values), 1e-6) - 1, -1, 4))


def soft(excess: Float[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Return sigmoid(SOFTNESS * excess); `excess`: over the threshold, in thresholds."""
    return (1 / (1 + np.exp(-SOFTNESS * excess))).astype(np.float32)


def _otsu_threshold(values: Float[np.ndarray, "h w"]) -> float:
    """Return the value that best splits its histogram of 256 bins; the top 0.5 % share one."""
    top = max(float(np.percentile(values, 99.5)), 1e-3)
    levels = np.clip(values / top * 255, 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return level / 255 * top
