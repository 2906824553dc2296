"""The part of a motion field that the camera explains, by a robust fit; NumPy.

A camera model is a quadratic in each direction, the motion of a plane seen in perspective:

    flow_x(x, y) = c0 + c1 x + c2 y + c3 x^2 + c4 x y + c5 y^2     (flow_y alike)

x and y run over [-1, 1] from the first to the last pixel centre, so coefficients know the unit of
the flow but not the resolution: a grid k times as large has the same model, k times the values.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

GRID_NODES = 32
"""Nodes along the longer side of the grid that the fit looks at; pixels in between add little."""

ITERATIONS = 12
"""Enough for the weights to settle; each costs about 0.1 ms."""

CENTRE_WEIGHT = 0.05
"""Weight of the image's centre where its border has 1.05: objects are rarely at the border."""

SPREAD_FLOOR = 0.004
"""Least spread of the residual, as a share of the grid's width: below it all is camera."""

RIDGE = 1e-3
"""Keeps the fit determined when few nodes have weight."""


def _basis(x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]) -> Float[np.ndarray, "... 6"]:
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _normalised(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    return x, y


@lru_cache(maxsize=4)
def _grid_basis(height: int, width: int) -> np.ndarray:
    # A loader asks for the same grid again and again; the basis is half the work.
    basis = _basis(*_normalised(height, width))
    basis.setflags(write=False)
    return basis


def fit_quadratic(flow: Float[np.ndarray, "h w 2"]) -> Float[np.ndarray, "2 6"]:
    """Fit the camera model to the motion of most of the image, least so at its centre.

    Iteratively re-weighted least squares with Geman-McClure weights 1 / (1 + (r / s)^2)^2, where
    s is 1.5 times the median residual r of the round before; things that move by themselves
    lose their weight. An all-equal flow returns itself in c0.

    Args:
        flow: displacement (x, y), in any unit; at least 2 pixels a side.

    Returns:
        Coefficients of x (row 0) and y (row 1), in the unit of `flow`; always finite.

    Raises:
        ValueError: `flow` holds a value that is not finite.
    """
    if not np.isfinite(flow).all():
        raise ValueError("flow must be finite to fit a camera motion to it")
    height, width = flow.shape[:2]
    stride = max(1, max(height, width) // GRID_NODES)
    nodes = (slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    x, y = (axis[nodes].ravel() for axis in _normalised(height, width))
    target = flow[nodes].reshape(-1, 2).astype(np.float64)
    basis = _basis(x, y)
    prior = CENTRE_WEIGHT + np.maximum(np.abs(x), np.abs(y)) ** 3
    floor = SPREAD_FLOOR * width

    start = np.median(target, axis=0)
    centred = target - start
    coefficients = np.zeros((6, 2))
    for _ in range(ITERATIONS):
        residual = np.linalg.norm(centred - basis @ coefficients, axis=1)
        spread = 1.5 * max(float(np.median(residual)), floor)
        weight = prior / (1 + (residual / spread) ** 2) ** 2
        weighted = basis * weight[:, None]
        normal = basis.T @ weighted + RIDGE * np.eye(6)
        coefficients = np.linalg.solve(normal, weighted.T @ centred)
    coefficients[0] += start
    return coefficients.T


def quadratic_flow(
    coefficients: Float[np.ndarray, "2 6"], height: int, width: int
) -> Float[np.ndarray, "{height} {width} 2"]:
    """Return the camera model's displacement at every pixel, in the unit of the coefficients."""
    flow = _grid_basis(height, width) @ coefficients.T
    return flow.astype(np.float32)


def homography_flow(
    matrix: Float[np.ndarray, "3 3"], height: int, width: int
) -> Float[np.ndarray, "{height} {width} 2"]:
    """Return where a homography moves every pixel, as a displacement in pixels of this grid.

    Values are not finite where the image crosses the homography's horizon; callers decide what a
    degenerate one is worth.

    Args:
        matrix: maps pixel coordinates (x, y, 1) of this grid to the other frame's.
        height: rows of the grid.
        width: columns of the grid.
    """
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    moved = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.asarray(matrix, np.float64).T
    with np.errstate(divide="ignore", invalid="ignore"):
        there = moved[..., :2] / moved[..., 2:]
    return (there - np.stack([x, y], axis=-1)).astype(np.float32)
