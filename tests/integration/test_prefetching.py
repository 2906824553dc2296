"""Training batches out of a bucket, whose shards come before they are asked for."""

import shutil
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfseg import storage
from selfseg.contracts import FramePairs
from selfseg.data.format.damage import DamagedShard
from selfseg.data.format.manifest import ShardEntry, shard_url
from selfseg.data.format.schema import IMAGE, decode_image, forward_part, sample_key, split_key
from selfseg.data.reading import cache
from selfseg.data.reading import opening as module
from selfseg.data.reading.collection import Collection, Record
from selfseg.data.reading.loader import batches
from selfseg.data.reading.pairs import PairAddress, read_pair
from selfseg.data.reading.selection import DataConfig, readable, reading_order
from tests.exact_collection import write_collection
from tests.integration.s3_events import noting
from tests.synthetic import moving_disc
from tests.unit.data.tiny import CONFIG

STEPS = 8
SHARDS = 6
SCENES = {"swan": moving_disc(25), "car": moving_disc(23, seed=5)}


@pytest.fixture
def collection(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Collection:
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SELFSEG_CACHE_LIMIT", raising=False)
    write_collection(prefix, SCENES, gaps=(1,), shares=[1 / SHARDS] * SHARDS)
    return Collection.open(prefix)


def stream(collection: Collection, config: DataConfig):
    return closing(batches(collection, config, seed=5, step=0, rank=0, world_size=1))


def read(collection: Collection, config: DataConfig) -> list[FramePairs]:
    with stream(collection, config) as endless:
        return list(islice(endless, STEPS))


def assert_equal(found: list[FramePairs], expected: list[FramePairs]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.keys == other.keys
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.flow, other.flow)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[FramePairs]:
    folder = str(tmp_path_factory.mktemp("collection"))
    write_collection(folder, SCENES, gaps=(1,), shares=[1 / SHARDS] * SHARDS)
    return read(Collection.open(folder), CONFIG)


@contextmanager
def gets(url: str) -> Iterator[Counter[str]]:
    """Count this process's requests for objects, by their addresses."""
    seen: Counter[str] = Counter()

    def note(params: Any, **_event: object) -> None:
        seen[params["url"]] += 1

    with noting(url, "before-call.s3.GetObject", note):
        yield seen


def shards_of_steps(collection: Collection, first: int, last: int) -> set[str]:
    """Names of the shards that steps first ... last - 1 read."""
    ordinals = readable(collection, CONFIG)
    order = reading_order(collection, CONFIG, ordinals, seed=5)
    read = [ordinals[sample.ordinal] for step in range(first, last) for sample in order.batch(step)]
    ends = [sum(collection.counts[: n + 1]) for n in range(SHARDS)]
    return {
        collection.manifest.shards[next(n for n, end in enumerate(ends) if ordinal < end)].name
        for ordinal in read
    }


def cached(collection: Collection, cache: Path) -> set[str]:
    return {shard.name for shard in collection.manifest.shards if (cache / shard.sha256).exists()}


def until_cached(names: set[str], collection: Collection, cache: Path) -> None:
    deadline = time.monotonic() + 20
    while not cached(collection, cache) >= names:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("loader_processes", [0, 1])
def test_shards_are_here_before_they_are_asked_for(
    collection: Collection, expected: list[FramePairs], tmp_path: Path, loader_processes: int
):
    config = CONFIG.override({"loader_processes": loader_processes, "prefetch_steps": STEPS})
    needed = shards_of_steps(collection, 0, STEPS)
    assert needed > shards_of_steps(collection, 0, 1)
    with stream(collection, config) as endless:
        found = [next(endless)]
        until_cached(needed, collection, tmp_path / "cache")
        for shard in collection.manifest.shards:
            storage.delete(shard_url(collection.url, shard.name))
        found += islice(endless, STEPS - 1)
    assert_equal(found, expected)


def test_without_prefetching_only_what_was_asked_for_comes(collection: Collection, tmp_path: Path):
    with stream(collection, CONFIG.override({"prefetch_steps": 0})) as endless:
        next(endless)
        time.sleep(0.3)
        assert cached(collection, tmp_path / "cache") == shards_of_steps(collection, 0, 1)


def test_every_shard_is_downloaded_once(collection: Collection, expected: list[FramePairs]):
    with gets(collection.url) as seen:
        assert_equal(read(collection, CONFIG), expected)
    assert set(seen.values()) == {1}
    shards = {shard.name for shard in collection.manifest.shards}
    assert {url.rpartition("/")[2].removesuffix(".tar") for url in seen} == shards


def test_a_small_cache_gives_the_same_batches(
    collection: Collection,
    expected: list[FramePairs],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    largest = max(shard.size for shard in collection.manifest.shards)
    limit = int(2.5 * largest)
    assert limit < collection.manifest.size
    monkeypatch.setenv("SELFSEG_CACHE_LIMIT", str(limit))
    assert_equal(read(collection, CONFIG), expected)
    kept = [path.stat().st_size for path in (tmp_path / "cache").iterdir() if path.is_file()]
    assert sum(kept) <= limit


def test_a_shard_that_is_gone_is_told_by_the_batch_that_needs_it(collection: Collection):
    (gone, *_) = shards_of_steps(collection, 2, STEPS) - shards_of_steps(collection, 0, 2)
    storage.delete(shard_url(collection.url, gone))
    with stream(collection, CONFIG) as endless:
        for _ in range(2):
            next(endless)
        with pytest.raises(DamagedShard, match=f"^{shard_url(collection.url, gone)}: no "):
            list(islice(endless, STEPS))


def test_closing_the_stream_ends_the_threads_that_download(collection: Collection):
    before = set(threading.enumerate())
    with stream(collection, CONFIG) as endless:
        next(endless)
        begun = set(threading.enumerate()) - before
        assert begun
    assert not any(thread.is_alive() for thread in begun)


def later_in_another_shard(collection: Collection) -> tuple[Record, Record]:
    """A frame, and the one after it, which lies in another shard."""
    for number in range(len(collection) - 1):
        video_id, frame = split_key(collection.key(number))
        key = sample_key(video_id, frame + 1)
        if forward_part(1) not in collection.record(number).parts:
            continue
        after = collection.ordinal(key)
        if shard_of(collection, after) != shard_of(collection, number):
            return collection.record(number), collection.record(after)
    raise AssertionError


def shard_of(collection: Collection, ordinal: int) -> ShardEntry:
    return collection.manifest.shards[bisect_right(list(accumulate(collection.counts)), ordinal)]


def test_a_shard_is_not_fetched_for_the_later_frame_of_a_pair_alone(collection, tmp_path):
    first, later = later_in_another_shard(collection)
    there, elsewhere = (shard_of(collection, record.ordinal) for record in (first, later))
    shutil.rmtree(tmp_path / "cache")
    opened = Collection.open(collection.url)
    with gets(collection.url) as seen:
        pair = read_pair(opened, PairAddress(first.ordinal, 1, True), "none")
    assert cache.holds(there.sha256)
    assert not cache.holds(elsewhere.sha256)
    assert [url for url in seen if url.endswith(f"/{elsewhere.name}.tar")]
    assert np.array_equal(pair.image, decode_image(opened.record(later.ordinal).read(IMAGE)))
    # Once it is here, nothing is asked for.
    assert cache.holds(elsewhere.sha256)
    with gets(collection.url) as seen:
        read_pair(opened, PairAddress(first.ordinal, 1, True), "none")
    assert not seen


def test_of_a_bucket_a_process_keeps_fewer_shards_open(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OPEN_FETCHED_SHARDS", 2)
    opened = Collection.open(collection.url)
    for ordinal in range(len(opened)):
        opened.record(ordinal).read(IMAGE)
    links = list(Path("/proc/self/fd").iterdir())
    paths = [str(link.readlink()) for link in links if link.is_symlink()]
    assert len([path for path in paths if path.startswith(str(tmp_path / "cache"))]) == 2
