"""Spooled videos into shards: dealt out, assembled, read back, published."""

import hashlib
import math
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64

from selfseg import storage
from selfseg.data.format.catalogue import Packed, Stretch, dump_catalogue, stretches
from selfseg.data.format.holdings import OURS, holdings, named
from selfseg.data.format.index import dump_index, index_tar
from selfseg.data.format.manifest import (
    Manifest,
    ShardEntry,
    catalogue_url,
    commit_manifest,
    index_url,
    load_manifest,
    newest_id,
    shard_url,
)
from selfseg.data.ingest.spooling import Run, Spooled
from selfseg.errors import UsageError, UserError

ABANDONED_S = 30 * 24 * 3600
"""Age at which what no manifest names is nobody's; a run that is under way, or goes on, is faster.
It writes its shards anew, which makes them young, and finds its spool."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A run, and the spooled file it lies in."""

    url: str
    run: Run


@dataclass(frozen=True, slots=True)
class Hands:
    """What each shard gets; until it is asked for, a piece is a number.

    spooled: whose runs are numbered one after another
    deck: numbers of all runs, in the order in which they are dealt out
    """

    spooled: list[Spooled]
    deck: Int64[np.ndarray, " runs"]
    num_shards: int

    def __len__(self) -> int:
        return min(self.num_shards, len(self.deck))

    def __iter__(self) -> Iterator[list[Piece]]:
        starts = np.cumsum([0, *(len(part.rows) for part in self.spooled)])
        for first in range(len(self)):
            numbers = self.deck[first :: self.num_shards]
            places = np.searchsorted(starts, numbers, side="right") - 1
            parts = map(self.spooled.__getitem__, places)
            runs = zip(parts, (numbers - starts[places]).tolist(), strict=True)
            pieces = (Piece(part.url, part.run(number)) for part, number in runs)
            yield sorted(pieces, key=lambda piece: piece.run.key)


def deal(spooled: Iterable[Spooled], shard_bytes: int) -> Hands:
    """Deal the runs of all videos to as few shards of about `shard_bytes` at most as they need.

    Video after video is dealt out like cards, its runs in random order, so that every shard gets
    its share of every video. The order is a function of the keys alone. Within a shard keys rise.
    """
    parts = sorted(spooled, key=lambda part: _shuffle(part.video.id))
    orders, count = [], 0
    for _, same in groupby(parts, key=lambda part: part.video.id):
        keys = np.fromiter((_shuffle(key) for part in same for key in part.keys), "S32")
        orders.append(count + np.argsort(keys, kind="stable"))
        count += len(keys)
    size = sum(int(part.rows["size"].sum()) for part in parts)
    return Hands(parts, np.concatenate(orders), math.ceil(size / shard_bytes))


def _shuffle(name: str) -> bytes:
    """Return what to sort names by to have them in an order that is random, and always the same."""
    return hashlib.sha256(name.encode()).digest()


def publish_shard(collection: str, pieces: Sequence[Piece]) -> tuple[ShardEntry, Packed]:
    """Assemble a shard here, read it back, then upload it and its index; say what it holds.

    Raises:
        UserError: what was read back is not what was computed, or others took what was spooled.
        StorageError: the collection cannot be read from or written to.
    """
    with storage.scratch() as scratch:
        path = scratch / "shard.tar"
        with path.open("wb") as file:
            try:
                assemble(pieces, file)
            except storage.MissingObject:
                raise UserError(
                    f"{collection}: a spooled video was removed meanwhile by another command; "
                    "repeat this one"
                ) from None
        sha256 = _read_back(path, pieces)
        entries = index_tar(path)
        index = dump_index(entries)
        entry = ShardEntry(
            name=sha256[:16],
            samples=sum(piece.run.samples for piece in pieces),
            size=path.stat().st_size,
            sha256=sha256,
            index_sha256=hashlib.sha256(index).hexdigest(),
        )
        storage.upload(path, shard_url(collection, entry.name))
    storage.write(index_url(collection, entry.name), index)
    return entry, Packed.of(stretches(entries))


def publish_catalogue(
    collection: str, shards: Iterable[tuple[ShardEntry, Iterable[Stretch]]]
) -> str:
    """Write what these shards hold under its SHA-256, which is returned."""
    with storage.scratch() as scratch:
        path = scratch / "catalogue.json"
        with path.open("w+b") as file:
            file.writelines(dump_catalogue({entry.name: held for entry, held in shards}))
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        storage.upload(path, catalogue_url(collection, sha256))
    return sha256


def assemble(pieces: Iterable[Piece], file: BinaryIO) -> None:
    """Join runs to one tar."""
    for piece in pieces:
        file.write(storage.read_range(piece.url, piece.run.offset, piece.run.size))
    end = 2 * tarfile.BLOCKSIZE
    file.write(bytes(end + -(file.tell() + end) % tarfile.RECORDSIZE))


def commit(collection: str, manifest: Manifest) -> None:
    """Publish a collection's first manifest, or its next; the same command may have done so.

    Raises:
        UsageError: someone else published another manifest here in the meantime.
        UserError: someone else's tidying up took what this manifest names.
    """
    _require_new_objects(collection, manifest)
    try:
        commit_manifest(collection, manifest, expected=manifest.parent)
    except storage.Conflict:
        if newest_id(collection) == manifest.id:
            return
        raise UsageError(
            f"{collection}: grew meanwhile by another command; repeat this one"
            if manifest.parent
            else f"{collection}: another collection was written here meanwhile; "
            "choose another --output"
        ) from None


def _require_new_objects(collection: str, manifest: Manifest) -> None:
    there = storage.listing(collection)
    before = load_manifest(collection, manifest.parent) if manifest.parent else None
    old = {holding.name for holding in holdings(before)} if before else set[str]()
    gone = {holding.name for holding in holdings(manifest)} - old - set(there)
    # If others have published meanwhile, that is what is to be told.
    if gone and newest_id(collection) == manifest.parent:
        raise UserError(
            f"{collection}: {min(gone)} was removed meanwhile by another command; repeat this one"
        )


def sweep(collection: str) -> None:
    """Remove what was left beside the manifests `ABANDONED_S` ago by runs that never ended.

    What is younger may be of use: to a run that is under way, or to one that will be repeated.
    """
    ages = storage.ages_s(collection)
    # Asked for after the listing: what was spooled in that, and is published by now, is named.
    newest, kept = newest_id(collection), named(collection)
    left = {name: age for name, age in ages.items() if OURS.fullmatch(name) and name not in kept}
    for name in _abandoned(left):
        if newest_id(collection) != newest:
            return  # who has committed since then sweeps, and knows better what is left over
        _delete_abandoned(storage.join(collection, name))


def _abandoned(ages: Mapping[str, float]) -> list[str]:
    """Return what nobody goes on with; ledgers, which vouch for runs and backgrounds, come first.

    While anything spooled is young, all that is stays, and so do backgrounds.
    """
    vouched = any(name.startswith("spool/") and age < ABANDONED_S for name, age in ages.items())
    going_on = ("spool/", "backgrounds/") if vouched else ()
    old = [name for name, age in ages.items() if age >= ABANDONED_S]
    return sorted(
        (name for name in old if not name.startswith(going_on)),
        key=lambda name: (not name.startswith("spool/"), name),
    )


def _delete_abandoned(url: str) -> None:
    """Remove an object, unless someone has gone on with it.

    Stores know no deletion on a condition: who writes the object anew and commits it, all between
    this look and this deletion, loses it.
    """
    with suppress(storage.MissingObject):
        if storage.age_s(url) >= ABANDONED_S:
            storage.delete(url)


def _read_back(path: Path, pieces: Sequence[Piece]) -> str:
    """Return the SHA-256 of a shard whose every run is as it was computed."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in pieces:
            data = file.read(piece.run.size)
            if zlib.crc32(data) != piece.run.crc32:
                raise UserError(
                    f"{piece.url}: {piece.run.key} came back changed; check the disk, "
                    "delete the folder this file is in and run again"
                )
            digest.update(data)
        digest.update(file.read())
    return digest.hexdigest()
