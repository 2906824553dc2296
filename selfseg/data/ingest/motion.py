"""How a frame moves towards a later one: flow both ways and the camera's share of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from selfseg.data.format.schema import PairMeta
from selfseg.ops.camera import fit_quadratic
from selfseg.ops.homography import find_corners, fit_homography


@runtime_checkable  # so that a test may check the types of arguments
class Matcher(Protocol):
    """A way to measure optical flow."""

    def view(
        self, image: UInt8[np.ndarray, "source_h source_w 3"], size: tuple[int, int]
    ) -> UInt8[np.ndarray, "h w ..."]:
        """Return what it compares of an RGB frame, on a grid of about `size` rows and columns."""
        ...

    def flows(
        self, first: UInt8[np.ndarray, "h w ..."], others: Sequence[UInt8[np.ndarray, "h w ..."]]
    ) -> list[tuple[Float32[np.ndarray, "h w 2"], Float32[np.ndarray, "h w 2"]]]:
        """Return the flow from the first view to each other, and back, (x, y), in their pixels."""
        ...


@dataclass(frozen=True, slots=True)
class Matchable:
    """A frame as motion is measured on it.

    view: what flow is measured on
    corners: points to track (x, y), in pixels of the grid that flow is kept on
    """

    view: UInt8[np.ndarray, "h w ..."]
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
    image: UInt8[np.ndarray, "source_h source_w 3"],
    matching_size: tuple[int, int],
    flow_size: tuple[int, int],
    matcher: Matcher,
) -> Matchable:
    """Prepare a frame once for all its pairs.

    Args:
        image: the frame at its source's size, RGB.
        matching_size: rows and columns to measure flow on.
        flow_size: rows and columns to keep flow on.
        matcher: measures it.
    """
    corners = find_corners(resize(gray(image), flow_size))
    return Matchable(matcher.view(image, matching_size), corners)


def measure(
    first: Matchable, others: Sequence[Matchable], flow_size: tuple[int, int], matcher: Matcher
) -> list[Motion]:
    """Measure the motion from the first frame to each other, and back; keep it on `flow_size`."""
    return [
        _motion(first, resize_flow(forward, flow_size), resize_flow(backward, flow_size))
        for forward, backward in matcher.flows(first.view, [other.view for other in others])
    ]


def _motion(
    first: Matchable,
    forward: Float32[np.ndarray, "h w 2"],
    backward: Float32[np.ndarray, "h w 2"],
) -> Motion:
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


def gray(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
    """Return an RGB image's luminance."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def resize_flow(
    flow: Float32[np.ndarray, "measured_h measured_w 2"], size: tuple[int, int]
) -> Float32[np.ndarray, "h w 2"]:
    """Bring a flow to another grid, and its values to that grid's pixels."""
    height, width = size
    factors = np.array([width / flow.shape[1], height / flow.shape[0]], np.float32)
    return cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) * factors


def _rounded(matrix: Float[np.ndarray, "rows columns"]) -> list[list[float]]:
    """Keep seven digits: far below the fits' own error, and half the bytes."""
    return [[float(f"{value:.7g}") for value in row] for row in matrix.tolist()]
