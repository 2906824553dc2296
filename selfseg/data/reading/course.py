"""What a run reads as videos are added to what it learns from, or shards lost: arithmetic only.

A run is one segment, or several where something was added or lost. Each has orders of its own,
whose steps are counted from its start, so any step's samples are known without those before it.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from selfseg.data.reading.collection import Collection
from selfseg.data.reading.draws import words
from selfseg.data.reading.order import Order, Sample, share_of
from selfseg.data.reading.quarantine import Loss
from selfseg.data.reading.selection import DataConfig, readable, reading_order
from selfseg.errors import UsageError


@dataclass(frozen=True, slots=True)
class Part:
    """Samples that are read in turn, as many in each batch as `order` has in its own.

    ordinals: of the samples in the collection, ascending
    """

    ordinals: Int64[np.ndarray, " samples"]
    order: Order

    def of_collection(self, samples: Sequence[Sample]) -> tuple[Sample, ...]:
        """Return samples of `order` with the ordinals that they have in the collection."""
        return tuple(Sample(epoch, int(self.ordinals[ordinal])) for epoch, ordinal in samples)


@dataclass(frozen=True, slots=True)
class Segment:
    """Steps of a run between which nothing is added to what it reads, and nothing lost.

    start: the first of them
    seed: of its orders and its augmentation
    parts: one; two where earlier samples are rehearsed beside those that were added, which come
        last
    """

    start: int
    seed: int
    parts: tuple[Part, ...]

    def begins_epoch(self, step: int) -> bool:
        """Tell whether `step` is the first that begins in an epoch, later than the segment's first.

        Of two parts the epochs are those of the larger.
        """
        order = max((part.order for part in self.parts), key=lambda order: order.samples)
        number = step - self.start
        return number > 0 and order.epoch(number) > order.epoch(number - 1)

    @property
    def first_ordinal(self) -> int:
        """One of the samples that are read."""
        return int(self.parts[0].ordinals[0])

    def part(self, step: int, *, rank: int, world_size: int) -> tuple[Sample, ...]:
        """Return a worker's samples of global batch `step` of the run, by ordinal.

        Raises:
            UsageError: the batch cannot be shared out evenly.
        """
        number = step - self.start
        if len(self.parts) == 1:
            (only,) = self.parts
            return only.of_collection(only.order.part(number, rank=rank, world_size=world_size))
        batch = spread([part.of_collection(part.order.batch(number)) for part in self.parts])
        share = share_of(len(batch), world_size)
        return batch[rank * share : (rank + 1) * share]


def segment(
    collection: Collection,
    config: DataConfig,
    ordinals: Int64[np.ndarray, " samples"],
    *,
    seed: int,
    start: int = 0,
    earlier: Int64[np.ndarray, " earlier"] | None = None,
) -> Segment:
    """Return what is read from step `start` on.

    Args:
        collection: where the samples lie.
        config: what a step sees.
        ordinals: of all samples that are there from now on, ascending.
        seed: of the run.
        start: first step.
        earlier: those of them that were there before; None: the run begins here.

    Raises:
        UsageError: there is no sample, or none that was not there before.
    """
    # The first epochs of two segments are not to be equal in what they draw.
    seed = int(words(1, seed, start, "segment")[0]) if start else seed
    if earlier is not None and len(earlier) == len(ordinals):
        raise UsageError(f"{collection.url}: the videos that were added have no sample to read")
    if earlier is None or config.rehearsal is None:
        order = reading_order(collection, config, ordinals, seed=seed)
        return Segment(start, seed, (Part(ordinals, order),))
    added = np.setdiff1d(ordinals, earlier, assume_unique=True)
    shares = ((earlier, config.rehearsed), (added, config.batch_size - config.rehearsed))
    parts = (
        Part(group, reading_order(collection, config, group, seed=seed, per_batch=count))
        for group, count in shares
        if count
    )
    return Segment(start, seed, tuple(parts))


def segments(
    collection: Collection,
    config: DataConfig,
    *,
    seed: int,
    starts: Sequence[int],
    annotated: bool = False,
    moving: bool = True,
    losses: Sequence[Loss] = (),
) -> tuple[Segment, ...]:
    """Return what a run reads of a collection, of which more arrives as `data.growth` says.

    A share that adds no sample begins no segment: reading goes on as before.

    Args:
        collection: of which videos are chosen, see `readable`.
        config: what a step sees.
        seed: of the run.
        starts: the first step of each round; of a run without growth 0 alone.
        annotated: see `readable`.
        moving: see `readable`.
        losses: shards that the run does without; segments are those from the last of them on.

    Raises:
        UsageError: settings and collection do not fit.
        UserError: the collection does not hold what is asked for.
    """
    found: list[Segment] = []
    before: Int64[np.ndarray, " earlier"] | None = None
    for start, share in zip(starts, config.growth or (None,), strict=True):
        ordinals = readable(
            collection,
            config,
            share=share,
            annotated=annotated,
            moving=moving,
            without=_shards(losses),
        )
        if before is None or len(ordinals) > len(before):
            first = max(start, _since(losses))
            found.append(
                segment(collection, config, ordinals, seed=seed, start=first, earlier=before)
            )
            before = ordinals
    return tuple(found)


def segment_after(
    collection: Collection,
    config: DataConfig,
    before: Container[str],
    *,
    seed: int,
    start: int,
    annotated: bool = False,
    moving: bool = True,
    losses: Sequence[Loss] = (),
) -> Segment:
    """Return what a run reads from step `start` on of a collection that has grown.

    Args:
        collection: as it is now.
        config: what a step sees.
        before: ids of the videos that it had before.
        seed: of the run.
        start: first step.
        annotated: see `readable`.
        moving: see `readable`.
        losses: shards that the run does without; with one after `start` the segment begins there.

    Raises:
        UsageError: nothing that can be read was added.
        UserError: the collection does not hold what is asked for.
    """
    ordinals = readable(
        collection, config, annotated=annotated, moving=moving, without=_shards(losses)
    )
    earlier = ordinals[collection.of_videos(before)[ordinals]]
    first = max(start, _since(losses))
    return segment(collection, config, ordinals, seed=seed, start=first, earlier=earlier)


def _shards(losses: Sequence[Loss]) -> set[str]:
    return {loss.shard for loss in losses}


def _since(losses: Sequence[Loss]) -> int:
    return max((loss.step for loss in losses), default=0)


def spread(groups: Sequence[tuple[Sample, ...]]) -> tuple[Sample, ...]:
    """Deal samples of several kinds out evenly, so that each worker's slice has some of each."""
    places = sorted(
        ((2 * index + 1) / len(group), number, index)
        for number, group in enumerate(groups)
        for index in range(len(group))
    )
    return tuple(groups[number][index] for _, number, index in places)
