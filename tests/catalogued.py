"""A catalogue for a collection of `tests.exact_collection`, which writes none."""

from collections.abc import Iterable

from selfseg import storage
from selfseg.data.format.catalogue import Stretch, stretches
from selfseg.data.format.index import parse_index
from selfseg.data.format.manifest import (
    LATEST,
    Manifest,
    ShardEntry,
    index_url,
    load_manifest,
    manifest_url,
)
from selfseg.data.ingest.writing import publish_catalogue


def add_catalogue(url: str) -> Manifest:
    """Put a state with a catalogue of its shards in the place of a collection's only one."""
    before = load_manifest(url)
    storage.delete(manifest_url(url, before.id))
    catalogue = publish_catalogue(url, listed(url, before.shards))
    return publish(url, before.override({"catalogues": [catalogue]}))


def publish(url: str, manifest: Manifest) -> Manifest:
    """Make a state the newest, whatever the newest is."""
    storage.write(manifest_url(url, manifest.id), manifest.to_bytes())
    storage.write(storage.join(url, LATEST), f"{manifest.id}\n".encode())
    return manifest


def listed(url: str, shards: Iterable[ShardEntry]) -> list[tuple[ShardEntry, list[Stretch]]]:
    """Return what these shards hold, as their indexes say."""
    return [
        (shard, stretches(parse_index(storage.read(index_url(url, shard.name)))))
        for shard in shards
    ]
