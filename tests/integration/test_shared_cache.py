"""A collection in a bucket, read by several at a time out of one cache."""

from pathlib import Path

import pytest

from selfseg.data.format.schema import IMAGE
from selfseg.data.reading import cache
from selfseg.data.reading.collection import Collection
from tests.catalogued import add_catalogue
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc

SCENES = {"swan": moving_disc(9), "car": moving_disc(6, seed=5)}


@pytest.fixture
def url(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a collection with a catalogue, of which nothing is in the cache."""
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SELFSEG_CACHE_LIMIT", raising=False)
    write_collection(prefix, SCENES)
    add_catalogue(prefix)
    return prefix


def images(collection: Collection) -> list[bytes]:
    return [collection.record(ordinal).read(IMAGE) for ordinal in range(len(collection))]


def test_a_cache_of_the_largest_shard_is_enough_for_one_who_reads(url, monkeypatch):
    collection = Collection.open(url)
    largest = max(shard.size for shard in collection.manifest.shards)
    monkeypatch.setenv("SELFSEG_CACHE_LIMIT", str(largest))
    monkeypatch.setattr(cache, "PATIENCE_S", 0)
    assert len(images(collection)) == 9 + 6
