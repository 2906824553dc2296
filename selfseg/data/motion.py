"""How a frame moves towards a later one: flow both ways and the camera's share of it."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from pydantic import NonNegativeInt, PositiveInt

from selfseg.config import Config
from selfseg.data.schema import PairMeta
from selfseg.ops.camera import fit_quadratic
from selfseg.ops.homography import find_corners, fit_homography
from selfseg.ops.optical_flow import dis_flow


class DisSettings(Config):
    """Dense inverse search; see `selfseg.ops.optical_flow`."""

    finest_scale: NonNegativeInt = 1
    """Pyramid level that the search ends on; 0 is the full resolution."""

    variational_iterations: NonNegativeInt = 5
    """Rounds of smoothing at each level."""

    descent_iterations: PositiveInt = 16
    """Gradient steps for each patch."""


@dataclass(frozen=True, slots=True)
class Matchable:
    """A frame as motion is measured on it.

    gray: on the grid that flow is measured on
    corners: points to track (x, y), in pixels of the grid that flow is kept on
    """

    gray: UInt8[np.ndarray, "h w"]
    corners: Float32[np.ndarray, "n 2"]


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion between two frames, in pixels of the grid it is kept on.

    forward, backward: flow to the second frame, and back on the second's grid
    camera: the homography and the quadratic fits of `PairMeta`
    """

    forward: Float32[np.ndarray, "h w 2"]
    backward: Float32[np.ndarray, "h w 2"]
    camera: PairMeta


def matchable(
    gray: UInt8[np.ndarray, "source_h source_w"],
    matching_size: tuple[int, int],
    flow_size: tuple[int, int],
) -> Matchable:
    """Prepare a frame once for all its pairs.

    Args:
        gray: the frame at its source's size.
        matching_size: rows and columns to measure flow on.
        flow_size: rows and columns to keep flow on.
    """
    return Matchable(resize(gray, matching_size), find_corners(resize(gray, flow_size)))


def measure(
    first: Matchable, second: Matchable, flow_size: tuple[int, int], settings: DisSettings
) -> Motion:
    """Measure the motion from the first frame to the second, and back; keep it on `flow_size`."""
    forward = _flow(first, second, flow_size, settings)
    backward = _flow(second, first, flow_size, settings)
    homography, inlier_share = fit_homography(first.corners, forward, backward)
    camera = PairMeta.model_validate(
        {
            "homography": _rounded(homography),
            "inlier_share": round(inlier_share, 4),
            "camera_forward": _rounded(fit_quadratic(forward)),
            "camera_backward": _rounded(fit_quadratic(backward)),
        }
    )
    return Motion(forward, backward, camera)


def resize(
    image: UInt8[np.ndarray, "source_h source_w ..."], size: tuple[int, int]
) -> UInt8[np.ndarray, "h w ..."]:
    """Resize to `size` rows and columns; shrinking averages, so that nothing aliases."""
    height, width = size
    way = cv2.INTER_AREA if height <= image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=way)


def _flow(
    first: Matchable, second: Matchable, size: tuple[int, int], settings: DisSettings
) -> Float32[np.ndarray, "h w 2"]:
    """Measure a flow and bring it to another grid, its values to that grid's pixels."""
    flow = dis_flow(
        first.gray,
        second.gray,
        finest_scale=settings.finest_scale,
        variational_iterations=settings.variational_iterations,
        descent_iterations=settings.descent_iterations,
    )
    height, width = size
    factors = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    return cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) * factors


def _rounded(matrix: Float[np.ndarray, "rows columns"]) -> list[list[float]]:
    """Keep seven digits: far below the fits' own error, and half the bytes."""
    return [[float(f"{value:.7g}") for value in row] for row in matrix.tolist()]
