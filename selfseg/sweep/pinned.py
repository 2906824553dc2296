"""The state of a collection that a sweep began with: all its trials learn from this one."""

from selfseg import storage
from selfseg.config import Config
from selfseg.data.format.manifest import SHOWN_DIGITS, resolve
from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError
from selfseg.sweep.results import read_kept, write_kept

COLLECTION = "collection.json"


class Pinned(Config):
    """Which state it was."""

    manifest: str
    """Its id."""


def pinned(collection_url: str, output: str) -> str:
    """Name the collection's state that the sweep at `output` began with, else today's.

    Raises:
        UsageError: `collection_url` names another state, or another collection.
        UserError: there is no collection, or it does not hold this state any more.
    """
    url = storage.join(output, COLLECTION)
    otherwise = "does not say which manifest the sweep reads: delete it"
    begun = read_kept(url, Pinned, otherwise=otherwise)
    place, manifest_id = resolve(collection_url)
    named = collection_url.rstrip("/") != place.rstrip("/")
    if begun and named and manifest_id != begun.manifest:
        raise UsageError(
            f"--collection {collection_url}: the sweep at {output} began with manifest "
            f"{begun.manifest[:SHOWN_DIGITS]}: name that one, or give another --output"
        )
    return _state(place, begun.manifest if begun else manifest_id)


def pin(collection: Collection, output: str) -> None:
    """Keep which state of the collection a sweep reads: that in which it was opened."""
    write_kept(storage.join(output, COLLECTION), Pinned(manifest=collection.manifest_id))


def state_of(collection: Collection) -> str:
    """Name a collection in the state in which it was opened."""
    return _state(collection.url, collection.manifest_id)


def _state(place: str, manifest_id: str) -> str:
    return f"{place.rstrip('/')}@{manifest_id[:SHOWN_DIGITS]}"
