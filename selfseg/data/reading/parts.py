"""A worker's parts of the global batches, each read by its number: what a loader process does."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from selfseg.data.reading.augment import draw_pair
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.course import Segment
from selfseg.data.reading.order import Sample
from selfseg.data.reading.pairs import Stack, stacked
from selfseg.data.reading.selection import DataConfig
from selfseg.errors import UserError


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be read, and by whom; see `selfseg.data.reading.loader.batches`."""

    config: DataConfig
    seed: int
    rank: int
    world_size: int
    annotated: bool
    moving: bool
    background: bool
    starts: Sequence[int]


class Parts:
    """One worker's part of each global batch, by its number."""

    def __init__(self, collection: Collection, asked: Asked, course: Sequence[Segment]) -> None:
        self.collection, self.asked, self.course = collection, asked, course
        self.starts = [segment.start for segment in course]
        if asked.background:  # or say at once that there is none
            collection.background(course[0].first_ordinal)

    def segment(self, step: int) -> Segment:
        """Return the segment that a step lies in."""
        return self.course[bisect_right(self.starts, step) - 1]

    def samples(self, step: int) -> tuple[Sample, ...]:
        """Return this worker's part of a batch."""
        asked = self.asked
        return self.segment(step).part(step, rank=asked.rank, world_size=asked.world_size)

    def ordinals(self, step: int) -> list[int]:
        """Return the ordinals of this worker's part of a batch."""
        return [sample.ordinal for sample in self.samples(step)]

    def read(self, step: int) -> Stack | UserError:
        """Read one; a user's mistake is returned, to be raised where it is to be seen."""
        asked, config, segment = self.asked, self.asked.config, self.segment(step)
        try:
            pairs = [
                draw_pair(
                    self.collection,
                    sample.ordinal,
                    stream=(segment.seed, sample.epoch, "augmentation"),
                    gaps=config.gaps,
                    camera=config.camera,
                    height=config.height,
                    width=config.width,
                    augmentation=config.augmentation,
                    annotated=asked.annotated,
                    moving=asked.moving,
                    background=asked.background,
                )
                for sample in self.samples(step)
            ]
            return stacked(pairs)
        except UserError as error:
            return error
