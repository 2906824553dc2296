"""Frames of a run's collection as a model sees them, chosen without looking at them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from selfseg.contracts import View
from selfseg.data.reading.collection import Collection
from selfseg.experiment import Model
from selfseg.prediction.collection_source import CollectionSource
from selfseg.prediction.detection import DetectorSegmenter, Looked, looked_at
from selfseg.prediction.segment import ModelSegmenter
from selfseg.reporting.pictures import Look

Item = TypeVar("Item")

INPAINTERS = "inpainters"
"""Name of the phase in which the proposal method has learned nothing else."""


def spread(items: Sequence[Item], number: int) -> list[Item]:
    """Choose at most `number` items evenly, in order: of 5 items for 2, the second and fourth."""
    number = min(number, len(items))
    return [items[(2 * k + 1) * len(items) // (2 * number)] for k in range(number)]


def learned_views(model: Model) -> tuple[View, ...]:
    """Return the views a model has learned so far, the best one for a video first.

    Before the first round of a bootstrap only the dynamic model has been taught anything;
    inpainters outline nothing.
    """
    method = model.method
    if any(phase.name == INPAINTERS and model.step <= phase.stop for phase in method.phases):
        return ()
    if any(phase.completes == 0 and model.step <= phase.stop for phase in method.phases):
        return ("dynamic",)
    return method.views


def look_at(
    segmenter: ModelSegmenter | DetectorSegmenter,
    collection: Collection,
    name: str,
    ordinals: Iterable[int],
) -> Iterator[Look]:
    """Show a model frames of a video.

    Raises:
        UserError: they cannot be read.
    """
    source = CollectionSource(collection.url, collection.manifest_id, name, tuple(ordinals))
    has_camera = segmenter.preparation.camera != "none"
    for looked in looked_at(segmenter, source):
        yield _look(name, looked, has_camera=has_camera)


def _look(video: str, looked: Looked, *, has_camera: bool) -> Look:
    frame, probability, found = looked
    pair = frame.pairs[0] if frame.pairs else None
    return Look(
        video=video,
        frame=frame.number,
        time_s=frame.time_s or 0.0,
        image=frame.image,
        flow=pair.flow if pair else None,
        own_motion=pair.flow - pair.camera if pair and has_camera else None,
        probability=probability,
        truth=frame.truth,
        found=found,
    )
