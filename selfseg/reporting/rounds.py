"""The rounds of a bootstrap beside each other: what each view made of the same frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from rich.console import Console
from rich.progress import track

from selfseg.contracts import View
from selfseg.data.reading.collection import Collection
from selfseg.errors import UserError
from selfseg.experiment import Model, load_model, round_ends
from selfseg.prediction.segment import model_segmenter
from selfseg.reporting.glossary import VIEWS
from selfseg.reporting.looks import learned_views, look_at, spread
from selfseg.reporting.pictures import Look, Tile, agreement, tiles
from selfseg.training import checkpoint

VIDEOS = 6
"""Videos that are compared, each in a dozen pictures."""

TILE_WIDTH = 360
"""Pixels a picture is wide at most; the page shows five or so beside each other."""

GIVEN: dict[View, tuple[str, ...]] = {
    "dynamic": ("own motion", "flow"),
    "static": ("frame",),
    "fused": ("truth",),
}
"""What stands before a view's masks, the first that there is: what the view looks at, and before
the fused masks what they should be."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A view's mask after a round; `agreement` is J of this frame, None without a truth."""

    tile: Tile
    agreement: float | None


@dataclass(frozen=True, slots=True)
class Strip:
    """One view through the rounds.

    given: what it looks at; None where that cannot be shown
    cells: one for each round; None where the view had learned nothing yet
    """

    view: View
    given: Tile | None
    cells: list[Cell | None]

    @property
    def words(self) -> tuple[str, str]:
        """Who sees it, and by what."""
        return VIEWS[self.view]


@dataclass(frozen=True, slots=True)
class Matrix:
    """One frame: a strip for each view, through the rounds."""

    video: str
    frame: int
    width: int
    height: int
    rounds: list[int]
    strips: list[Strip]

    @property
    def heads(self) -> list[str]:
        """Name its columns of masks."""
        return [round_name(number) for number in self.rounds]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the page shows of the rounds; no matrices where there is nothing to compare.

    gaps: sentences about what could not be shown
    """

    matrices: list[Matrix] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


def round_name(number: int) -> str:
    """Say after what a model is as it is shown."""
    return f"after round {number}" if number else "before the rounds"


def compare(
    run_url: str,
    newest: Model,
    collection: Collection,
    videos: Sequence[str],
    device: torch.device,
) -> Comparison:
    """Look at the same frames through the models that each round left.

    Args:
        run_url: a run.
        newest: what its newest checkpoint holds.
        collection: what it learned from.
        videos: names of videos that can be read; some are chosen.
        device: where the models compute.

    Returns:
        Nothing before a first round is complete.
    """
    ends = {
        number: stop
        for number, stop in round_ends(newest.method.phases).items()
        if stop <= newest.step
    }
    if not any(ends):
        return Comparison()
    chosen = spread(videos, VIDEOS)
    found: dict[int, dict[str, dict[View, Look]]] = {}
    gaps = []
    for number, step in track(
        ends.items(), "Comparing rounds", console=Console(stderr=True), transient=True
    ):
        try:
            model = _load(run_url, step, device)
            found[number] = {name: _look(model, collection, name, device) for name in chosen}
        except UserError as error:
            gaps.append(f"The models {round_name(number)} are not shown: {error}")
    matrices = [draw({number: each[name] for number, each in found.items()}) for name in chosen]
    return Comparison(matrices if any(found) else [], gaps)


def draw(rounds: Mapping[int, Mapping[View, Look]]) -> Matrix:
    """Draw what was made of one frame, by round and view."""
    look = next(look for each in rounds.values() for look in each.values())
    shown = {name for names in GIVEN.values() for name in names}
    given = {tile.name: tile for tile in tiles(look, shown, width=TILE_WIDTH)}
    strips = [
        Strip(
            view,
            next((given[name] for name in GIVEN[view] if name in given), None),
            [_cell(number, each.get(view), VIEWS[view]) for number, each in rounds.items()],
        )
        for view in VIEWS
        if any(view in each for each in rounds.values())
    ]
    height, width = look.image.shape[:2]
    return Matrix(look.video, look.frame, width, height, list(rounds), strips)


def _cell(number: int, look: Look | None, words: tuple[str, str]) -> Cell | None:
    if look is None:
        return None
    (mask,) = tiles(look, ["prediction"], width=TILE_WIDTH)
    alt = f"{mask.alt}; {', '.join(words)}, {round_name(number)}"
    return Cell(Tile(mask.name, alt, mask.uri), agreement(look))


def _load(run_url: str, step: int, device: torch.device) -> Model:
    url = checkpoint.step_url(run_url, step)
    if url not in checkpoint.committed(run_url):
        raise UserError("their checkpoint is no longer in the run.")
    return load_model(url, device)


def _look(
    model: Model, collection: Collection, name: str, device: torch.device
) -> dict[View, Look]:
    middle = spread(collection.videos[name], 1)
    found: dict[View, Look] = {}
    for view in learned_views(model):
        segmenter = model_segmenter(model, gaps=None, device=device, view=view)
        (found[view],) = look_at(segmenter, collection, name, middle)
    return found
