"""Flow and masks as pictures a person can read; NumPy, RGB, 0 to 255."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

FOREGROUND = (255, 64, 96)
"""Colour of a mask laid over its frame."""


def flow_image(
    flow: Float[np.ndarray, "h w 2"], *, full_scale_px: float | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Show direction as hue and speed as saturation: still is white, right red, down green-yellow.

    Args:
        flow: displacement (x, y), pixels.
        full_scale_px: the speed shown in full colour; None takes the flow's own 99th percentile,
            at least a pixel so that noise stays pale.
    """
    speed = np.linalg.norm(flow, axis=-1)
    full = full_scale_px or max(float(np.percentile(speed, 99)), 1.0)
    turn = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1
    hue = (turn * 180).astype(np.uint8) % 180  # OpenCV counts hue in steps of two degrees
    saturation = (np.clip(speed / full, 0, 1) * 255).astype(np.uint8)
    bright = np.full_like(hue, 255)
    return cv2.cvtColor(np.stack([hue, saturation, bright], axis=-1), cv2.COLOR_HSV2RGB)


def overlay(
    image: UInt8[np.ndarray, "h w 3"],
    binary_mask: Bool[np.ndarray, "h w"],
    *,
    opacity: float = 0.45,
    dim: float = 0.6,
) -> UInt8[np.ndarray, "h w 3"]:
    """Tint the foreground, outline it in white and darken everything else.

    Args:
        image: RGB, 0 to 255.
        binary_mask: the foreground; an empty one leaves the image as it is.
        opacity: share of the tint in the foreground.
        dim: what is left of the background's brightness.
    """
    if not binary_mask.any():
        return image.copy()
    tinted = image * (1 - opacity) + np.array(FOREGROUND) * opacity
    blended = np.where(binary_mask[..., None], tinted, image * dim).astype(np.uint8)
    found, _ = cv2.findContours(
        binary_mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE
    )
    thickness = max(1, round(min(image.shape[:2]) / 240))
    return cv2.drawContours(blended, found, -1, (255, 255, 255), thickness, cv2.LINE_AA)
