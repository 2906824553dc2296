"""An image searched several times, mirrored and shifted, and what was found brought together."""

from dataclasses import dataclass, fields
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.ops import box_convert, box_iou, nms

from selfseg.contracts import Detections, Detector
from selfseg.ops.boxes import crop

SHIFT = 0.05
"""How far an image is shifted, as a share of its sides."""

SAME = 0.5
"""Intersection over union from which boxes found in different copies are of one object."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """An image is moved to the left and up by shares of its sides, and then mirrored."""

    left: float = 0.0
    up: float = 0.0
    mirrored: bool = False

    def of(self, image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
        """Return the copy; what lies beyond the image has the colours of its edge."""
        moved = self._moved(image, 1, "border")
        return moved.flip(-1) if self.mirrored else moved

    def undone(self, found: Detections) -> Detections:
        """Return what was found in the copy where it is in the image."""
        left, top, across, down = found.boxes.unbind(1)
        x, y = found.centres.unbind(1)
        maps = torch.cat([found.masks, found.bumps]).float()
        if self.mirrored:
            left, x, maps = 1 - left - across, 1 - x, maps.flip(-1)
        masks, bumps = self._moved(maps, -1, "zeros").tensor_split(2)
        return Detections(
            boxes=torch.stack([left + self.left, top + self.up, across, down], 1),
            confidence=found.confidence,
            masks=masks,
            bumps=bumps,
            cells=found.cells,
            centres=torch.stack([x + self.left, y + self.up], 1),
            probability=found.probability,
        )

    def _moved(self, image: Tensor, way: int, beyond: Literal["zeros", "border"]) -> Tensor:
        if not image.numel() or not (self.left or self.up):
            return image
        window = [[0.5 + way * self.left, 0.5 + way * self.up, 1, 1]]
        moved = crop(image[None], image.new_tensor(window), *image.shape[-2:], beyond=beyond)
        return moved[0]


AUGMENTATIONS = tuple(
    Augmentation(left, up, mirrored)
    for mirrored in (False, True)
    for left, up in ((0.0, 0.0), *((x, y) for x in (-SHIFT, SHIFT) for y in (-SHIFT, SHIFT)))
)
"""The image itself, the image towards its four corners, and the mirror images of these."""


def detect_augmented(
    detector: Detector, image: Float[Tensor, "3 h w"], *, objects: int = 1
) -> Detections:
    """Find at most `objects`, each as the copies of an image have it on average.

    Boxes of one object are averaged by their confidence, which is weighted boxes fusion (Solovyev
    et al. 2021), and its masks with them. Its own confidence is the mean over all copies, 0 in
    one in which it was not found. The cells of all copies together are the grid.
    """
    copies = [
        each.undone(detector.detect(each.of(image), objects=objects)) for each in AUGMENTATIONS
    ]
    every = {
        part.name: [getattr(found, part.name) for found in copies] for part in fields(copies[0])
    }
    before = torch.tensor([0, *(len(centres) for centres in every["centres"][:-1])]).cumsum(0)
    every["cells"] = [cells + int(n) for cells, n in zip(every["cells"], before, strict=True)]
    every["probability"] = [each / len(copies) for each in every["probability"]]
    found = Detections(**{name: torch.cat(parts) for name, parts in every.items()})
    if not len(found.boxes):
        return found

    corners = box_convert(found.boxes, "xywh", "xyxy")
    first = nms(corners, found.confidence, SAME)
    # A box that overlaps several of the first speaks for the one that it overlaps most.
    belongs = box_iou(corners[first], corners)
    share = found.confidence * (belongs == belongs.amax(0))
    confidence = share.sum(1)
    order = confidence.argsort(descending=True, stable=True)[:objects]
    confidence, share = confidence[order], share[order]
    share = share / share.sum(1, keepdim=True)
    return Detections(
        boxes=share @ found.boxes,
        confidence=confidence / len(copies),
        masks=torch.einsum("kn,nhw->khw", share, found.masks),
        bumps=torch.einsum("kn,nhw->khw", share, found.bumps),
        cells=found.cells[first[order]],
        centres=found.centres,
        probability=found.probability,
    )
