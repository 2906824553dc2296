"""The equations of DyStaB's static model and its lesson, Eq. 6 and 7.

Maps are soft; sums over pixels take the place of counts.
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

SMOOTHING = 1e-6
"""Added to areas before dividing by them; share of the frame."""


def f_measure(
    prediction: Float[Tensor, "b 1 h w"],
    mask: Float[Tensor, "b 1 h w"],
    *,
    alpha_squared: float,
) -> Float[Tensor, " b"]:
    """F_alpha, Eq. 6: how well a prediction finds what a mask marks.

        (1 + alpha^2) precision * recall / (alpha^2 * precision + recall)
        precision = |prediction * mask| / |prediction|,   recall = |prediction * mask| / |mask|

    which is (1 + alpha^2) |prediction * mask| / (alpha^2 |mask| + |prediction|). 1: equal binary
    maps, also two empty ones; 0: disjoint ones. The larger alpha^2, the more a miss costs beside
    a false alarm.

    Args:
        prediction: chi(I), [0, 1].
        mask: m, [0, 1].
        alpha_squared: alpha^2.
    """
    overlap = (prediction * mask).mean((1, 2, 3))
    areas = alpha_squared * mask.mean((1, 2, 3)) + prediction.mean((1, 2, 3))
    smoothing = (1 + alpha_squared) * SMOOTHING
    return ((1 + alpha_squared) * overlap + smoothing) / (areas + smoothing)


def cross_entropy(
    logits: Float[Tensor, "b 1 h w"], mask: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, " b"]:
    """How far a prediction is from a soft mask's own probabilities; not in the paper.

        -m log p - (1 - m) log(1 - p),   p = sigmoid(logits); mean over pixels

    Where F_alpha is highest for a binary map, this is least for the mask itself, doubts and all.

    Args:
        logits: of the prediction.
        mask: m, [0, 1].
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    return entropy.mean((1, 2, 3))


def confidence(
    separation: Float[Tensor, " b"], earlier: Float[Tensor, " b"], *, delta: float
) -> Float[Tensor, " b"]:
    """How much a motion mask is to be believed, the weight in Eq. 7.

        max(L_A(m) - L_A(chi'(I)) - delta, 0)

    0 where the motion speaks for the mask no more than for what chi' sees anyway.

    Args:
        separation: L_A(m), [0, 2] with bounded errors; or another measure of the same.
        earlier: L_A(chi'(I)); 0 when chi is trained for the first time.
        delta: by how much the mask must be better.
    """
    return (separation - earlier - delta).clamp_min(0)


def static_gain(
    with_earlier: Float[Tensor, " b"],
    with_motion: Float[Tensor, " b"],
    weight: Float[Tensor, " b"],
    *,
    lambda_f: float,
) -> Float[Tensor, " b"]:
    """L_chi, Eq. 7: what chi maximises.

        lambda_F F_alpha(chi(I), chi'(I)) + weight * F_alpha(chi(I), m)

    Args:
        with_earlier: F_alpha(chi(I), chi'(I)), [0, 1].
        with_motion: F_alpha(chi(I), m), [0, 1].
        weight: `confidence`; the caller detaches it.
        lambda_f: lambda_F; 0 when chi is trained for the first time.
    """
    return lambda_f * with_earlier + weight * with_motion
