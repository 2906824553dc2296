"""What a run reads of a collection: the settings, which samples, and in which order."""

from collections.abc import Collection as Sized
from collections.abc import Container, Sequence
from itertools import pairwise
from typing import Annotated

import numpy as np
from annotated_types import MinLen
from jaxtyping import Bool, Int64
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from selfseg.config import Config
from selfseg.data.format.schema import IMAGE, MASK, forward_part, sample_key, split_key
from selfseg.data.reading.augment import Augmentation, Share
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.order import Order, Tail
from selfseg.data.reading.pairs import CameraModel
from selfseg.data.reading.subsets import of_subset
from selfseg.errors import UsageError, UserError

PositiveShare = Annotated[float, Field(gt=0, le=1)]


class DataConfig(Config):
    """What a training step sees, and who prepares it."""

    height: PositiveInt
    """Rows of the grid that frames and flow are brought to."""

    width: PositiveInt
    """Columns of that grid."""

    batch_size: PositiveInt = 8
    """Samples in a global batch, all workers together."""

    gaps: Annotated[tuple[PositiveInt, ...], MinLen(1)] = (1, 2, 3)
    """Frames between the two ends of a pair; one is drawn for each sample."""

    videos: Annotated[tuple[str, ...], MinLen(1)] | None = None
    """Names or ids of the videos that are read; null: all of the collection."""

    fraction: PositiveShare = 1.0
    """Share of these videos that is read; a smaller one is part of a larger one."""

    fraction_seed: int = 0
    """Seed of the order whose first videos are that share."""

    growth: tuple[PositiveShare, ...] = ()
    """Share of these videos that has arrived in each round of the method, in the order of
    `fraction_seed`: a collection that grows, without copies. None: all are there at once."""

    follow: bool = False
    """Look at the end of every epoch whether videos have been added to the collection, and go on
    with all of them; otherwise a run stays with the state of the collection that it began with."""

    rehearsal: Share | None = None
    """Share of every batch that is drawn from earlier videos once others have been added; the rest
    is from those that were added last. null: all videos are read alike."""

    camera: CameraModel = "quadratic"
    """Model of the camera's motion."""

    augmentation: Augmentation = Augmentation()

    lanes: PositiveInt = 8
    """Places in the collection that are read from in turn."""

    block: PositiveInt = 1024
    """Consecutive samples of a lane that are shuffled together."""

    tail: Tail = "carry"
    """Whether a batch may span two epochs, or an epoch's last samples are left out. The parts of a
    batch that `rehearsal` keeps apart always may."""

    quarantine: NonNegativeInt = 0
    """Shards that a run may go on without once they turn out damaged or gone; 0: the first ends it.
    Otherwise workers tell each other before every step."""

    verify: bool = True
    """Compare every part that is read with its checksum; what a power cut left of a cached shard
    is found by nothing else."""

    loader_processes: NonNegativeInt = 1
    """Processes per worker that prepare batches; 0: the worker itself."""

    prefetch_steps: NonNegativeInt = 256
    """Steps ahead of the present one whose shards are downloaded beside the training, where the
    collection lies in a bucket; 0: each is downloaded once a batch needs it."""

    @property
    def rehearsed(self) -> int:
        """Samples of a batch that are drawn from earlier videos, if `rehearsal` is given."""
        return round((self.rehearsal or 0) * self.batch_size)

    @model_validator(mode="after")
    def _grows(self) -> "DataConfig":
        if any(share > later for share, later in pairwise(self.growth)):
            raise ValueError(f"growth {list(self.growth)} must not shrink: no video leaves again")
        if self.growth and self.fraction != 1:
            raise ValueError(
                f"fraction {self.fraction:g} goes with no growth, whose shares are of all videos: "
                "set data.fraction=1"
            )
        return self

    @model_validator(mode="after")
    def _follows_all_of_it(self) -> "DataConfig":
        if self.follow and (self.growth or self.fraction != 1):
            raise ValueError(
                "follow goes on with all that is added, so it goes with no growth and no fraction: "
                "set data.follow=false, or data.growth=[] and data.fraction=1"
            )
        return self

    @model_validator(mode="after")
    def _rehearses_whole_samples(self) -> "DataConfig":
        if 0 < (self.rehearsal or 0) < 1 and self.rehearsed in {0, self.batch_size}:
            left = "earlier" if not self.rehearsed else "new"
            raise ValueError(
                f"rehearsal {self.rehearsal:g} of batch_size {self.batch_size} is rounded to "
                f"{self.rehearsed} samples, which leaves none of the {left} videos: choose another "
                "share or a larger batch"
            )
        return self

    def require_growth_in(self, rounds: Sized[int]) -> None:
        """See that it is said what has arrived in each round of the method.

        Raises:
            ValueError: it is, but for another number of rounds; says how many there are.
        """
        if self.growth and len(self.growth) != len(rounds):
            there = f"{len(rounds)}, {min(rounds)} to {max(rounds)}" if rounds else "none"
            raise ValueError(
                f"data.growth has {len(self.growth)} shares, one for each round of the method, of "
                f"which there are {there}"
            )


def reading_order(
    collection: Collection,
    config: DataConfig,
    ordinals: Int64[np.ndarray, " samples"],
    *,
    seed: int,
    per_batch: int | None = None,
) -> Order:
    """Return the order in which samples are read.

    Args:
        collection: that they are part of.
        config: what a step sees.
        ordinals: of the samples that are read, ascending; see `readable`.
        seed: of the order.
        per_batch: how many of them each batch holds beside others; None: nothing but them.
    """
    bounds = np.cumsum([0, *collection.counts])
    counts = np.diff(np.searchsorted(ordinals, bounds))
    return Order(
        counts.tolist(),
        seed=seed,
        batch_size=config.batch_size if per_batch is None else per_batch,
        lanes=config.lanes,
        block=config.block,
        # A few videos that were added may have fewer samples than a batch takes of them.
        tail=config.tail if per_batch is None else "carry",
    )


def readable(
    collection: Collection,
    config: DataConfig,
    *,
    share: float | None = None,
    annotated: bool = False,
    moving: bool = True,
    without: Container[str] = (),
) -> Int64[np.ndarray, " samples"]:
    """Return the ordinals of the chosen videos' samples that can be learned from, ascending.

    Of the videos those that are `share` of them are chosen, one of `data.growth`; None: those that
    are `data.fraction`. Nothing that takes a shard of `without` to read is chosen.

    If `moving`, those are the frames with a flow over at least one of the gaps: a video's last
    frames have none, but are read as first frames of reversed pairs. Otherwise all are. If
    `annotated`, only those with a mask.

    Raises:
        UserError: the collection holds no flow or no masks where they are asked for.
        UsageError: the collection holds none over one of the gaps, or not the chosen videos, or
            these do not fill a batch.
    """
    held = _with_motion(collection, config) if moving else collection.holds(IMAGE)
    if annotated:
        held &= collection.holds(MASK)
        if not held.any():
            raise UserError(
                f"{collection.url}: holds no annotated masks, which a supervised method learns "
                "from; ingest again with --masks ROOT"
            )
    read = of_subset(
        collection,
        held,
        names=config.videos,
        fraction=config.fraction if share is None else share,
        seed=config.fraction_seed,
        at_least=config.batch_size,
        asked="data.fraction" if share is None else "data.growth",
    )
    reverses = moving and not annotated and config.augmentation.reverse > 0
    return np.flatnonzero(read & ~_resting_on(collection, without, config.gaps if reverses else ()))


def _resting_on(
    collection: Collection, shards: Container[str], gaps: Sequence[int]
) -> Bool[np.ndarray, " samples"]:
    """Tell which samples lie in these shards, or are read with a later frame that does."""
    names = [shard.name in shards for shard in collection.manifest.shards]
    there = np.repeat(np.array(names, np.bool_), collection.counts)
    found = there.copy()
    for ordinal in np.flatnonzero(there).tolist():
        video_id, frame = split_key(collection.key(ordinal))
        earlier = [sample_key(video_id, frame - gap) for gap in gaps if gap <= frame]
        found[[collection.ordinal(key) for key in earlier]] = True
    return found


def _with_motion(collection: Collection, config: DataConfig) -> Bool[np.ndarray, " samples"]:
    """Tell which samples have a flow over at least one of the gaps."""
    settings = collection.manifest.settings
    if settings.flow == "none":
        raise UserError(
            f"{collection.url}: holds no motion, which this method needs; "
            "give it videos, ingested without --flow none"
        )
    if unknown := set(config.gaps) - set(settings.gaps):
        raise UsageError(
            f"data.gaps: {collection.url} has no flow over {min(unknown)} frames; "
            f"choose from {list(settings.gaps)} or ingest again with --gaps"
        )
    return np.any([collection.holds(forward_part(gap)) for gap in config.gaps], axis=0)
