"""A whole epoch from a real S3 server that fails: the exact samples arrive, or one plain error."""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.contracts import FramePairs
from selfseg.data.format.manifest import ShardEntry, shard_url
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.loader import batches
from selfseg.data.reading.quarantine import Loss, Quarantine
from selfseg.data.reading.selection import DataConfig
from selfseg.errors import UserError
from selfseg.stores import s3_client
from tests.exact_collection import write_collection
from tests.integration.broken_network import Fault, Proxy
from tests.meeting import Meeting
from tests.reading import samples_of
from tests.synthetic import moving_disc

CONFIG = DataConfig(height=24, width=32, batch_size=4, gaps=(1, 2), lanes=2, block=3)
SCENES = {"swan": moving_disc(9), "car": moving_disc(5, seed=5)}
EPOCH = 3
"""Steps; the samples with a later frame are 8 and 4."""

SHARDS = "/shards/"
HALF = 6000
"""Bytes that are less than any shard has, headers included."""

PATIENCE_S = 60
"""A fault that passes costs less than that."""

TEMPORARY = {
    "an internal error": Fault(SHARDS, times=4, refusal=(500, "InternalError")),
    "a request to slow down": Fault(SHARDS, times=4, refusal=(503, "SlowDown")),
    "a trickle": Fault(SHARDS, times=3, pause_s=0.002),
    "a reset in the middle": Fault(SHARDS, times=4, cut_after=HALF, resets=True),
    "a body that ends too early": Fault(SHARDS, times=4, cut_after=HALF),
    "an answer that ends in its headers": Fault(SHARDS, times=4, cut_after=100),
}


@pytest.fixture
def bucket(prefix: str, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a collection into the bucket, which nothing is known of here."""
    del proxy
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    write_collection(prefix, SCENES)
    return prefix


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[list[str]]:
    folder = str(tmp_path_factory.mktemp("collection"))
    write_collection(folder, SCENES)
    return epoch(Collection.open(folder), 0)


def epoch(collection: Collection, loader_processes: int) -> list[list[str]]:
    config = CONFIG.override({"loader_processes": loader_processes})
    stream = batches(collection, config, seed=5, step=0, rank=0, world_size=1)
    try:
        return samples_of(list(islice(stream, EPOCH)))
    finally:
        stream.close()


def error_of(collection: Collection, loader_processes: int) -> str:
    with pytest.raises(UserError) as caught:
        epoch(collection, loader_processes)
    (line,) = str(caught.value).splitlines()
    assert ";" in line  # the cause; the remedy
    return line


def shards_of(collection: Collection) -> list[str]:
    return [shard_url(collection.url, shard.name) for shard in collection.manifest.shards]


@pytest.mark.parametrize("loader_processes", [0, 1])
@pytest.mark.parametrize("fault", TEMPORARY.values(), ids=TEMPORARY)
def test_what_passes_is_survived_and_the_exact_samples_arrive(
    bucket, proxy, undisturbed, fault, loader_processes
):
    proxy.fault = fault
    began = time.monotonic()
    assert epoch(Collection.open(bucket), loader_processes) == undisturbed
    assert proxy.struck == fault.times
    assert time.monotonic() - began < PATIENCE_S


def test_a_server_that_falls_silent_in_the_middle_is_asked_again(
    bucket, proxy, undisturbed, monkeypatch
):
    client = s3_client._client

    def impatient(*arguments, **options):
        return client(*arguments, **options | {"read_timeout_s": 0.5})

    monkeypatch.setattr(s3_client, "_client", impatient)
    proxy.fault = Fault(SHARDS, times=2, pause_s=2)
    assert epoch(Collection.open(bucket), 0) == undisturbed
    assert proxy.struck == 2


@pytest.mark.parametrize("loader_processes", [0, 1])
def test_keys_that_lose_their_right_in_the_middle_of_a_run_are_named_with_the_shard(
    bucket, proxy, loader_processes
):
    collection = Collection.open(bucket)
    proxy.fault = Fault(".tar", refusal=(403, "AccessDenied"))
    line = error_of(collection, loader_processes)
    assert line.startswith(tuple(shards_of(collection)))
    assert "access denied; give" in line


@pytest.mark.parametrize("loader_processes", [0, 1])
def test_a_shard_that_changes_while_it_is_fetched_is_named_and_no_mixture_is_read(
    bucket, proxy, loader_processes
):
    collection = Collection.open(bucket)

    def change() -> None:
        proxy.fault = None
        for url in shards_of(collection):
            storage.write(url, bytes(3 * HALF))

    proxy.fault, proxy.on_cut = Fault(".tar", cut_after=HALF), change
    line = error_of(collection, loader_processes)
    assert line.startswith(tuple(shards_of(collection)))
    # The last, if a part is asked for that the object has no more.
    said = ("changed by another process", "cut off", "damaged", "shorter than what is asked of it")
    assert any(each in line for each in said)
    for shard in collection.manifest.shards:
        # Another than the one that was cut may have come whole before.
        copy = Path(os.environ["SELFSEG_CACHE"]) / shard.sha256
        assert not copy.exists() or hashlib.sha256(copy.read_bytes()).hexdigest() == shard.sha256


def test_an_endpoint_that_dies_in_the_middle_of_a_run_is_named_with_the_shard(
    bucket, proxy, monkeypatch
):
    collection = Collection.open(bucket)
    proxy.down = True
    monkeypatch.setenv("SELFSEG_STORAGE_PATIENCE", "1")
    line = error_of(collection, 0)
    assert line.startswith(tuple(shards_of(collection)))
    assert f"no connection to {proxy.url}" in line


def test_an_endpoint_that_is_dead_when_loader_processes_begin_is_waited_for(
    bucket, proxy, undisturbed
):
    collection = Collection.open(bucket)
    proxy.down = True
    again = threading.Timer(4, lambda: setattr(proxy, "down", False))  # first contact takes 1
    again.start()
    assert epoch(collection, 1) == undisturbed
    again.join()


@pytest.mark.parametrize("loader_processes", [0, 1])
def test_a_shard_that_is_gone_is_named(bucket, loader_processes):
    collection = Collection.open(bucket)
    for url in shards_of(collection):
        storage.delete(url)
    line = error_of(collection, loader_processes)
    assert line.startswith(tuple(f"{url}: no such object" for url in shards_of(collection)))


SHARES = (0.25, 0.25, 0.25, 0.25)


def cut_off(collection: Collection, left: int) -> ShardEntry:
    """Leave only the first bytes of a shard in the bucket."""
    shard = collection.manifest.shards[1]
    url = shard_url(collection.url, shard.name)
    storage.write(url, storage.read(url)[:left])
    return shard


def keys_without(
    collection: Collection, loader_processes: int, gathers: list[Callable[[str], list[str]]]
) -> tuple[list[list[str]], list[tuple[Loss, ...]]]:
    """Read so that one damaged shard may be lost; return each batch's keys, and all ranks' losses.

    gathers: of each rank
    """
    config = CONFIG.override({"loader_processes": loader_processes, "augmentation.reverse": 0})
    quarantines = [Quarantine(1, gather=gather, tell=lambda line: None) for gather in gathers]

    def read(rank: int) -> list[FramePairs]:
        stream = batches(
            collection,
            config,
            seed=5,
            step=0,
            rank=rank,
            world_size=len(gathers),
            quarantine=quarantines[rank],
        )
        with closing(stream):
            return list(islice(stream, 4 * EPOCH))

    with ThreadPoolExecutor(len(gathers)) as pool:
        parts = list(pool.map(read, range(len(gathers))))
    keys = [[key for part in batch for key in part.keys] for batch in zip(*parts, strict=True)]
    return keys, [quarantine.losses for quarantine in quarantines]


@pytest.mark.parametrize("left", [0, HALF])
def test_all_ranks_go_on_without_a_shard_that_is_cut_off_in_the_bucket(
    prefix, tmp_path, monkeypatch, left
):
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    write_collection(prefix, SCENES, shares=SHARES)
    collection = Collection.open(prefix)
    shard = cut_off(collection, left)
    first = sum(collection.counts[:1])
    lost = {collection.key(first + row) for row in range(shard.samples)}
    expected, [losses] = keys_without(collection, 0, [lambda text: [text]])
    (loss,) = losses
    assert loss.shard == shard.name
    assert loss.cause.startswith(f"{shard_url(prefix, shard.name)}: ")
    assert any(key in loss.cause for key in lost)
    assert not {key for keys in expected for key in keys} & lost
    for loader_processes in (0, 1):
        meeting = Meeting(2)
        seats = [meeting.seat(rank) for rank in range(2)]
        found, [one, other] = keys_without(collection, loader_processes, seats)
        assert found == expected
        assert one == other
        assert [(each.step, each.shard) for each in one] == [(loss.step, shard.name)]


@pytest.mark.parametrize("left", [0, HALF])
@pytest.mark.parametrize("loader_processes", [0, 1])
def test_a_shard_that_is_cut_off_in_the_bucket_is_named(bucket, loader_processes, left):
    collection = Collection.open(bucket)
    shard = cut_off(collection, left)
    line = error_of(collection, loader_processes)
    told = f"cut off after {left} of {shard.size} bytes; ingest it again"
    assert line.startswith(f"{shard_url(bucket, shard.name)}: {told}")
    first = sum(collection.counts[:1])
    assert any(collection.key(first + row) in line for row in range(shard.samples))
