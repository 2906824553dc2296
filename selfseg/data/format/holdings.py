"""The objects a collection is made of, one by one: their names, what they must hold, their way.

Every object but LATEST is immutable and known by the SHA-256 of its content, so that it can be
checked wherever it lies, and brought from any place that has it to any other.
"""

import hashlib
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from selfseg import storage
from selfseg.data.format.damage import DamagedObject
from selfseg.data.format.manifest import (
    BACKGROUND,
    CATALOGUE,
    INDEX,
    LATEST,
    NAMED_MANIFEST,
    SHARD,
    Manifest,
    ShardEntry,
    lineage,
)
from selfseg.errors import UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")

OURS = re.compile(
    r"LATEST|manifest-[0-9a-f]{64}\.json|shards/[0-9a-f]{16}\.(tar|idx)|spool/[0-9a-f]{16}\.(tar|json)"
    r"|backgrounds/[0-9a-f]{64}\.png|catalogues/[0-9a-f]{64}\.json"
)
"""What lies under a collection's URL, spooled videos of an ingest under way included."""

AT_ONCE = 8
"""Objects on their way at the same time; of those that come from a bucket, each is a file here."""

AHEAD = 8 * AT_ONCE
"""Objects that are done or to be done behind one that takes long."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One immutable object.

    name: relative to the collection's URL
    sha256: of its content
    size: bytes; 0: not known beforehand, and small
    """

    name: str
    sha256: str
    size: int = 0

    def at(self, collection: str) -> str:
        """Address it in a collection."""
        return storage.join(collection, self.name)


def manifest_holding(manifest_id: str) -> Holding:
    """Return a manifest's own file."""
    return Holding(NAMED_MANIFEST.format(manifest_id), manifest_id)


def shard_holdings(shard: ShardEntry) -> tuple[Holding, Holding]:
    """Return a shard's tar and its index."""
    return (
        Holding(SHARD.format(shard.name), shard.sha256, shard.size),
        Holding(INDEX.format(shard.name), shard.index_sha256),
    )


def catalogue_holdings(manifest: Manifest) -> Iterator[Holding]:
    """Yield what tells which samples the shards hold."""
    for sha256 in manifest.catalogues:
        yield Holding(CATALOGUE.format(sha256), sha256)


def background_holdings(manifest: Manifest) -> Iterator[Holding]:
    """Yield the images of the videos' backgrounds, each once."""
    for sha256 in dict.fromkeys(video.background for video in manifest.videos if video.background):
        yield Holding(BACKGROUND.format(sha256), sha256)


def holdings(manifest: Manifest) -> Iterator[Holding]:
    """Yield all that a manifest names."""
    for shard in manifest.shards:
        yield from shard_holdings(shard)
    yield from catalogue_holdings(manifest)
    yield from background_holdings(manifest)


def named(collection: str) -> set[str]:
    """Return the names of all objects that belong to a state of a collection."""
    names = {LATEST}
    for manifest_id, manifest in lineage(collection):
        names.add(manifest_holding(manifest_id).name)
        names.update(holding.name for holding in holdings(manifest))
    return names


def leftovers(collection: str) -> list[str]:
    """Return the names of objects that no state of a collection names, sorted.

    They belong to an ingest that is under way, to one that never ended, or to nobody.
    """
    kept = named(collection)
    return [name for name in storage.listing(collection) if name not in kept]


@contextmanager
def at_hand(url: str) -> Iterator[Path]:
    """Yield a file with the object's content: its own, or a copy that is removed afterwards.

    Raises:
        MissingObject: there is none.
    """
    if not storage.is_remote(url):
        storage.size(url)
        yield Path(url)
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "object"
        storage.download(url, path)
        yield path


def sha256_of(path: Path) -> str:
    """Hash a file of any size.

    Raises:
        StorageError: it cannot be read to its end.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise storage.StorageError(
            f"{path}: {error.strerror or error}; check its rights and the disk"
        ) from None


def bring(holding: Holding, source: str, target: str) -> None:
    """Copy an object from one collection to the same place in another, verified on the way.

    Raises:
        MissingObject: `source` does not have it.
        DamagedObject: it holds something else there; nothing was written.
    """
    with at_hand(holding.at(source)) as path:
        if sha256_of(path) != holding.sha256:
            raise DamagedObject(
                f"{holding.at(source)}: damaged: its sha256 is not {holding.sha256}; "
                f"repair it with tools/collection.py verify {source} --repair"
            )
        storage.upload(path, holding.at(target))


def several_at_once(
    work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with what `work` made of it, in order; the first error stops the rest."""
    pool, begun = ThreadPoolExecutor(AT_ONCE), deque[tuple[Item, Future[Result]]]()
    try:
        for item in items:
            begun.append((item, pool.submit(work, item)))
            if len(begun) > AHEAD:
                first, result = begun.popleft()
                yield first, result.result()
        for item, result in begun:
            yield item, result.result()
    finally:
        pool.shutdown(cancel_futures=True)


def refuse_strangers(collection: str) -> None:
    """See that nothing but a collection, or the beginning of one, is where one shall be written.

    Raises:
        UsageError: names something that is not part of one.
    """
    for name in storage.listing(collection):
        if not OURS.fullmatch(name):
            raise UsageError(
                f"{collection}: holds something else ({name}); choose a new or empty --output"
            )
