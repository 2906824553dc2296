"""What a subject sees of one video or image, against the truth."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, UInt8

from selfseg.contracts import Detections
from selfseg.errors import UserError
from selfseg.evaluation.boxes import FoundBox
from selfseg.evaluation.protocols import Measured, Protocol
from selfseg.evaluation.scores import Score, average
from selfseg.evaluation.thresholds import COARSE_GRID, FIXED, GRID, similarities
from selfseg.ops.masks import bounding_box
from selfseg.prediction.detection import in_pixels, looked_at, together
from selfseg.prediction.segment import Refiner, Segmenter
from selfseg.prediction.sources import AnnotatedSource, SourceFrame

Curve = Float64[np.ndarray, " thresholds"]
"""Mean J of a video at each threshold that may be chosen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that counts, with all that is compared with its truth.

    image: what was looked at
    truth, void: at the truth's size
    mask: soft, of any size
    control: the bare bump in the same box, to be treated alike; None: nothing looks for boxes
    box: the most confident one; None: nothing looks for boxes
    """

    image: UInt8[np.ndarray, "rows columns 3"]
    truth: Bool[np.ndarray, "height width"]
    void: Bool[np.ndarray, "height width"] | None
    mask: Float[np.ndarray, "h w"]
    control: Float[np.ndarray, "h w"] | None = None
    box: FoundBox | None = None


def score_source(
    segmenter: Segmenter, source: AnnotatedSource, protocol: Protocol, *, crf: bool
) -> Score:
    """Score what a benchmark shows of one video, or an image.

    Raises:
        UserError: no frame counts.
    """
    measured, boxes = [], []
    for seen in counted_frames(segmenter, source, protocol):
        measured.append(_measure(seen, protocol, crf=crf))
        if seen.box is not None:
            boxes.append(seen.box)
    return average(source.name, measured, boxes)


def sweep_source(
    segmenter: Segmenter, source: AnnotatedSource, protocol: Protocol, *, crf: bool
) -> tuple[Curve, Curve | None]:
    """Measure mean J at every threshold that may be chosen, in one pass over a video's frames.

    Args:
        segmenter: what looks.
        source: a video or an image.
        protocol: which frames count.
        crf: thresholds are those of COARSE_GRID, and a CRF refines what is told apart there;
            otherwise they are those of GRID.

    Returns:
        Of the masks, and of the control beside them if there is one.

    Raises:
        UserError: no frame counts.
    """
    masks, controls = [], []
    for seen in counted_frames(segmenter, source, protocol):
        refiner = Refiner(seen.image) if crf else None
        masks.append(_curve(seen, seen.mask, refiner))
        if seen.control is not None:
            controls.append(_curve(seen, seen.control, refiner))
    return np.mean(masks, axis=0), np.mean(controls, axis=0) if controls else None


def counted_frames(
    segmenter: Segmenter, source: AnnotatedSource, protocol: Protocol
) -> Iterator[Seen]:
    """Yield what is compared with the truth, of every frame that counts.

    Raises:
        UserError: none does.
    """
    any_counts = False
    for frame, mask, found in looked_at(segmenter, source):
        shown = source.shown is None or frame.number in source.shown
        if shown and frame.truth is not None:
            any_counts = True
            yield _seen(frame, frame.truth, mask, found)
    if not any_counts:
        raise UserError(
            f"{source.name}: no frame with a mask that counts: {protocol.statement}; "
            "give it masks or leave it out"
        )


def _seen(
    frame: SourceFrame,
    truth: Bool[np.ndarray, "height width"],
    mask: Float[np.ndarray, "h w"],
    found: Detections | None,
) -> Seen:
    if found is None:
        return Seen(frame.image, truth, frame.void, mask)
    control = together(found.bumps[:1])
    return Seen(frame.image, truth, frame.void, mask, control, _first_box(found, truth))


def _first_box(found: Detections, truth: Bool[np.ndarray, "height width"]) -> FoundBox:
    height, width = truth.shape
    there = bounding_box(truth)
    if not len(found.boxes):
        return FoundBox(None, 0.0, there, height, width)
    box = in_pixels(found.boxes[0], height, width)
    return FoundBox(box, float(found.confidence[0]), there, height, width)


def _measure(seen: Seen, protocol: Protocol, *, crf: bool) -> Measured:
    refiner = Refiner(seen.image) if crf else None

    def final(soft: Float[np.ndarray, "h w"], threshold: float) -> Float[np.ndarray, "..."]:
        return refiner.refined(soft, threshold) if refiner else soft

    thresholds = protocol.thresholds
    mask = final(seen.mask, thresholds.mask)
    measured = protocol.score(mask, seen.truth, seen.void)
    if seen.control is None:
        return measured
    control = final(seen.control, thresholds.control)
    return measured | {"j_bump": protocol.score_control(control, seen.truth, seen.void)}


def _curve(seen: Seen, soft: Float[np.ndarray, "h w"], refiner: Refiner | None) -> Curve:
    if refiner is None:
        return similarities(soft, seen.truth, seen.void)
    masks = (refiner.refined(soft, threshold) for threshold in COARSE_GRID)
    half = GRID.index(FIXED)
    return np.array([similarities(mask, seen.truth, seen.void)[half] for mask in masks])
