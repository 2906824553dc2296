"""Damaged or missing objects of a collection, put right where that can be done."""

import hashlib
import tarfile
from collections.abc import Callable

from selfseg import storage
from selfseg.data.format.catalogue import dump_catalogue, stretches
from selfseg.data.format.holdings import Holding, at_hand, bring
from selfseg.data.format.index import dump_index, index_tar, parse_index
from selfseg.data.format.manifest import ShardEntry, index_url, lineage
from selfseg.errors import UserError

Mend = Callable[[Holding], str]
"""Puts an object right and says how; or raises a UserError that says why it could not."""


def mending(collection: str, spare: str | None) -> Mend:
    """Return what puts an object of a collection right.

    An index is made anew from its tar, a catalogue from the indexes, if that gives what the
    manifest expects. Anything else is taken from the collection `spare`, if it is intact there.
    """

    def mend(holding: Holding) -> str:
        if holding.name.endswith(".idx") and _reindexed(collection, holding):
            return "made anew from its tar"
        if holding.name.startswith("catalogues/") and _recatalogued(collection, holding):
            return "made anew from the indexes"
        if spare is None:
            raise UserError("--from URL of another copy could mend it")
        try:
            bring(holding, spare, collection)
        except storage.MissingObject:
            raise UserError(f"{spare} does not have it either") from None
        return f"taken from {spare}"

    return mend


def _reindexed(collection: str, index: Holding) -> bool:
    """Write the index of a tar, if what the tar gives is the one that is wanted."""
    tar = index.at(collection).removesuffix(".idx") + ".tar"
    try:
        with at_hand(tar) as path:
            return _rewritten(collection, index, dump_index(index_tar(path)))
    except (UserError, tarfile.TarError):
        return False


def _recatalogued(collection: str, catalogue: Holding) -> bool:
    """Write a catalogue, if what the indexes give is the one that is wanted."""
    try:
        held = {
            shard.name: stretches(parse_index(storage.read(index_url(collection, shard.name))))
            for shard in _told_by(collection, catalogue)
        }
    except (UserError, ValueError):
        return False
    return _rewritten(collection, catalogue, b"".join(dump_catalogue(held)))


def _told_by(collection: str, catalogue: Holding) -> set[ShardEntry]:
    """Return the shards that were added to a collection together with a catalogue."""
    told, others = set[ShardEntry](), set[ShardEntry]()
    for _, state in lineage(collection):
        if catalogue.sha256 in state.catalogues:
            told = set(state.shards)
        else:
            others.update(state.shards)
    # The first state that names it has no others but those that were there before.
    return told - others


def _rewritten(collection: str, holding: Holding, data: bytes) -> bool:
    """Write an object, if this is its content."""
    right = hashlib.sha256(data).hexdigest() == holding.sha256
    if right:
        storage.write(holding.at(collection), data)
    return right
