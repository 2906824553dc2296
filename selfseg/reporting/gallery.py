"""The run's newest checkpoint looks at its own collection: which frames, and what it sees."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import track

from selfseg.data.collection import Collection
from selfseg.errors import UserError
from selfseg.experiment import load_model
from selfseg.prediction.collection_source import CollectionSource
from selfseg.prediction.segment import ModelSegmenter, model_segmenter
from selfseg.prediction.sources import SourceFrame
from selfseg.reporting.pictures import Gallery, Look, film, row
from selfseg.reporting.wording import count

Item = TypeVar("Item")

ROWS = 8
"""Videos in the grid."""

FILMS = 3
"""Videos that play; each is about 1 MB of the page."""

FILM_FRAMES = 24
"""Consecutive frames of a film."""


def spread(items: Sequence[Item], number: int) -> list[Item]:
    """Choose at most `number` items evenly, in order: of 5 items for 2, the second and fourth."""
    number = min(number, len(items))
    return [items[(2 * k + 1) * len(items) // (2 * number)] for k in range(number)]


def hang(run_url: str, collection_url: str, manifest_id: str) -> Gallery:
    """Show a run's collection through its newest checkpoint.

    Whatever is out of reach is named in the gallery; a report without pictures is still one.
    """
    try:
        collection = Collection.open(collection_url, manifest_id)
    except UserError as error:
        return Gallery(f"No pictures, because the collection is out of reach: {error}")
    videos = [(name, len(ordinals)) for name, ordinals in collection.videos.items()]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        segmenter = model_segmenter(load_model(run_url, device), gaps=None, device=device)
    except UserError as error:
        return Gallery(f"No pictures, because no model could be loaded: {error}", videos=videos)
    return _show(segmenter, collection, videos)


def _show(
    segmenter: ModelSegmenter, collection: Collection, videos: list[tuple[str, int]]
) -> Gallery:
    chosen = spread(list(collection.videos), ROWS)
    playing = spread(chosen, FILMS)
    rows, films, gaps = [], [], []
    for name in track(chosen, "Looking at videos", console=Console(stderr=True), transient=True):
        ordinals = collection.videos[name]
        try:
            rows += [row(look) for look in _looks(segmenter, collection, name, spread(ordinals, 1))]
            if name in playing:
                start = max(0, (len(ordinals) - FILM_FRAMES) // 2)
                part = ordinals[start : start + FILM_FRAMES]
                films.append(film(list(_looks(segmenter, collection, name, part))))
        except UserError as error:
            gaps.append(f"{name} is not shown: {error}")
    note = (
        f"{count(len(rows))} of {count(len(videos))} videos, spread evenly over the collection and "
        "each at its middle frame; nobody picked them. In motion, hue is direction and strength "
        "is speed. Click a picture to enlarge it."
    )
    return Gallery(note, rows, films, videos, gaps)


def _looks(
    segmenter: ModelSegmenter, collection: Collection, name: str, ordinals: Iterable[int]
) -> Iterator[Look]:
    source = CollectionSource(collection.url, collection.manifest_id, name, tuple(ordinals))
    has_camera = segmenter.preparation.camera != "none"
    for frame, probability in segmenter.masks(source):
        yield _look(name, frame, probability, has_camera=has_camera)


def _look(
    video: str, frame: SourceFrame, probability: Float[np.ndarray, "..."], *, has_camera: bool
) -> Look:
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
    )
