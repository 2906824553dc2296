"""What a process pays for a collection does not grow with it; the collections are made up."""

import hashlib
import time

import pytest
from data_bench.growth import cost, made_up
from data_bench.selfseg_shards import VIDEO, commit

from selfseg.data.format.catalogue import Stretch
from selfseg.data.format.manifest import ShardEntry
from selfseg.data.format.schema import IMAGE
from selfseg.data.reading.collection import Collection


def test_a_made_up_collection_reads_as_a_real_one(tmp_path):
    made_up(tmp_path / "collection", samples=10, shards=3)
    collection = Collection.open(str(tmp_path / "collection"))
    assert sorted(collection.counts) == [3, 3, 4]
    keys = [collection.record(ordinal).key for ordinal in range(10)]
    assert len(set(keys)) == 10
    for ordinal, key in enumerate(keys):
        assert collection.ordinal(key) == ordinal
        assert set(collection.record(ordinal).read(IMAGE)) == {0}


def test_ten_thousand_shards_are_open_in_two_seconds(tmp_path):
    made_up(tmp_path / "collection", samples=20_000, shards=10_000)
    Collection.open(str(tmp_path / "collection"))  # what is read was written only now
    # Of the processor: other programs may slow the machine.
    started = time.process_time()
    collection = Collection.open(str(tmp_path / "collection"))
    assert time.process_time() - started < 2
    assert len(collection) == 20_000


def test_shards_of_fifty_runs_each_are_open_in_two_seconds_too(tmp_path):
    """As ingest deals them: neighbouring frames stand in runs of eight, over all shards."""
    shards, runs = 10_000, 50
    held = []
    for shard in range(shards):
        sha256 = hashlib.sha256(str(shard).encode()).hexdigest()
        entry = ShardEntry(
            name=sha256[:16], samples=8 * runs, size=1, sha256=sha256, index_sha256=sha256
        )
        firsts = range(8 * shard, 8 * shards * runs, 8 * shards)
        held.append((entry, [Stretch(VIDEO, first, 8, (IMAGE,)) for first in firsts]))
    commit(str(tmp_path), held)
    started = time.process_time()
    collection = Collection.open(str(tmp_path))
    assert time.process_time() - started < 2
    assert len(collection) == 8 * shards * runs


@pytest.mark.slow
def test_memory_is_the_same_for_a_thousand_samples_and_for_three_hundred_thousand():
    few, many = cost(1_000, 2), cost(300_000, 600)
    assert many.peak_mb < 1.1 * few.peak_mb
