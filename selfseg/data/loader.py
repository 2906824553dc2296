"""Batches for training, prepared by processes of their own while the model computes.

torch's DataLoader is the engine; what is read when is decided by `selfseg.data.order` alone.
"""

import itertools
import multiprocessing
import os
import threading
from bisect import bisect_right
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.context import BaseContext

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from selfseg.contracts import FramePairs
from selfseg.data.augment import draw_pair
from selfseg.data.collection import Collection
from selfseg.data.course import segments
from selfseg.data.order import share_of
from selfseg.data.pairs import to_batch
from selfseg.data.reading import DataConfig
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
) -> Generator[FramePairs]:
    """Yield this worker's parts of global batches `step`, `step` + 1, ..., without end.

    Closing the generator ends its processes. `annotated`: with masks, for a supervised method.
    `moving`: with motion; otherwise everything is at rest, for a method that sees images alone.
    `background`: with each video's background, for a method that wants it.
    `starts`: the first step of each of the method's rounds, for a collection that grows by them.

    Raises:
        UsageError: the batch cannot be shared evenly, or settings and collection do not fit.
        UserError: the collection does not hold what is asked for; while reading: it is damaged.
    """
    share_of(config.batch_size, world_size)
    dataset = _Batches(
        collection,
        config,
        seed=seed,
        rank=rank,
        world_size=world_size,
        annotated=annotated,
        moving=moving,
        background=background,
        starts=starts,
    )
    return _stream(dataset, config.loader_processes, step)


class _Batches(Dataset["FramePairs | UserError"]):
    """One worker's part of each global batch, by its number."""

    def __init__(
        self,
        collection: Collection,
        config: DataConfig,
        *,
        seed: int,
        rank: int,
        world_size: int,
        annotated: bool,
        moving: bool,
        background: bool,
        starts: Sequence[int],
    ) -> None:
        self.collection, self.config = collection, config
        self.rank, self.world_size = rank, world_size
        self.annotated, self.moving, self.background = annotated, moving, background
        self.segments = segments(
            collection, config, seed=seed, starts=starts, annotated=annotated, moving=moving
        )
        self.starts = [segment.start for segment in self.segments]
        if background:  # or say at once that there is none
            collection.background(self.segments[0].first_ordinal)

    def __getitem__(self, step: int) -> "FramePairs | UserError":
        """Read one batch; a user's mistake is returned, for torch would bury it in a traceback."""
        config = self.config
        segment = self.segments[bisect_right(self.starts, step) - 1]
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
                    annotated=self.annotated,
                    moving=self.moving,
                    background=self.background,
                )
                for sample in segment.part(step, rank=self.rank, world_size=self.world_size)
            ]
            return to_batch(pairs)
        except UserError as error:
            return error


def _stream(dataset: _Batches, processes: int, step: int) -> Generator[FramePairs]:
    if not processes:
        for number in itertools.count(step):
            yield _checked(dataset[number])
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(step, LAST_STEP),
        num_workers=processes,
        multiprocessing_context=_context(),
        worker_init_fn=partial(_begin, dict(os.environ)),
        # The loader draws a seed that nothing here uses; it must not come from the generator
        # whose state a resumed run restores.
        generator=torch.Generator(),
    )
    prepared = iter(loader)
    # Taking over a batch is a conversation with the process that made it, several ms if that is
    # busy with the next; a thread holds it while the model computes.
    with ThreadPoolExecutor(1) as taker:
        upcoming = taker.submit(next, prepared)
        while True:
            batch = _checked(upcoming.result())
            upcoming = taker.submit(next, prepared)
            yield batch


def _checked(batch: FramePairs | UserError) -> FramePairs:
    if isinstance(batch, UserError):
        raise batch
    return batch


def _context() -> BaseContext:
    """Start loader processes from a server without threads.

    A plain fork would copy locks that threads of gloo, boto3 or Ray hold. The server imports
    what a loader process needs once, so that further ones start at once.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    return context


def _begin(environment: Mapping[str, str], _process: int) -> None:
    # The server has kept the environment it was started in, maybe by an earlier run.
    os.environ.update(environment)
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
