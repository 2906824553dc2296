"""What prediction leaves behind: masks, overlays, and a line for each frame; boxes where found."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from selfseg import storage
from selfseg.config import Config
from selfseg.contracts import Detections
from selfseg.data.format.schema import encode_image, encode_mask
from selfseg.errors import UserError
from selfseg.evaluation.boxes import clipped
from selfseg.evaluation.protocols import binary_mask
from selfseg.evaluation.thresholds import FIXED
from selfseg.ops.colours import overlay
from selfseg.ops.drawing import draw_detections
from selfseg.ops.masks import bounding_box
from selfseg.prediction.coco import FrameObjects, dataset, found_object
from selfseg.prediction.detection import in_pixels
from selfseg.prediction.film import VIDEO
from selfseg.prediction.sources import SourceFrame

LINES = "predictions.jsonl"

DETECTIONS = "detections.json"
"""COCO's format; there where objects were found one by one."""

OVERLAY_QUALITY = 88


class Detection(Config):
    """One object of a line."""

    box: tuple[float, float, float, float]
    """As it was predicted: left, top, width, height; pixels of the source, within the image."""
    confidence: float
    """How sure the method is that something is there, [0, 1]."""


class FramePrediction(Config):
    """One line of predictions.jsonl."""

    source: str
    frame: str
    """Its name among the source's frames."""
    number: int
    time_s: float | None
    foreground_share: float
    """Area of the mask over the image's, [0, 1]."""
    box: tuple[int, int, int, int] | None
    """Around the mask: left, top, width, height; pixels of the source. Null: an empty mask."""
    confidence: float
    """Mean foreground probability within the mask, [0.5, 1]; 0: an empty mask."""
    mask: str
    """PNG, 0 and 255, of the source's size; relative to this file."""
    overlay: str
    """JPEG."""
    detections: tuple[Detection, ...] = ()
    """Where objects were found one by one, the most confident first."""

    def as_text(self) -> str:
        """Return the line; it says nothing of detections where there are none."""
        return self.model_dump_json(exclude=None if self.detections else {"detections"}) + "\n"


@dataclass(frozen=True, slots=True)
class Written:
    """What the files of all frames together say of one; `objects`: for that of detections."""

    line: FramePrediction
    objects: FrameObjects


def claim(output: str) -> None:
    """See that an output folder is empty or holds earlier predictions, which are deleted.

    Raises:
        UserError: it holds something else, or cannot be written.
    """
    present = storage.listing(output)
    if present and LINES not in present:
        raise UserError(
            f"{output}: holds {present[0]}, and no {LINES}; --output takes an empty or a new folder"
        )
    lines = storage.join(output, LINES)
    for line in storage.read(lines).splitlines() if present else []:
        earlier = FramePrediction.model_validate_json(line)
        for name in (earlier.mask, earlier.overlay, f"{earlier.source}/{VIDEO}"):
            storage.delete(storage.join(output, name))
    storage.delete(storage.join(output, DETECTIONS))
    # There from the start, so that a run that was interrupted can be repeated.
    storage.write(lines, b"")


def write_frame(
    output: str,
    source: str,
    frame: SourceFrame,
    masks: Sequence[Float[np.ndarray, "rows columns"]],
    found: Detections | None = None,
) -> tuple[Written, UInt8[np.ndarray, "h w 3"]]:
    """Write a frame's mask and overlay; return what was written, and the overlay.

    Args:
        output: folder or s3:// URL.
        source: folder below it.
        frame: what was segmented.
        masks: foreground probability, [0, 1], of any size: of the frame, or of each object.
        found: the objects, where it is known; their masks are those of `masks`.
    """
    size = (frame.height, frame.width)
    separate = [binary_mask(mask, *size) for mask in masks]
    together = _any_of(separate, size)
    name = f"{source}/{frame.name}"
    line = FramePrediction(
        source=source,
        frame=frame.name,
        number=frame.number,
        time_s=None if frame.time_s is None else round(frame.time_s, 4),
        foreground_share=round(float(together.mean()), 5),
        box=bounding_box(together),
        confidence=_confidence(masks),
        mask=f"{source}/masks/{frame.name}.png",
        overlay=f"{source}/overlays/{frame.name}.jpg",
        detections=_detections(found, *size) if found else (),
    )
    boxes = zip(line.detections, separate, strict=True) if found else ()
    objects = tuple(found_object(each.box, each.confidence, mask) for each, mask in boxes)
    shown = _shown(frame, masks, found)
    storage.write(storage.join(output, line.mask), encode_mask(together))
    storage.write(storage.join(output, line.overlay), encode_image(shown, OVERLAY_QUALITY))
    return Written(line, FrameObjects(name, line.mask, *size, objects)), shown


def write_lines(output: str, lines: Sequence[FramePrediction]) -> None:
    """Write the line of every frame."""
    text = "".join(line.as_text() for line in lines)
    storage.write(storage.join(output, LINES), text.encode())


def write_detections(output: str, frames: Sequence[FrameObjects]) -> None:
    """Write all objects of all frames, for whatever reads COCO's format."""
    content = json.dumps(dataset(frames)).encode()
    storage.write(storage.join(output, DETECTIONS), content + b"\n")


def _detections(found: Detections, height: int, width: int) -> tuple[Detection, ...]:
    detections = []
    for box, confidence in zip(found.boxes, found.confidence.tolist(), strict=True):
        sides = clipped(in_pixels(box, height, width), height, width)
        left, top, across, down = (round(side, 2) for side in sides)
        rounded = (left, top, across, down)
        detections.append(Detection(box=rounded, confidence=round(confidence, 4)))
    return tuple(detections)


def _shown(
    frame: SourceFrame,
    masks: Sequence[Float[np.ndarray, "rows columns"]],
    found: Detections | None,
) -> UInt8[np.ndarray, "h w 3"]:
    size = frame.original.shape[:2]
    shown = overlay(frame.original, _any_of([binary_mask(mask, *size) for mask in masks], size))
    if found is None:
        return shown
    return draw_detections(
        shown,
        boxes=found.boxes.numpy(),
        cells=found.cells.numpy(),
        centres=found.centres.numpy(),
        probability=found.probability.numpy(),
    )


def _any_of(
    masks: Sequence[Bool[np.ndarray, "h w"]], size: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    return np.logical_or.reduce([np.zeros(size, bool), *masks])


def _confidence(masks: Sequence[Float[np.ndarray, "rows columns"]]) -> float:
    if not masks:
        return 0.0
    highest = np.maximum.reduce(list(masks))
    inside = highest[highest > FIXED]
    return round(float(inside.mean()), 4) if inside.size else 0.0
