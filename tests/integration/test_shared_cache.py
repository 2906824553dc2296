"""A collection in a bucket, read by several at a time out of one cache."""

from io import FileIO
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.data.format.damage import DamagedShard
from selfseg.data.format.manifest import shard_url
from selfseg.data.format.schema import IMAGE
from selfseg.data.reading import cache
from selfseg.data.reading.cache import cache_folder
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


def damaged_copy(collection: Collection) -> Path:
    """Flip a bit of the first sample's image in the copy of its shard, which stays open."""
    copy = cache_folder() / collection.manifest.shards[0].sha256
    with copy.open("r+b") as file:
        place = collection.record(0).parts[IMAGE].offset
        file.seek(place)
        first = file.read(1)[0]
        file.seek(place)
        file.write(bytes([first ^ 1]))
    return copy


def test_a_damaged_copy_that_another_process_has_just_deleted_is_fetched_again(url):
    collection = Collection.open(url)
    expected = collection.record(0).read(IMAGE)
    damaged_copy(collection).unlink()
    assert collection.record(0).read(IMAGE) == expected


def test_what_another_process_fetched_in_place_of_a_damaged_copy_stays(url):
    one, other = Collection.open(url), Collection.open(url)
    expected = [collection.record(0).read(IMAGE) for collection in (one, other)]
    copy = damaged_copy(one)
    assert one.record(0).read(IMAGE) == expected[0]
    fetched = copy.stat()
    assert other.record(0).read(IMAGE) == expected[1]
    assert copy.stat().st_ino == fetched.st_ino


def test_a_copy_that_is_deleted_while_it_is_opened_is_fetched_again(url, monkeypatch):
    collection = Collection.open(url)
    copy, lease, leased = cache_folder() / collection.manifest.shards[0].sha256, cache.lease, []

    def found_damaged(of: str, sha256: str, size: int | None = None) -> FileIO:
        file = lease(of, sha256, size)
        leased.append(sha256)
        if leased.count(copy.name) == 1:
            copy.unlink(missing_ok=True)
        return file

    monkeypatch.setattr(cache, "lease", found_damaged)
    assert len(images(collection)) == 9 + 6
    assert leased.count(copy.name) == 2


def test_an_index_that_is_deleted_when_it_has_come_is_read_all_the_same(url, monkeypatch):
    collection, lease = Collection.open(url), cache.lease

    def deleted(of: str, sha256: str, size: int | None = None) -> FileIO:
        file = lease(of, sha256, size)
        if of.endswith(".idx"):
            Path(str(file.name)).unlink()
        return file

    monkeypatch.setattr(cache, "lease", deleted)
    assert len(images(collection)) == 9 + 6


def test_a_shard_that_is_gone_when_its_damaged_copy_is_is_named(url):
    collection = Collection.open(url)
    shard = collection.manifest.shards[0]
    collection.record(0).read(IMAGE)
    damaged_copy(collection)
    storage.delete(shard_url(url, shard.name))
    with pytest.raises(DamagedShard, match=f"{shard.name}.tar: no such object"):
        collection.record(0).read(IMAGE)


def test_a_cache_of_the_largest_shard_is_enough_for_one_who_reads(url, monkeypatch):
    collection = Collection.open(url)
    largest = max(shard.size for shard in collection.manifest.shards)
    monkeypatch.setenv("SELFSEG_CACHE_LIMIT", str(largest))
    monkeypatch.setattr(cache, "PATIENCE_S", 0)
    assert len(images(collection)) == 9 + 6


def test_a_shard_that_is_evicted_is_closed_when_another_is_opened(url, monkeypatch):
    collection = Collection.open(url)
    largest = max(shard.size for shard in collection.manifest.shards)
    monkeypatch.setenv("SELFSEG_CACHE_LIMIT", str(2 * largest))
    images(collection)
    links = list(Path("/proc/self/fd").iterdir())
    paths = [str(link.readlink()) for link in links if link.is_symlink()]
    held = [path for path in paths if path.startswith(str(cache_folder()))]
    assert held
    assert not [path for path in held if path.endswith("(deleted)")]
