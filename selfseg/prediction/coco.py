"""What was found, as COCO keeps it: one JSON file of frames, boxes, scores and masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from pycocotools import mask as coco_mask

from selfseg.evaluation.boxes import Box

CATEGORY = {"id": 1, "name": "object", "supercategory": "object"}
"""Nothing here knows what an object is called."""


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One object of a frame, in pixels of the source.

    box: within the image
    confidence: [0, 1]
    mask: run lengths as COCO compresses them
    area: of the mask
    """

    box: Box
    confidence: float
    mask: dict[str, Any]
    area: int


@dataclass(frozen=True, slots=True)
class FrameObjects:
    """What was found in a frame, the most confident first.

    name: of the frame among all that were predicted
    mask: name of the PNG that shows all its objects
    """

    name: str
    mask: str
    height: int
    width: int
    objects: tuple[FoundObject, ...]


def found_object(
    box: Box, confidence: float, mask: Bool[np.ndarray, "height width"]
) -> FoundObject:
    """Compress an object's mask.

    Args:
        box: left, top, width, height; pixels of the mask, within it.
        confidence: [0, 1].
        mask: of the source's size.
    """
    encoded: Any = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    # JSON knows no bytes.
    text = {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}
    return FoundObject(box, confidence, text, int(mask.sum()))


def dataset(frames: Sequence[FrameObjects]) -> dict[str, Any]:
    """Return a data set that pycocotools loads; its annotations are also results, by `score`."""
    images = [
        {
            "id": number,
            "file_name": frame.name,
            "mask_file_name": frame.mask,
            "height": frame.height,
            "width": frame.width,
        }
        for number, frame in enumerate(frames, 1)
    ]
    found = [(number, each) for number, frame in enumerate(frames, 1) for each in frame.objects]
    annotations = [
        {
            "id": key,
            "image_id": number,
            "category_id": CATEGORY["id"],
            "bbox": list(each.box),
            "score": each.confidence,
            "segmentation": each.mask,
            "area": each.area,
            "iscrowd": 0,
        }
        for key, (number, each) in enumerate(found, 1)
    ]
    return {"images": images, "annotations": annotations, "categories": [CATEGORY]}
