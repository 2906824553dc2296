"""Batches for training, prepared by processes of their own while the model computes.

torch's DataLoader is the engine; what is read when, `selfseg.data.reading.order` decides alone.
"""

import gc
import itertools
import multiprocessing
import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import cv2
import torch
from torch.utils.data import Dataset

from selfseg import storage
from selfseg.contracts import FramePairs
from selfseg.data.format.manifest import load_manifest
from selfseg.data.reading import server
from selfseg.data.reading.augment import draw_pair
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.course import Segment, segment_after, segments
from selfseg.data.reading.following import Follower, Move
from selfseg.data.reading.order import Sample, share_of
from selfseg.data.reading.pairs import to_batch
from selfseg.data.reading.passing import prepared
from selfseg.data.reading.prefetch import prefetching
from selfseg.data.reading.quarantine import Quarantine
from selfseg.data.reading.selection import DataConfig
from selfseg.errors import UserError

LAST_STEP = 2**62


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
    asked = _Asked(config, seed, rank, world_size, annotated, moving, background, starts)
    read = partial(_read, collection, asked, quarantine)
    return _turning(_Reader(read, follower, step), quarantine, step)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be read, and by whom; see `batches`."""

    config: DataConfig
    seed: int
    rank: int
    world_size: int
    annotated: bool
    moving: bool
    background: bool
    starts: Sequence[int]


def _read(
    collection: Collection,
    asked: _Asked,
    quarantine: Quarantine | None,
    moves: Sequence[Move],
) -> "_Batches":
    """Return the batches from the last of `moves` on; the first is what the run began with."""
    read = {
        "seed": asked.seed,
        "annotated": asked.annotated,
        "moving": asked.moving,
        "losses": quarantine.losses if quarantine else (),
    }
    if len(moves) <= 1:
        course = segments(collection, asked.config, starts=asked.starts, **read)
        return _Batches(collection, asked, course)
    before, now = moves[-2:]
    earlier = {video.id for video in load_manifest(collection.url, before.manifest).videos}
    grown = Collection.open(collection.url, now.manifest, verify=collection.verifies)
    last = segment_after(grown, asked.config, earlier, start=now.step, **read)
    return _Batches(grown, asked, (last,))


class _Batches(Dataset["FramePairs | UserError"]):
    """One worker's part of each global batch, by its number."""

    def __init__(self, collection: Collection, asked: _Asked, course: Sequence[Segment]) -> None:
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

    def __getitem__(self, step: int) -> "FramePairs | UserError":
        """Read one batch; a user's mistake is returned, for torch would bury it in a traceback."""
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
            return to_batch(pairs)
        except UserError as error:
            return error


class _Reader:
    """What is read now, and goes on to be read until a step from which on it is something else."""

    def __init__(
        self,
        read: Callable[[Sequence[Move]], _Batches],
        follower: Follower | None,
        step: int,
    ) -> None:
        self._read, self._follower = read, follower
        self._open(step)

    def next(self) -> "FramePairs | UserError":
        """Return the next batch."""
        return next(self._stream)

    def moves_on(self, step: int) -> bool:
        """Tell whether the collection has grown and `step` is the first to read more of it."""
        follower = self._follower
        return (
            follower is not None
            and self._batches.segment(step).begins_epoch(step)
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
        self._batches = self._read(self._follower.moves if self._follower else ())
        self._stream = _stream(self._batches, step)


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


def _stream(dataset: _Batches, step: int) -> Generator["FramePairs | UserError"]:
    prefetcher = prefetching(
        dataset.collection, dataset.ordinals, step, dataset.asked.config.prefetch_steps
    )
    with closing(_prepared(dataset, step)) as upcoming, prefetcher as reached:
        for number, batch in enumerate(upcoming, step):
            reached(number + 1)
            yield batch


def _prepared(dataset: _Batches, step: int) -> Generator["FramePairs | UserError"]:
    if processes := dataset.asked.config.loader_processes:
        begin = partial(_begin, dict(os.environ))
        steps = range(step, LAST_STEP)
        return prepared(dataset, steps, processes, begin=begin, context=server.context())
    return (dataset[number] for number in itertools.count(step))


def _checked(batch: FramePairs | UserError) -> FramePairs:
    if isinstance(batch, UserError):
        raise batch
    return batch


def _begin(environment: Mapping[str, str], _process: int) -> None:
    # The server has kept the environment it was started in, maybe by an earlier run.
    os.environ.clear()
    os.environ.update(environment)
    storage.expect_answers()  # the worker has opened the collection
    gc.freeze()  # to look for garbage in what the server has imported would copy its memory
    # torch takes the server for the parent. Server and child would keep each other alive for
    # ever after the worker was killed.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)
