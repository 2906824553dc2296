"""Refine soft masks by the colours of their images, with a fully connected CRF.

Kraehenbuehl and Koltun, "Efficient inference in fully connected CRFs with Gaussian edge
potentials", 2011: two pixels that get different labels pay

    colour_weight * exp(-distance^2 / 2 colour_reach^2 - |rgb - rgb'|^2 / 2 colour_tolerance^2)
    + smooth_weight * exp(-distance^2 / 2 smooth_reach^2)

`ImageCrf` is the reference implementation, for one image on a CPU, and `refine` is it for one mask;
`refine_batch` is the same algorithm on tensors, for a GPU.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from pydensecrf import densecrf  # pyright: ignore[reportAttributeAccessIssue]  # compiled
from pydensecrf.utils import unary_from_softmax
from torch import Tensor

from selfseg.ops import permutohedral


@dataclass(frozen=True, slots=True, kw_only=True)
class CrfSettings:
    """What disagreement costs, and how long the pixels negotiate.

    The reaches are meant for images 240 rows high. The defaults were chosen on DAVIS's training
    sequences; whoever changes them should choose on videos that are not scored afterwards.

    colour_reach_px: how far pixels of like colour pull at each other
    colour_tolerance: difference of colour that still counts as alike, levels of 255
    colour_weight: strength of that pull; 0 for none
    smooth_reach_px: how far pixels of any colour pull at each other
    smooth_weight: strength of that pull; 0 for none
    iterations: rounds of mean field
    certainty: probabilities are clipped to [1 - certainty, certainty], so that no pixel is beyond
        appeal; below 1
    """

    colour_reach_px: float = 30.0
    colour_tolerance: float = 7.0
    colour_weight: float = 5.0
    smooth_reach_px: float = 3.0
    smooth_weight: float = 2.0
    iterations: int = 5
    certainty: float = 0.8

    def at_rows(self, rows: int) -> "CrfSettings":
        """Return the same for images of another height: reaches are scaled."""
        scale = rows / 240
        return replace(
            self,
            colour_reach_px=scale * self.colour_reach_px,
            smooth_reach_px=scale * self.smooth_reach_px,
        )


STANDARD = CrfSettings()


class ImageCrf:
    """The CRF of one image; its kernels, which take most of the time, are built once for all masks.

    Args:
        image: RGB, 0 to 255; 240 rows take about 0.1 s.
        settings: of the CRF.
    """

    def __init__(self, image: UInt8[np.ndarray, "h w 3"], settings: CrfSettings = STANDARD) -> None:
        height, width = image.shape[:2]
        self._settings = settings
        self._field = densecrf.DenseCRF2D(width, height, 2)
        if settings.smooth_weight:
            self._field.addPairwiseGaussian(
                sxy=settings.smooth_reach_px, compat=settings.smooth_weight
            )
        if settings.colour_weight:
            self._field.addPairwiseBilateral(
                sxy=settings.colour_reach_px,
                srgb=settings.colour_tolerance,
                rgbim=np.array(image, order="C"),  # it insists on an array it could write to
                compat=settings.colour_weight,
            )

    def refine(self, mask: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
        """Move a mask's outline to the edges of the image, by mean field; both of one size."""
        least, most = 1 - self._settings.certainty, self._settings.certainty
        foreground = np.clip(mask, least, most).astype(np.float32)
        self._field.setUnaryEnergy(unary_from_softmax(np.stack([1 - foreground, foreground])))
        marginals = np.asarray(self._field.inference(self._settings.iterations), np.float32)
        return marginals[1].reshape(mask.shape)


def refine(
    image: UInt8[np.ndarray, "h w 3"],
    mask: Float[np.ndarray, "h w"],
    settings: CrfSettings = STANDARD,
) -> Float[np.ndarray, "h w"]:
    """Move a mask's outline to the edges of the image, by mean field in a dense CRF.

    Args:
        image: RGB, 0 to 255; 240 rows take about 0.1 s.
        mask: probability of foreground, [0, 1].
        settings: of the CRF.

    Returns:
        Probability of foreground, [0, 1].
    """
    return ImageCrf(image, settings).refine(mask)


@torch.no_grad()
def refine_batch(
    images: Float[Tensor, "b 3 h w"],
    masks: Float[Tensor, "b 1 h w"],
    settings: CrfSettings = STANDARD,
) -> Float[Tensor, "b 1 h w"]:
    """Refine a batch of masks at once, on the device they lie on, as `refine` does one by one.

    Probabilities differ from those of `refine` by rounding: by less than 0.02 at any pixel, and
    less than 1e-5 on average. On CUDA the order of sums, and with it the last digits, varies from
    run to run unless PyTorch is asked for deterministic algorithms. No gradient passes.

    Args:
        images: RGB, [0, 1].
        masks: probability of foreground, [0, 1].
        settings: of the CRF, the same for all.

    Returns:
        Probability of foreground, [0, 1], float32.
    """
    pulls = _pulls(images.float(), settings)
    unary = masks.float().clamp(1 - settings.certainty, settings.certainty).logit().flatten(1)
    logits = unary
    for _ in range(settings.iterations):
        # Two labels, of which one is the other's complement: their difference says it all.
        lead = 2 * logits.sigmoid() - 1
        logits = unary + sum(pull.of(lead) for pull in pulls)
    return logits.sigmoid().view(masks.shape)


@torch.no_grad()
def refine_all(
    images: Float[Tensor, "b 3 h w"],
    masks: Float[Tensor, "b 1 h w"],
    settings: CrfSettings = STANDARD,
) -> Float[Tensor, "b 1 h w"]:
    """Refine a batch of masks by whichever implementation is the faster on its device.

    Args and result are those of `refine_batch`.
    """
    if masks.device.type != "cpu":
        return refine_batch(images, masks, settings)
    colours = (255 * images).round().byte().permute(0, 2, 3, 1).numpy()
    each = [
        torch.from_numpy(refine(colour, mask, settings))
        for colour, mask in zip(colours, masks[:, 0].float().numpy(), strict=True)
    ]
    return torch.stack(each)[:, None]


@dataclass(frozen=True, slots=True)
class _Pull:
    """One kernel: how the pixels around a pixel plead for their own label.

    lattice: neighbourhood of the pixels
    scale: makes the kernel's sum over all pixels about 1, alike for who pulls and who is pulled
    weight: strength
    """

    lattice: permutohedral.Lattice
    scale: Float[Tensor, "c n"]
    weight: float

    def of(self, lead: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
        """Return what the others add to each pixel's logit; lead: foreground minus background."""
        return self.weight * self.scale * self.lattice.filter(self.scale * lead)


def _pulls(images: Float[Tensor, "b 3 h w"], settings: CrfSettings) -> list[_Pull]:
    """Build the kernels there are; they depend on the images alone, not on the masks."""
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device).float()
    columns = torch.arange(width, device=images.device).float()
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy")).flatten(1)[None]
    pulls = []
    if settings.smooth_weight:
        # The same for every image.
        pulls.append(_pull(places / settings.smooth_reach_px, settings.smooth_weight))
    if settings.colour_weight:
        near = (places / settings.colour_reach_px).expand(len(images), -1, -1)
        alike = 255 * images.flatten(2) / settings.colour_tolerance
        pulls.append(_pull(torch.cat([near, alike], 1), settings.colour_weight))
    return pulls


def _pull(features: Float[Tensor, "c d n"], weight: float) -> _Pull:
    lattice = permutohedral.build(features)
    return _Pull(lattice, lattice.filter(torch.ones_like(features[:, 0])).rsqrt(), weight)
