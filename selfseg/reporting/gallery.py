"""The run's newest checkpoint looks at its own collection: which frames, and what it sees."""

from dataclasses import dataclass, field

import torch
from rich.console import Console
from rich.progress import track

from selfseg.contracts import Detector, View
from selfseg.data.reading.collection import Collection
from selfseg.errors import UserError
from selfseg.experiment import Model, load_model
from selfseg.prediction.detection import object_segmenter
from selfseg.prediction.segment import model_segmenter
from selfseg.reporting.glossary import VIEWS
from selfseg.reporting.looks import learned_views, look_at, spread
from selfseg.reporting.pictures import Film, Row, film, row
from selfseg.reporting.rounds import Comparison, compare
from selfseg.reporting.wording import count

ROWS = 8
"""Videos in the grid."""

FILMS = 3
"""Videos that play; each is about 1 MB of the page."""

FILM_FRAMES = 24
"""Consecutive frames of a film."""

MOTION = "In motion, hue is direction and strength is speed. "

BOXES = (
    "Blue dots are the grid's cells, as large as they are probable; a green line leads from the "
    "most probable one to its box. "
)


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures, and what is known of the collection they come from.

    videos: name and number of frames of each; empty when the collection cannot be read
    note: how the frames were chosen, or why there are none
    gaps: sentences about what could not be shown
    """

    note: str
    rows: list[Row] = field(default_factory=list)
    films: list[Film] = field(default_factory=list)
    videos: list[tuple[str, int]] = field(default_factory=list)
    rounds: Comparison = field(default_factory=Comparison)
    gaps: list[str] = field(default_factory=list)


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
        model = load_model(run_url, device)
    except UserError as error:
        return Gallery(f"No pictures, because no model could be loaded: {error}", videos=videos)
    views = learned_views(model)
    if not views:
        return Gallery(
            "No pictures yet, because inpainters are all that has been trained, and they outline "
            "nothing.",
            videos=videos,
        )
    chosen, view = spread(list(collection.videos), ROWS), views[0]
    by = f", {' '.join(VIEWS[view])}" if len(model.method.views) > 1 else ""
    rows, films, gaps = _show(model, view, collection, chosen, device)
    moving = any(tile.name == "flow" for row in rows for tile in row.tiles)
    note = (
        f"{count(len(rows))} of {count(len(videos))} videos, spread evenly over the collection and "
        f"each at its middle frame; nobody picked them. {MOTION if moving else ''}"
        f"Predictions are the newest checkpoint's{by}. "
        f"{BOXES if isinstance(model.method, Detector) else ''}Click a picture to enlarge it."
    )
    rounds = compare(run_url, model, collection, [row.video for row in rows], device)
    return Gallery(note, rows, films, videos, rounds, gaps)


def _show(
    model: Model, view: View, collection: Collection, names: list[str], device: torch.device
) -> tuple[list[Row], list[Film], list[str]]:
    segmenter = object_segmenter(model_segmenter(model, gaps=None, device=device, view=view))
    playing = spread(names, FILMS)
    rows, films, gaps = [], [], []
    for name in track(names, "Looking at videos", console=Console(stderr=True), transient=True):
        ordinals = collection.videos[name]
        try:
            middle = spread(ordinals, 1)
            rows += [row(look) for look in look_at(segmenter, collection, name, middle)]
            if name in playing:
                start = max(0, (len(ordinals) - FILM_FRAMES) // 2)
                part = ordinals[start : start + FILM_FRAMES]
                films.append(film(list(look_at(segmenter, collection, name, part))))
        except UserError as error:
            gaps.append(f"{name} is not shown: {error}")
    return rows, films, gaps
