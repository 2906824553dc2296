"""Batches for training, prepared by processes of their own while the model computes.

What is read when, `selfseg.data.reading.order` decides alone.
"""

import itertools
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial

from selfseg.contracts import FramePairs
from selfseg.data.format.manifest import load_manifest
from selfseg.data.reading import server
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.course import segment_after, segments
from selfseg.data.reading.following import Follower, Move
from selfseg.data.reading.order import share_of
from selfseg.data.reading.pairs import Stack
from selfseg.data.reading.parts import Asked, Parts
from selfseg.data.reading.prefetch import prefetching
from selfseg.data.reading.processes import begin, prepared
from selfseg.data.reading.quarantine import Quarantine
from selfseg.data.reading.selection import DataConfig
from selfseg.data.reading.tensors import to_batch
from selfseg.errors import UserError


def batches(
    collection: Collection,
    config: DataConfig,
    *,
    seed: int,
    step: int,
    rank: int,
    world_size: int,
    annotated: bool = False,
    moving: bool = True,
    background: bool = False,
    starts: Sequence[int] = (0,),
    follower: Follower | None = None,
    quarantine: Quarantine | None = None,
) -> Generator[FramePairs]:
    """Yield this worker's parts of global batches `step`, `step` + 1, ..., without end.

    Closing the generator ends its processes. `annotated`: with masks, for a supervised method.
    `moving`: with motion; otherwise everything is at rest, for a method that sees images alone.
    `background`: with each video's background, for a method that wants it.
    `starts`: the first step of each of the method's rounds, for a collection that grows by them.
    `follower`: says to which states of the collection the run has moved, and is asked at the end
    of every epoch whether it moves on; then all workers' streams must be read in step.
    `quarantine`: says which shards the run does without, and is asked before every step whether
    there are more of them; all workers' streams must be read in step then, too.

    Raises:
        UsageError: the batch cannot be shared evenly, or settings and collection do not fit.
        UserError: the collection does not hold what is asked for; while reading: it is damaged.
    """
    share_of(config.batch_size, world_size)
    asked = Asked(config, seed, rank, world_size, annotated, moving, background, starts)
    read = partial(_read, collection, asked, quarantine)
    return _turning(_Reader(read, follower, step), quarantine, step)


def _read(
    collection: Collection,
    asked: Asked,
    quarantine: Quarantine | None,
    moves: Sequence[Move],
) -> Parts:
    """Return the batches from the last of `moves` on; the first is what the run began with."""
    read = {
        "seed": asked.seed,
        "annotated": asked.annotated,
        "moving": asked.moving,
        "losses": quarantine.losses if quarantine else (),
    }
    if len(moves) <= 1:
        course = segments(collection, asked.config, starts=asked.starts, **read)
        return Parts(collection, asked, course)
    before, now = moves[-2:]
    earlier = {video.id for video in load_manifest(collection.url, before.manifest).videos}
    grown = Collection.open(collection.url, now.manifest, verify=collection.verifies)
    last = segment_after(grown, asked.config, earlier, start=now.step, **read)
    return Parts(grown, asked, (last,))


class _Reader:
    """What is read now, and goes on to be read until a step from which on it is something else."""

    def __init__(
        self,
        read: Callable[[Sequence[Move]], Parts],
        follower: Follower | None,
        step: int,
    ) -> None:
        self._read, self._follower = read, follower
        self._open(step)

    def next(self) -> Stack | UserError:
        """Return the next batch, or what is wrong with it."""
        return next(self._stream)

    def moves_on(self, step: int) -> bool:
        """Tell whether the collection has grown and `step` is the first to read more of it."""
        follower = self._follower
        return (
            follower is not None
            and self._parts.segment(step).begins_epoch(step)
            and follower.look(step, self._read)
        )

    def turn(self, step: int) -> None:
        """Read what is to be read from `step` on now; what was prepared of it is let go."""
        self.close()
        self._open(step)

    def close(self) -> None:
        """End the processes that prepare batches."""
        self._stream.close()

    def _open(self, step: int) -> None:
        self._parts = self._read(self._follower.moves if self._follower else ())
        self._stream = _stream(self._parts, step)


def _turning(reader: _Reader, quarantine: Quarantine | None, step: int) -> Generator[FramePairs]:
    """Yield batches, and others from a step on at which videos were added or shards lost."""
    try:
        for number in itertools.count(step):
            if reader.moves_on(number):
                reader.turn(number)
            batch = reader.next()
            while quarantine and quarantine.look(number, batch):
                reader.turn(number)
                batch = reader.next()
            yield _checked(batch)
    finally:
        reader.close()


def _stream(parts: Parts, step: int) -> Generator[Stack | UserError]:
    prefetcher = prefetching(
        parts.collection, parts.ordinals, step, parts.asked.config.prefetch_steps
    )
    with closing(_prepared(parts, step)) as upcoming, prefetcher as reached:
        for number, batch in enumerate(upcoming, step):
            reached(number + 1)
            yield batch


def _prepared(parts: Parts, step: int) -> Generator[Stack | UserError]:
    if processes := parts.asked.config.loader_processes:
        start = partial(begin, dict(os.environ))
        return prepared(parts.read, step, processes, begin=start, context=server.context())
    return (parts.read(number) for number in itertools.count(step))


def _checked(batch: Stack | UserError) -> FramePairs:
    if isinstance(batch, UserError):
        raise batch
    return to_batch(batch)
