"""The camera's motion as a homography, from corners that the flow carries along; NumPy and OpenCV.

A second opinion beside `selfseg.ops.camera`: exact for a camera that only turns, or looks at a
plane, and it says how many corners it explains.
"""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

CORNERS = 400
"""Most corners looked for in a frame."""

INLIER_PX = 0.25
"""Largest distance at which a corner agrees. On 120 pairs of DAVIS with flow 120 pixels high, 0.15
to 0.35 part object and background equally well; at 0.5 slow objects begin to count as camera."""

FEWEST_INLIERS = 12
"""Fewer could agree by chance: four define the homography."""

LARGEST_STRETCH = 2.0
"""Largest change of area, either way, between neighbouring frames of one video."""


def find_corners(gray: UInt8[np.ndarray, "h w"]) -> Float32[np.ndarray, "n 2"]:
    """Return well-defined points (x, y) of a frame, in its pixels; none on a blank one."""
    found = cv2.goodFeaturesToTrack(gray, CORNERS, qualityLevel=0.01, minDistance=4)
    return np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2)


def fit_homography(
    corners: Float32[np.ndarray, "n 2"],
    forward: Float32[np.ndarray, "h w 2"],
    backward: Float32[np.ndarray, "h w 2"],
) -> tuple[Float[np.ndarray, "3 3"], float]:
    """Fit the homography that most corners follow (RANSAC).

    Corners count where the flow back returns them: |f + b|^2 <= 0.01 (|f|^2 + |b|^2) + 0.5.

    Args:
        corners: points of the first frame, in pixels of the flow's grid.
        forward: flow from the first frame to the second, pixels.
        backward: flow from the second frame to the first, on the second's grid, pixels.

    Returns:
        The matrix from the first frame's pixels to the second's, its last entry 1, and the share
        of consistent corners within `INLIER_PX` of it. Where no believable homography is found,
        the forward flow's median as a translation, and 0.
    """
    there = corners + _at(forward, corners)
    kept = _consistent(corners, there, backward)
    if kept.sum() >= FEWEST_INLIERS:
        matrix, inliers = cv2.findHomography(corners[kept], there[kept], cv2.RANSAC, INLIER_PX)
        if matrix is not None and inliers.sum() >= FEWEST_INLIERS:
            height, width = forward.shape[:2]
            if _believable(matrix, height, width):
                return matrix, float(inliers.mean())
    translation = np.eye(3)
    translation[:2, 2] = np.median(forward.reshape(-1, 2), axis=0)
    return translation, 0.0


def _at(
    flow: Float32[np.ndarray, "h w 2"], points: Float32[np.ndarray, "n 2"]
) -> Float32[np.ndarray, "n 2"]:
    """Sample a flow between its pixels; beyond the edge, its edge."""
    if not len(points):
        return points
    x, y = points[:, :1], points[:, 1:]
    return cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]


def _consistent(
    here: Float32[np.ndarray, "n 2"],
    there: Float32[np.ndarray, "n 2"],
    backward: Float32[np.ndarray, "h w 2"],
) -> Bool[np.ndarray, " n"]:
    back = _at(backward, there)
    gone = there - here
    size = np.array(backward.shape[1::-1])
    inside = ((there >= 0) & (there <= size - 1)).all(axis=1)
    energy = (gone**2).sum(axis=1) + (back**2).sum(axis=1)
    return inside & (((gone + back) ** 2).sum(axis=1) <= 0.01 * energy + 0.5)


def _believable(matrix: Float[np.ndarray, "3 3"], height: int, width: int) -> bool:
    """Whether the image keeps its orientation and, roughly, its area, far from the horizon."""
    if not np.isfinite(matrix).all():
        return False
    x, y = width - 1, height - 1
    frame = np.array([[0, 0, 1], [x, 0, 1], [x, y, 1], [0, y, 1]], np.float64)
    moved = frame @ matrix.T
    if (moved[:, 2] <= 0.5).any():
        return False
    quad = moved[:, :2] / moved[:, 2:]
    before, after = np.roll(quad, 1, axis=0) - quad, np.roll(quad, -1, axis=0) - quad
    # Twice the area of the triangle at each corner; negative where the image is folded over.
    areas = after[:, 0] * before[:, 1] - after[:, 1] * before[:, 0]
    ratio = areas / (x * y)
    return bool(((ratio > 1 / LARGEST_STRETCH) & (ratio < LARGEST_STRETCH)).all())
