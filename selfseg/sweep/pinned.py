"""The state of a collection that a sweep began with: all its trials learn from this one."""

import json

from selfseg import storage
from selfseg.data.collection import Collection
from selfseg.data.manifest import resolve
from selfseg.errors import UsageError, UserError

COLLECTION = "collection.json"
DIGITS = 16
"""Of a manifest's id, by which it is named."""


def pinned(collection_url: str, output: str) -> str:
    """Name the collection's state that the sweep at `output` began with, else today's.

    Raises:
        UsageError: `collection_url` names another state, or another collection.
        UserError: there is no collection, or it does not hold this state any more.
    """
    url = storage.join(output, COLLECTION)
    try:
        begun = str(json.loads(storage.read(url))["manifest"])
    except storage.MissingObject:
        begun = ""
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{url}: does not say which manifest the sweep reads: delete it") from None
    place, manifest_id = resolve(collection_url)
    named = collection_url.rstrip("/") != place.rstrip("/")
    if begun and named and manifest_id != begun:
        raise UsageError(
            f"--collection {collection_url}: the sweep at {output} began with manifest "
            f"{begun[:DIGITS]}: name that one, or give another --output"
        )
    return f"{place.rstrip('/')}@{(begun or manifest_id)[:DIGITS]}"


def state_of(collection: Collection) -> str:
    """Name a collection in the state in which it was opened."""
    return f"{collection.url.rstrip('/')}@{collection.manifest_id[:DIGITS]}"


def pin(collection_url: str, output: str) -> None:
    """Keep which state of the collection a sweep reads; `collection_url` is from `pinned`."""
    content = json.dumps({"manifest": resolve(collection_url)[1]})
    storage.write(storage.join(output, COLLECTION), content.encode() + b"\n")
