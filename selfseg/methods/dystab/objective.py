"""The equations of DyStaB's dynamic model, in the order of the paper.

Norms are means over pixels of the length of a motion vector, smoothed at zero, so that nothing
depends on the size of the grid.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfseg.ops.warp import sample_along

SMOOTHING = 1e-6
"""Charbonnier's constant: the length of x is sqrt(|x|^2 + SMOOTHING)."""

AREA_FLOOR = 1e-3
"""Added to a mask's area before dividing by it, and the least area outside; shares of the frame."""


def length(flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Return each vector's length, (|x|^2 + 1e-6)^0.5, in the unit of `flow`."""
    return (flow.square().sum(1, keepdim=True) + SMOOTHING).sqrt()


def unpredicted(
    flow: Float[Tensor, "b 2 h w"], guess: Float[Tensor, "b 2 h w"], *, bounded: bool
) -> Float[Tensor, "b 1 h w"]:
    """Return how far a guess is off at each pixel: |u - psi|, or min(|u - psi|, |u|) if bounded.

    Bounded, a guess worse than none counts as none. Only then is Eq. 2's bound of 2 kept: a region
    that the inpainter extrapolates wildly into would otherwise look independent.
    """
    error = length(flow - guess)
    return torch.minimum(error, length(flow)) if bounded else error


def uninformativeness(
    flow: Float[Tensor, "b 2 h w"],
    error: Float[Tensor, "b 1 h w"],
    region: Float[Tensor, "b 1 h w"],
    *,
    epsilon: float,
) -> Float[Tensor, " b"]:
    """How little of a region's motion the rest of the image tells; one term of Eq. 3.

        |m * error| / (|m * u| + epsilon)

    0: everything; also for an empty region. 1: nothing. Rest counts as motion of SMOOTHING^0.5: a
    region at rest, guessed so, gets area / (area + epsilon / 0.001), which is little only where
    epsilon is much more than that.

    Args:
        flow: u, any unit.
        error: of the motion completed from outside the region, in the unit of `flow`.
        region: m, [0, 1].
        epsilon: motion below this counts as none; unit of `flow`, mean over the frame.
    """
    unknown = (region * error).mean((1, 2, 3))
    present = (region * length(flow)).mean((1, 2, 3))
    return unknown / (present + epsilon)


def separation(
    flow: Float[Tensor, "b 2 h w"],
    inside: Float[Tensor, "b 1 h w"],
    from_outside: Float[Tensor, "b 2 h w"],
    from_inside: Float[Tensor, "b 2 h w"],
    *,
    epsilon: float,
    bounded: bool,
) -> Float[Tensor, " b"]:
    """L_A, Eq. 3: how independently the two sides of a mask move.

    At most 2 if `bounded`; near 0 where motion is smooth across the mask's edge; 1, less epsilon's
    share, for an empty and for a full mask, if psi guesses no motion from none. The same for a mask
    and its inverse. phi maximises it; gradients reach all tensors.

    Args:
        flow: u, any unit.
        inside: m = phi(u), [0, 1].
        from_outside: psi(m, (1 - m) u, I), the motion completed from outside.
        from_inside: psi(1 - m, m u, I), the motion completed from inside.
        epsilon: motion below this counts as none; unit of `flow`, mean over the frame.
        bounded: see `unpredicted`.
    """
    hidden_inside = unpredicted(flow, from_outside, bounded=bounded)
    hidden_outside = unpredicted(flow, from_inside, bounded=bounded)
    return uninformativeness(flow, hidden_inside, inside, epsilon=epsilon) + uninformativeness(
        flow, hidden_outside, 1 - inside, epsilon=epsilon
    )


def contrast(
    flow: Float[Tensor, "b 2 h w"],
    inside: Float[Tensor, "b 1 h w"],
    from_outside: Float[Tensor, "b 2 h w"],
) -> Float[Tensor, " b"]:
    """How much worse the motion outside a mask tells what is inside than itself; not in the paper.

        (E(m) - E(1 - m)) / (E(m) + E(1 - m)),   E(r) = |r * (u - psi(m, (1 - m) u, I))| / |r|

    1: the outside moves as one and the inside otherwise; 0: it makes no difference. An empty mask
    gets -1, a full one 1. L_A also asks the reverse, which motion blurred across a mask's edge
    answers well for wrong masks too.

    Args:
        flow: u, any unit.
        inside: m, [0, 1].
        from_outside: psi(m, (1 - m) u, I), the motion completed from outside.
    """
    error = length(flow - from_outside)
    held = (inside * error).mean((1, 2, 3)) / (inside.mean((1, 2, 3)) + AREA_FLOOR)
    out = ((1 - inside) * error).mean((1, 2, 3)) / (1 - inside).mean((1, 2, 3)).clamp_min(
        AREA_FLOOR
    )
    return (held - out) / (held + out)


def inpainting_error(
    flow: Float[Tensor, "b 2 h w"],
    inside: Float[Tensor, "b 1 h w"],
    from_outside: Float[Tensor, "b 2 h w"],
    from_inside: Float[Tensor, "b 2 h w"],
) -> Float[Tensor, " b"]:
    """What psi minimises: the numerators of Eq. 3, in the unit of `flow`, mean over the frame.

    Its denominators do not depend on psi, but would give nearly empty masks all the weight.
    """
    hidden = inside * length(flow - from_outside) + (1 - inside) * length(flow - from_inside)
    return hidden.mean((1, 2, 3))


def temporal_inconsistency(
    first: Float[Tensor, "b 1 h w"],
    second: Float[Tensor, "b 1 h w"],
    flow: Float[Tensor, "b 2 h w"],
    flow_back: Float[Tensor, "b 2 h w"],
    *,
    seen: Bool[Tensor, "b 1 h w"],
    seen_back: Bool[Tensor, "b 1 h w"],
) -> Float[Tensor, " b"]:
    """L_TC, Eq. 4: how much two masks of one video disagree where both frames see the same.

        sum over x not in o of |m1(x) - m2(x + u12(x))| + |m2(x) - m1(x + u21(x))|

    divided by the number of pixels. 0: one is the other moved along the flow; at most 2.

    Args:
        first: m1 = phi(u12), [0, 1].
        second: m2 = phi(u21), [0, 1].
        flow: u12, pixels.
        flow_back: u21, pixels.
        seen: the pixels of the first frame not in o.
        seen_back: the pixels of the second frame not in o.
    """
    forward = seen * (first - sample_along(second, flow)).abs()
    backward = seen_back * (second - sample_along(first, flow_back)).abs()
    return (forward + backward).mean((1, 2, 3))
