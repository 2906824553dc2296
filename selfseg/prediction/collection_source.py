"""Videos of a collection as sources: frames and motion as they were stored."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from selfseg.data.format.schema import IMAGE, MASK, decode_image, decode_mask
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.pairs import Pair, pairs_from, read_pair
from selfseg.errors import UserError
from selfseg.prediction.sources import HOMOGRAPHY_GAP, Preparation, SourceFrame


@dataclass(frozen=True, slots=True)
class CollectionSource:
    """One video of a collection, with the motion that was stored.

    ordinals: its frames in order
    masked: numbers of the frames that have a truth
    shown: numbers of the frames that are shown; None: all
    """

    url: str
    manifest_id: str
    name: str
    ordinals: tuple[int, ...]
    masked: frozenset[int] = frozenset()
    still: bool = False
    shown: frozenset[int] | None = None

    @property
    def num_frames(self) -> int:
        """All that were ingested."""
        return len(self.ordinals)

    def annotated(self) -> frozenset[int]:
        """Return the numbers of the frames that were ingested with a mask."""
        return self.masked

    def only(self, numbers: frozenset[int]) -> Self:
        """Leave out all other frames."""
        return replace(self, shown=numbers)

    def frames(self, preparation: Preparation) -> Iterator[SourceFrame]:
        """Read samples; what was not stored is not computed again."""
        collection = Collection.open(self.url, self.manifest_id)
        stored = collection.manifest.settings
        moving = preparation.ingest.flow != "none"
        if moving and not set(preparation.gaps) <= set(stored.gaps):
            raise UserError(
                f"{self.url}: holds motion over {list(stored.gaps)} frames, not over "
                f"{list(preparation.gaps)}; choose others with --gaps"
            )
        for number, ordinal in enumerate(self.ordinals):
            if preparation.whole or self.shown is None or number in self.shown:
                yield _stored_frame(collection, ordinal, preparation)


def _stored_frame(collection: Collection, ordinal: int, preparation: Preparation) -> SourceFrame:
    record = collection.record(ordinal)
    meta = record.meta()
    image = record.decoded(IMAGE, decode_image)
    next_pair = meta.pairs.get(HOMOGRAPHY_GAP)
    size = (meta.flow_height, meta.flow_width)
    return SourceFrame(
        f"{meta.frame:05d}",
        meta.frame,
        meta.time_s,
        image,
        image,
        meta.source_height,
        meta.source_width,
        _stored_pairs(collection, ordinal, preparation),
        (np.array(next_pair.homography), size) if next_pair else None,
        record.decoded(MASK, decode_mask) if MASK in record.parts else None,
    )


def _stored_pairs(
    collection: Collection, ordinal: int, preparation: Preparation
) -> tuple[Pair, ...]:
    if preparation.ingest.flow == "none":
        return ()
    return tuple(
        read_pair(collection, address, preparation.camera)
        for address in pairs_from(collection, ordinal, preparation.gaps)
    )
