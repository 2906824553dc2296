"""One shard and its index against the manifest and each other; what is hit, by key."""

import hashlib
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from selfseg import storage
from selfseg.data.format.catalogue import Stretch, stretches
from selfseg.data.format.holdings import Holding, at_hand, sha256_of, shard_holdings
from selfseg.data.format.index import IndexEntry, Span, index_tar, parse_index
from selfseg.data.format.manifest import ShardEntry
from selfseg.errors import UserError


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with an object.

    holding: the object
    cause: in words, with the samples that are hit
    replaceable: whether the object as the manifest knows it would put it right
    """

    holding: Holding
    cause: str
    replaceable: bool = True


@dataclass(frozen=True, slots=True)
class CheckedShard:
    """What came of it.

    faults: of the tar, then of the index
    held: its samples as the index lists them; None: it cannot be read
    """

    faults: tuple[Fault, ...]
    held: tuple[Stretch, ...] | None


def check_shard(collection: str, shard: ShardEntry) -> CheckedShard:
    """Read a shard from its first byte to its last, and its index.

    Raises:
        StorageError: the collection is out of reach.
    """
    tar, index = shard_holdings(shard)
    entries, of_index = _read_index(index, collection)
    try:
        with at_hand(tar.at(collection)) as path:
            faults = [*_faults_of_tar(path, tar, index, entries), *of_index]
    except storage.StorageError as error:
        faults = [_unreadable(tar, collection, error), *of_index]
    if entries is None:
        return CheckedShard(tuple(faults), None)
    if len(entries) != shard.samples:
        cause = f"lists {len(entries)} samples where the manifest counts {shard.samples}"
        faults.append(Fault(index, cause, replaceable=False))
    return CheckedShard(tuple(faults), tuple(stretches(entries)))


def check_object(collection: str, holding: Holding) -> Fault | None:
    """Compare an object that is not a shard with its SHA-256.

    Raises:
        StorageError: the collection is out of reach.
    """
    try:
        with at_hand(holding.at(collection)) as path:
            right = sha256_of(path) == holding.sha256
    except storage.StorageError as error:
        return _unreadable(holding, collection, error)
    return None if right else Fault(holding, "damaged: its sha256 differs")


def _read_index(
    index: Holding, collection: str
) -> tuple[list[IndexEntry] | None, tuple[Fault, ...]]:
    """Return what an index lists; None, and why, if it cannot be read."""
    try:
        data = storage.read(index.at(collection))
    except storage.StorageError as error:
        return None, (_unreadable(index, collection, error),)
    if hashlib.sha256(data).hexdigest() != index.sha256:
        return None, (Fault(index, "damaged: its sha256 differs"),)
    try:
        entries = parse_index(data)
        stretches(entries)  # says whether all keys are some
        return entries, ()
    except ValueError as error:
        return None, (Fault(index, str(error), replaceable=False),)


def _unreadable(holding: Holding, collection: str, error: storage.StorageError) -> Fault:
    """Say why an object cannot be read.

    Raises:
        StorageError: it is in a bucket and not missing, so that others are out of reach, too.
    """
    if isinstance(error, storage.MissingObject):
        return Fault(holding, "missing")
    if storage.is_remote(collection):
        raise error
    return Fault(holding, str(error).removeprefix(f"{holding.at(collection)}: "))


def _faults_of_tar(
    path: Path, tar: Holding, index: Holding, entries: list[IndexEntry] | None
) -> Iterator[Fault]:
    """Yield what is wrong with a tar, or with an index that is of another one."""
    if sha256_of(path) != tar.sha256:
        yield Fault(tar, _damage(path, tar, entries))
    elif entries is not None:
        try:
            found = index_tar(path)
        except (UserError, tarfile.TarError) as error:
            cause = str(error).removeprefix(f"{path}: ")
            yield Fault(tar, cause, replaceable=False)
            return
        if found != entries:
            yield Fault(index, _difference(found, entries), replaceable=False)


def _difference(found: Sequence[IndexEntry], listed: Sequence[IndexEntry]) -> str:
    """Name the first sample of which an index says something else than its tar."""
    pairs = zip(found, listed, strict=False)
    shorter, longer = sorted((found, listed), key=len)
    rest = [entry.key for entry in longer[len(shorter) :]]
    key = next((ours.key for ours, theirs in pairs if ours != theirs), *rest[:1])
    return f"says of {key} what its tar does not hold"


def _damage(path: Path, tar: Holding, entries: list[IndexEntry] | None) -> str:
    """Say what is hit of a tar that has another content than it should."""
    size = path.stat().st_size
    how = f"cut off after {size} of {tar.size} bytes" if size < tar.size else "damaged"
    if entries is None:
        return f"{how}; which samples are hit only its index could tell"
    members = [(entry.key, *part) for entry in entries for part in entry.parts.items()]
    with path.open("rb") as file:
        hurt = [
            f"{key}.{part}: {harm}"
            for key, part, span in members
            if (harm := _harm(file, f"{key}.{part}", span))
        ]
    if not hurt:
        return f"{how}: between the samples, which are all intact"
    more = f", and {len(hurt) - 1} more of its {len(members)} parts" if len(hurt) > 1 else ""
    return f"{how}: {hurt[0]}{more}"


def _harm(file: BinaryIO, name: str, span: Span) -> str | None:
    """Say what is wrong with one member; None: nothing."""
    file.seek(span.offset - tarfile.BLOCKSIZE)
    header, data = file.read(tarfile.BLOCKSIZE), file.read(span.size)
    if len(data) != span.size:
        return "it is lost"
    if zlib.crc32(data) != span.crc32:
        return "its checksum differs"
    try:
        info = tarfile.TarInfo.frombuf(header, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return "its tar header is damaged"
    same = (info.name, info.size) == (name, span.size)
    return None if same else "its tar header is damaged"
