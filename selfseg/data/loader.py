"""Batches for training, prepared by processes of their own while the model computes.

torch's DataLoader is the engine; what is read when is decided by `selfseg.data.order` alone.
"""

import itertools
import multiprocessing
import os
import threading
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.context import BaseContext
from typing import Annotated

import cv2
import numpy as np
import torch
from annotated_types import MinLen
from jaxtyping import Bool, Int64
from pydantic import Field, NonNegativeInt, PositiveInt
from torch.utils.data import DataLoader, Dataset

from selfseg.config import Config
from selfseg.contracts import FramePairs
from selfseg.data.augment import Augmentation, draw_pair
from selfseg.data.collection import Collection
from selfseg.data.order import Order, Tail, share_of
from selfseg.data.pairs import CameraModel, to_batch
from selfseg.data.schema import IMAGE, MASK, forward_part
from selfseg.data.subsets import of_subset
from selfseg.errors import UsageError, UserError

LAST_STEP = 2**62


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

    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of these videos that is read; a smaller one is part of a larger one."""

    fraction_seed: int = 0
    """Seed of the order whose first videos are that share."""

    camera: CameraModel = "quadratic"
    """Model of the camera's motion."""

    augmentation: Augmentation = Augmentation()

    lanes: PositiveInt = 8
    """Places in the collection that are read from in turn."""

    block: PositiveInt = 1024
    """Consecutive samples of a lane that are shuffled together."""

    tail: Tail = "carry"
    """Whether a batch may span two epochs, or an epoch's last samples are left out."""

    loader_processes: NonNegativeInt = 1
    """Processes per worker that prepare batches; 0: the worker itself."""


def reading_order(
    collection: Collection,
    config: DataConfig,
    ordinals: Int64[np.ndarray, " samples"],
    *,
    seed: int,
) -> Order:
    """Return the order in which samples are read.

    Args:
        collection: that they are part of.
        config: what a step sees.
        ordinals: of the samples that are read, ascending; see `readable`.
        seed: of the order.
    """
    bounds = np.cumsum([0, *collection.counts])
    counts = np.diff(np.searchsorted(ordinals, bounds))
    return Order(
        counts.tolist(),
        manifest=collection.manifest_id,
        seed=seed,
        batch_size=config.batch_size,
        lanes=config.lanes,
        block=config.block,
        tail=config.tail,
    )


def readable(
    collection: Collection, config: DataConfig, *, annotated: bool = False, moving: bool = True
) -> Int64[np.ndarray, " samples"]:
    """Return the ordinals of the chosen videos' samples that can be learned from, ascending.

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
        fraction=config.fraction,
        seed=config.fraction_seed,
        at_least=config.batch_size,
    )
    return np.flatnonzero(read)


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
) -> Generator[FramePairs]:
    """Yield this worker's parts of global batches `step`, `step` + 1, ..., without end.

    Closing the generator ends its processes. `annotated`: with masks, for a supervised method.
    `moving`: with motion; otherwise everything is at rest, for a method that sees images alone.
    `background`: with each video's background, for a method that wants it.

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
    ) -> None:
        self.collection, self.config, self.seed = collection, config, seed
        self.rank, self.world_size = rank, world_size
        self.annotated, self.moving, self.background = annotated, moving, background
        self.ordinals = readable(collection, config, annotated=annotated, moving=moving)
        self.order = reading_order(collection, config, self.ordinals, seed=seed)
        if background and len(self.ordinals):
            collection.background(int(self.ordinals[0]))  # or say at once that there is none

    def __getitem__(self, step: int) -> "FramePairs | UserError":
        """Read one batch; a user's mistake is returned, for torch would bury it in a traceback."""
        config = self.config
        try:
            pairs = [
                draw_pair(
                    self.collection,
                    int(self.ordinals[sample.ordinal]),
                    stream=(self.seed, sample.epoch, "augmentation"),
                    gaps=config.gaps,
                    camera=config.camera,
                    height=config.height,
                    width=config.width,
                    augmentation=config.augmentation,
                    annotated=self.annotated,
                    moving=self.moving,
                    background=self.background,
                )
                for sample in self.order.part(step, rank=self.rank, world_size=self.world_size)
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
