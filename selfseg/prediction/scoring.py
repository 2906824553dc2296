"""What a subject sees of one video or image, against the truth."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from selfseg.contracts import Detections
from selfseg.errors import UserError
from selfseg.evaluation.boxes import FoundBox
from selfseg.evaluation.protocols import Measured, Protocol
from selfseg.evaluation.scores import Score, average
from selfseg.evaluation.thresholds import similarities
from selfseg.ops.masks import bounding_box
from selfseg.prediction.detection import in_pixels, looked_at, together
from selfseg.prediction.segment import Segmenter, refined
from selfseg.prediction.sources import AnnotatedSource, SourceFrame

Curve = Float64[np.ndarray, " thresholds"]
"""Mean J of a video at each threshold that may be chosen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that counts, with all that is compared with its truth.

    truth, void: at the truth's size
    mask: soft, of any size, refined if that was asked for
    control: the bare bump in the same box, treated alike; None: nothing looks for boxes
    box: the most confident one; None: nothing looks for boxes
    """

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
    for seen in counted_frames(segmenter, source, protocol, crf=crf):
        measured.append(_measure(seen, protocol))
        if seen.box is not None:
            boxes.append(seen.box)
    return average(source.name, measured, boxes)


def sweep_source(
    segmenter: Segmenter, source: AnnotatedSource, protocol: Protocol, *, crf: bool
) -> tuple[Curve, Curve | None]:
    """Measure mean J at every threshold that may be chosen, in one pass over a video's frames.

    Returns:
        Of the masks, and of the control beside them if there is one.

    Raises:
        UserError: no frame counts.
    """
    masks, controls = [], []
    for seen in counted_frames(segmenter, source, protocol, crf=crf):
        masks.append(similarities(seen.mask, seen.truth, seen.void))
        if seen.control is not None:
            controls.append(similarities(seen.control, seen.truth, seen.void))
    return np.mean(masks, axis=0), np.mean(controls, axis=0) if controls else None


def counted_frames(
    segmenter: Segmenter, source: AnnotatedSource, protocol: Protocol, *, crf: bool
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
            yield _seen(frame, frame.truth, mask, found, crf=crf)
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
    *,
    crf: bool,
) -> Seen:
    def final(soft: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "..."]:
        return refined(frame.image, soft) if crf else soft

    if found is None:
        return Seen(truth, frame.void, final(mask))
    control = final(together(found.bumps[:1]))
    return Seen(truth, frame.void, final(mask), control, _first_box(found, truth))


def _first_box(found: Detections, truth: Bool[np.ndarray, "height width"]) -> FoundBox:
    height, width = truth.shape
    there = bounding_box(truth)
    if not len(found.boxes):
        return FoundBox(None, 0.0, there, height, width)
    box = in_pixels(found.boxes[0], height, width)
    return FoundBox(box, float(found.confidence[0]), there, height, width)


def _measure(seen: Seen, protocol: Protocol) -> Measured:
    measured = protocol.score(seen.mask, seen.truth, seen.void)
    if seen.control is None:
        return measured
    return measured | {"j_bump": protocol.score_control(seen.control, seen.truth, seen.void)}
