"""How well one object's box is found in each frame; pixels of the truth, by pycocotools.

All objects of a frame's truth count as one, whose true box is the tight one around them all.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Number = int | float
Box = tuple[Number, Number, Number, Number]
"""Left, top, width, height."""

GOOD_IOU = 0.5
"""Intersection over union from which a box counts as right."""

LABELS = {"box_hit": "box hit", "box_iou": "box IoU", "box_iou50": f"box IoU >= {GOOD_IOU}"}
"""What tables call the measures of frames."""

RULES = (
    "the most confident box of a frame, cut off at the image's border, against the tight box "
    "around its truth, where there is one (box hit: the whole box's centre lies within it); "
    f"mAP at IoU {GOOD_IOU} over all frames together"
)


@dataclass(frozen=True, slots=True)
class FoundBox:
    """The most confident box of one frame, beside the true one.

    box: as predicted, may reach beyond the image; None: nothing was found
    confidence: [0, 1]
    truth: None: nothing is there
    height, width: of the image
    """

    box: Box | None
    confidence: float
    truth: Box | None
    height: int
    width: int

    @property
    def hit(self) -> bool:
        """Whether the predicted box's centre lies in the true box."""
        if self.box is None or self.truth is None:
            return False
        left, top, width, height = self.box
        x, y = left + width / 2, top + height / 2
        true_left, true_top, true_width, true_height = self.truth
        across = true_left <= x <= true_left + true_width
        return across and true_top <= y <= true_top + true_height

    @property
    def iou(self) -> float:
        """Intersection over union of the two boxes, the predicted one within the image."""
        if self.box is None or self.truth is None:
            return 0.0
        seen = clipped(self.box, self.height, self.width)
        return float(
            np.ravel(coco_mask.iou(np.array([seen]), np.array([self.truth], float), [0]))[0]
        )


def clipped(box: Box, height: int, width: int) -> Box:
    """Cut a box off at the border of an image of `height` x `width`."""
    left, top, box_width, box_height = box
    x, right = (min(max(end, 0.0), float(width)) for end in (left, left + box_width))
    y, bottom = (min(max(end, 0.0), float(height)) for end in (top, top + box_height))
    return x, y, right - x, bottom - y


def box_measures(found: Sequence[FoundBox]) -> dict[str, float]:
    """Average over the frames of a sequence in which something is there; empty if there is none."""
    there = [each for each in found if each.truth is not None]
    if not there:
        return {}
    ious = np.array([each.iou for each in there])
    return {
        "box_hit": float(np.mean([each.hit for each in there])),
        "box_iou": float(ious.mean()),
        "box_iou50": float((ious >= GOOD_IOU).mean()),
    }


def mean_average_precision(found: Sequence[FoundBox]) -> float:
    """Return COCO's mAP at IoU 0.5 over all frames: the area under precision against recall.

    1: every box is right, and as many as there are objects. 0: none is. Boxes in frames without
    an object count against it, the more the higher their confidence.

    Args:
        found: of every frame; in one at least, something is there.
    """
    truths, boxes = COCO(), []
    for number, each in enumerate(found):
        if each.box is not None:
            box = clipped(each.box, each.height, each.width)
            boxes.append({**_entry(number, box), "score": each.confidence})
    if not boxes:
        return 0.0
    dataset: Any = {
        "images": [{"id": number} for number in range(len(found))],
        "categories": [{"id": 1}],
        "annotations": [
            # COCOeval takes the number 0 for "not matched".
            {**_entry(number, each.truth), "id": number + 1, "iscrowd": 0}
            for number, each in enumerate(found)
            if each.truth is not None
        ],
    }
    truths.dataset = dataset
    given: Any = boxes  # the published types know files alone
    with contextlib.redirect_stdout(io.StringIO()):  # it says what it does, always
        truths.createIndex()
        scoring = COCOeval(truths, truths.loadRes(given), "bbox")
        scoring.params.iouThrs = np.array([GOOD_IOU])
        scoring.evaluate()
        scoring.accumulate()
    every_area, most_boxes = 0, -1
    return float(scoring.eval["precision"][0, :, 0, every_area, most_boxes].mean())


def _entry(number: int, box: Box) -> dict[str, Any]:
    return {"image_id": number, "category_id": 1, "bbox": list(box), "area": box[2] * box[3]}
