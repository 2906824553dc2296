"""selfseg reads plain tars by an index, in an order that is arithmetic."""

import hashlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_bench.reading import (
    BATCH,
    SEED,
    SHARD_BYTES,
    Batch,
    Pause,
    Reading,
    begin,
    decode_all,
)

from selfseg.data.format.catalogue import Stretch, stretches
from selfseg.data.format.index import IndexEntry, dump_index, index_tar
from selfseg.data.format.manifest import (
    Manifest,
    ShardEntry,
    VideoEntry,
    commit_manifest,
    index_url,
    shard_url,
)
from selfseg.data.format.schema import IMAGE, sample_key
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.writing import publish_catalogue
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.order import Order
from selfseg.data.reading.prefetch import prefetching
from selfseg.data.reading.processes import prepared
from selfseg.data.reading.selection import DataConfig

VIDEO = "frames-00000000"
STEPS_AHEAD = DataConfig(height=1, width=1).prefetch_steps

Contents = np.ndarray | Sequence[np.ndarray | bytes]
"""Frames of a batch in one array, or files."""

Held = tuple[ShardEntry, list[Stretch]]
"""A shard, and which samples it holds."""


def write(frames: Sequence[Path], folder: Path) -> None:
    """Write shards of one part, in the frames' order."""
    (folder / "shards").mkdir(parents=True)
    per_shard = max(1, SHARD_BYTES // (frames[0].stat().st_size + tarfile.BLOCKSIZE))
    firsts = range(0, len(frames), per_shard)
    shards = [_write_shard(frames[first : first + per_shard], first, folder) for first in firsts]
    commit(str(folder), shards)


def commit(url: str, shards: Sequence[Held]) -> None:
    """Publish shards of one video's frames."""
    frames = sum(shard.samples for shard, _ in shards)
    video = VideoEntry(id=VIDEO, name="frames", frames=frames, sha256="0" * 64, masks_sha256=None)
    manifest = Manifest(
        settings=IngestSettings(flow="none"),
        shard_bytes=SHARD_BYTES,
        videos=(video,),
        skipped=(),
        shards=tuple(sorted((shard for shard, _ in shards), key=lambda shard: shard.name)),
        catalogues=(publish_catalogue(url, shards),),
    )
    commit_manifest(url, manifest, expected=None)


def batches(reading: Reading, state: Any = None) -> Iterator[Batch]:
    """Yield batches from a step on: that is all its state."""
    if reading.place.startswith("s3://"):
        os.environ["SELFSEG_CACHE"] = reading.cache
    steps, first = Steps(reading), state or 0
    prefetcher = prefetching(steps.collection, steps.ordinals, first, STEPS_AHEAD)
    if reading.processes:  # forks, so before there are threads
        upcoming = prepared(steps.read, first, reading.processes, begin=partial(begin, 0))
    else:
        upcoming = map(steps.read, count(first))
    with prefetcher as reached:
        for number, batch in enumerate(upcoming, first):
            reached(number + 1)
            yield _as_tensors(*batch)


def pause(reading: Reading, after: int) -> Pause:
    """Read, count the steps, and see what would come next."""
    stream = islice(batches(reading), after, None)
    return Pause(after, next(stream).keys)


class Steps:
    """Global batches by their number."""

    def __init__(self, reading: Reading) -> None:
        """Open the collection."""
        self.collection = Collection.open(reading.place, verify=reading.checked)
        self.order = order_of(self.collection)
        self.reading = reading

    def ordinals(self, step: int) -> list[int]:
        """Return the samples of a batch."""
        return [sample.ordinal for sample in self.order.batch(step)]

    def read(self, step: int) -> tuple[Sequence[str], Contents]:
        """Read one batch: its keys and its files, or their frames."""
        samples = [_read(self.collection, ordinal) for ordinal in self.ordinals(step)]
        keys, files = map(list, zip(*samples, strict=True))
        if self.reading.decoded:
            return keys, decode_all(files)
        if not self.reading.processes:
            return keys, files
        # As arrays, which go through shared memory.
        joined = np.frombuffer(b"".join(files), np.uint8)
        return keys, np.split(joined, np.cumsum([len(data) for data in files])[:-1])


def _as_tensors(keys: Sequence[str], contents: Any) -> Batch:
    match contents:
        case np.ndarray():
            return Batch(keys, torch.from_numpy(contents))
        case [np.ndarray(), *_]:
            return Batch(keys, [torch.from_numpy(each) for each in contents])
    return Batch(keys, contents)


def order_of(collection: Collection) -> Order:
    """Return the order a run reads in, with the default settings."""
    return Order(collection.counts, seed=SEED, batch_size=BATCH, lanes=8, block=1024, tail="carry")


def _read(collection: Collection, ordinal: int) -> tuple[str, bytes]:
    """Read one sample's key and file."""
    record = collection.record(ordinal)
    return record.key, record.read(IMAGE)


def describe(folder: Path, sha256: str, size: int, entries: Sequence[IndexEntry]) -> Held:
    """Write the index of a shard that lies there, of `size` bytes; return what names it."""
    name, index = sha256[:16], dump_index(entries)
    Path(index_url(str(folder), name)).write_bytes(index)
    entry = ShardEntry(
        name=name,
        samples=len(entries),
        size=size,
        sha256=sha256,
        index_sha256=hashlib.sha256(index).hexdigest(),
    )
    return entry, stretches(entries)


def _write_shard(frames: Sequence[Path], first: int, folder: Path) -> Held:
    path = folder / "shards" / f"{first}.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, frame in enumerate(frames, first):
            info = tarfile.TarInfo(f"{sample_key(VIDEO, number)}.{IMAGE}")
            info.size = frame.stat().st_size
            with frame.open("rb") as file:
                tar.addfile(info, file)
    entries, size = index_tar(path), path.stat().st_size
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    path.rename(shard_url(str(folder), sha256[:16]))
    return describe(folder, sha256, size, entries)
