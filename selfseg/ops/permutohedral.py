"""Gaussian filtering in a few dimensions, in time linear in the points: the permutohedral lattice.

Adams, Baek and Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010.
A point of d dimensions is lifted onto the plane of d + 1 axes whose coordinates sum to 0; simplices
tile it. Each point gives its value to the d + 1 corners of its simplex (splat), corners mix with
their neighbours along each axis (blur), and each point takes its value back (slice).
"""

import math
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

LARGEST_KEY = 2**62
"""Corners are told apart by 64-bit numbers, with room for the step to a neighbour."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """The corners around a set of points; built once, it filters any number of signals.

    corners: which corners each point gives to
    weights: the share of its value that it gives there; a point's shares sum to 1
    neighbours: the corners before and after each corner along each axis; the last corner is none,
        stands for all that no point gives to, and holds 0
    """

    corners: Int[Tensor, "axes points"]
    weights: Float[Tensor, "axes points"]
    neighbours: Int[Tensor, "axes 2 corners"]

    def filter(self, signals: Float[Tensor, "c n"]) -> Float[Tensor, "c n"]:
        """Return, for each point, the sum of all points' values, each times a Gaussian.

        The Gaussian, about exp(-distance^2 / 2), is the lattice's: its width and peak vary a little
        with where a point lies in its simplex.

        Args:
            signals: a value for each point. A lattice around the points of one image filters any
                number of signals; one around those of c images filters a signal for each.
        """
        axes, points = self.corners.shape
        values = signals.reshape(-1, 1, points)
        given = (self.weights * values).flatten(1)
        held = given.new_zeros(len(values), self.neighbours.shape[-1])
        held = held.index_add(1, self.corners.flatten(), given)
        for before, after in self.neighbours:
            held = held + 0.5 * (held.index_select(1, before) + held.index_select(1, after))
        seen = held.index_select(1, self.corners.flatten()).view(-1, axes, points)
        # Of a corner's value 1 stays and 2^-d comes back around its simplices: make the peak 1.
        return (self.weights * seen).sum(1).reshape(signals.shape) / (1 + 2.0 ** (1 - axes))


def build(features: Float[Tensor, "b d n"]) -> Lattice:
    """Build the lattice around b sets of n points, which do not see each other.

    Args:
        features: positions in units of the Gaussian's standard deviation.

    Raises:
        ValueError: the points lie too far apart for their corners to be numbered.
    """
    lifted = _lift(features.movedim(1, 0).flatten(1))
    nearest, rank = _simplex(lifted)
    keys, steps = _number(nearest, rank, len(features))
    known, corners = torch.unique(keys, return_inverse=True)
    return Lattice(corners, _shares(lifted, nearest, rank), _neighbours(known, steps))


def _lift(features: Float[Tensor, "d points"]) -> Float[Tensor, "axes points"]:
    """Rotate points onto the plane of coordinates with sum 0, in the unit that blurring assumes."""
    dimensions = len(features)
    spread = math.sqrt(2 / 3) * (dimensions + 1)
    total = torch.zeros_like(features[0])
    lifted = []
    # A sum by axes, not a product of matrices: mixed precision would round that.
    for axis in range(dimensions, 0, -1):
        along = features[axis - 1] * (spread / math.sqrt(axis * (axis + 1)))
        lifted.append(total - axis * along)
        total = total + along
    return torch.stack([total, *reversed(lifted)])


def _simplex(
    lifted: Float[Tensor, "axes points"],
) -> tuple[Int[Tensor, "axes points"], Int[Tensor, "axes points"]]:
    """Find the simplex around each point.

    Returns:
        Its corner of remainder 0, in multiples of the number of axes; and for each axis how many
        others the point exceeds that corner by more.
    """
    axes = len(lifted)
    nearest = (lifted / axes).round()
    beyond = lifted - axes * nearest
    rank = torch.zeros_like(nearest, dtype=torch.long)
    for one, other in combinations(range(axes), 2):
        less = beyond[one] < beyond[other]
        rank[one] += less
        rank[other] += ~less
    # Rounding each axis for itself may leave the plane: by as many axes as the sum says.
    moved = rank + nearest.long().sum(0)
    wraps = moved.div(axes, rounding_mode="floor")
    return nearest.long() - wraps, moved - axes * wraps


def _shares(
    lifted: Float[Tensor, "axes points"],
    nearest: Int[Tensor, "axes points"],
    rank: Int[Tensor, "axes points"],
) -> Float[Tensor, "axes points"]:
    """Return each point's barycentric coordinates: for the corners of remainder 0, 1, and so on."""
    beyond = lifted / len(lifted) - nearest
    ascending = torch.zeros_like(beyond).scatter(0, len(lifted) - 1 - rank, beyond)
    shares = ascending - ascending.roll(1, 0)
    shares[0] += 1
    return shares


def _number(
    nearest: Int[Tensor, "axes points"],
    rank: Int[Tensor, "axes points"],
    num_sets: int,
) -> tuple[Int[Tensor, "axes points"], Int[Tensor, " axes"]]:
    """Give each corner a number of its own, linear in its coordinates.

    Returns:
        The numbers of each point's corners; and for each axis, what the next corner along it adds.
    """
    axes = len(nearest)
    origin = nearest - nearest.amin(1, keepdim=True)
    # Corners lie up to `axes` beside the one of remainder 0, and their neighbours as much farther.
    spans = [axes * (most + 4) for most in origin[:-1].amax(1).tolist()]
    strides = [math.prod(spans[:axis]) for axis in range(axes)]
    whole = strides.pop()
    if num_sets * whole > LARGEST_KEY:
        raise ValueError(f"room for {num_sets * whole:.0e} corners: choose wider Gaussians")
    # The last coordinate follows from the others, whose sum with it is 0.
    stride = torch.tensor([*strides, 0], device=nearest.device)
    steps = stride.sum() - axes * stride
    first = (axes * origin * stride[:, None]).sum(0).view(num_sets, -1)
    first = (first + whole * torch.arange(num_sets, device=stride.device)[:, None]).flatten()
    # From a remainder to the next, every coordinate grows by 1 but one, which drops out at the top.
    order = torch.empty_like(rank).scatter(0, axes - 1 - rank, steps[:, None].expand_as(rank))
    return first + torch.cat([torch.zeros_like(order[:1]), order[:-1].cumsum(0)]), steps


def _neighbours(
    known: Int[Tensor, " corners"], steps: Int[Tensor, " axes"]
) -> Int[Tensor, "axes 2 all"]:
    """Find each corner's neighbours among the sorted numbers of the corners there are."""
    none = len(known)
    wanted = known + torch.stack([-steps, steps], 1)[..., None]
    place = torch.searchsorted(known, wanted).clamp_(max=none - 1)
    found = torch.where(known[place] == wanted, place, none)
    return functional.pad(found, (0, 1), value=none)
