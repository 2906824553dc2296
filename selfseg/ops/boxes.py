"""Boxes and what lies in them: a spatial transformer, its inverse, and erased regions.

A box is (centre x, centre y, width, height) in shares of the image's sides; (0.5, 0.5, 1, 1) is
the whole image. Pixels are areas: the first one's centre lies half a pixel inside.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Boxes = Float[Tensor, "n 4"]


def crop(
    image: Float[Tensor, "n c h w"],
    boxes: Boxes,
    height: int,
    width: int,
    *,
    beyond: Literal["zeros", "border"] = "zeros",
) -> Float[Tensor, "n c {height} {width}"]:
    """Bring what lies in each box to a grid of its own: T of the proposal paper, Eq. 1.

    Bilinear. Differentiable in the image and in the boxes.

    Args:
        image: what is looked at.
        boxes: the part of each image that is seen; they may reach beyond it.
        height: rows of the new grid.
        width: columns of the new grid.
        beyond: what lies outside the image: nothing, or its outermost pixels.
    """
    x, y, box_width, box_height = boxes.unbind(1)
    grid = _grid(box_width, box_height, 2 * x - 1, 2 * y - 1, (height, width))
    return functional.grid_sample(image, grid, padding_mode=beyond, align_corners=False)


def paste(
    patch: Float[Tensor, "n c rows columns"],
    boxes: Boxes,
    height: int,
    width: int,
    *,
    beyond: Literal["zeros", "border"] = "zeros",
) -> Float[Tensor, "n c {height} {width}"]:
    """Lay each patch into its box on an empty image: the inverse of `crop`, T^-1 in Eq. 1.

    Differentiable in the patch and in the boxes.

    Args:
        patch: what fills a box.
        boxes: none of them without an area.
        height: rows of the image.
        width: columns of the image.
        beyond: what lies outside the box: nothing, or the patch's outermost pixels.
    """
    x, y, box_width, box_height = boxes.unbind(1)
    left, top = (1 - 2 * x) / box_width, (1 - 2 * y) / box_height
    grid = _grid(1 / box_width, 1 / box_height, left, top, (height, width))
    return functional.grid_sample(patch, grid, padding_mode=beyond, align_corners=False)


def covered(boxes: Boxes, height: int, width: int) -> Float[Tensor, "n 1 {height} {width}"]:
    """Return 1 for the pixels whose centre lies in the box, 0 for the others; no gradient."""
    distance_x, distance_y = _beyond_edges(boxes.detach(), height, width)
    return ((distance_y <= 0) & (distance_x <= 0)).to(boxes.dtype)


def softly_covered(
    boxes: Boxes, height: int, width: int, *, edge: float = 0.02
) -> Float[Tensor, "n 1 {height} {width}"]:
    """Return membership in the box, [0, 1], with a gradient in its four numbers.

    Args:
        boxes: what is covered.
        height: rows of the image.
        width: columns of the image.
        edge: over which membership falls from 0.73 to 0.27; share of the image's side.
    """
    distance_x, distance_y = _beyond_edges(boxes, height, width)
    return torch.sigmoid(-2 * distance_y / edge) * torch.sigmoid(-2 * distance_x / edge)


def scaled(boxes: Float[Tensor, "*n 4"], factor: float) -> Float[Tensor, "*n 4"]:
    """Make boxes `factor` times as wide and as high, about their centres."""
    return torch.cat([boxes[..., :2], boxes[..., 2:] * factor], -1)


def corners(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Return (left, top, right, bottom)."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def _grid(
    scale_x: Tensor, scale_y: Tensor, shift_x: Tensor, shift_y: Tensor, size: tuple[int, int]
) -> Tensor:
    """Return where to sample, [-1, 1]: scale * place + shift, along either axis."""
    none = torch.zeros_like(scale_x)
    rows = torch.stack([scale_x, none, shift_x, none, scale_y, shift_y], -1)
    return functional.affine_grid(
        rows.view(-1, 2, 3), [len(scale_x), 1, *size], align_corners=False
    )


def _beyond_edges(boxes: Boxes, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return how far columns and rows lie beyond the box's nearest edge; shares of the side."""
    x, y, box_width, box_height = (value.view(-1, 1, 1, 1) for value in boxes.unbind(1))
    columns = (torch.arange(width, dtype=boxes.dtype, device=boxes.device) + 0.5) / width
    rows = (torch.arange(height, dtype=boxes.dtype, device=boxes.device) + 0.5) / height
    distance_x = (columns.view(1, 1, 1, -1) - x).abs() - box_width / 2
    distance_y = (rows.view(1, 1, -1, 1) - y).abs() - box_height / 2
    return distance_x, distance_y
