"""Damage to a collection, in a folder or in a bucket: the exact samples, or one plain error."""

import errno
import hashlib
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.data.format.damage import DamagedShard
from selfseg.data.format.index import IndexEntry, Span, dump_index, parse_index
from selfseg.data.format.manifest import ShardEntry, commit_manifest, index_url, shard_url
from selfseg.data.format.schema import IMAGE
from selfseg.data.reading.cache import cache_folder
from selfseg.data.reading.collection import Collection
from selfseg.errors import UserError
from tests.exact_collection import damage, write_collection
from tests.integration.broken_network import Fault, Proxy
from tests.synthetic import moving_disc

SCENES = {"swan": moving_disc(7), "car": moving_disc(5, seed=5)}
TAR_BLOCK = 512
Samples = dict[str, dict[str, bytes]]
Forgery = Callable[[list[IndexEntry]], list[IndexEntry]]


@pytest.fixture
def url(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a collection, of which nothing is in the cache."""
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    write_collection(f"{place}/c", SCENES)
    return f"{place}/c"


@pytest.fixture
def bucket(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a collection into the bucket, of which nothing is in the cache."""
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    write_collection(prefix, SCENES)
    return prefix


@pytest.fixture(scope="module")
def intact(tmp_path_factory) -> Samples:
    folder = str(tmp_path_factory.mktemp("intact"))
    write_collection(folder, SCENES)
    return everything(folder)


def everything(url: str) -> Samples:
    collection = Collection.open(url)
    records = [collection.record(ordinal) for ordinal in range(len(collection))]
    return {record.key: {part: record.read(part) for part in record.parts} for record in records}


def change(url: str, edit: Callable[[bytearray], object]) -> None:
    content = bytearray(storage.read(url))
    edit(content)
    storage.write(url, bytes(content))


def flip(place: int) -> Callable[[bytearray], object]:
    def edit(content: bytearray) -> None:
        content[place] ^= 1

    return edit


def first_shard(url: str) -> tuple[ShardEntry, str]:
    shard = Collection.open(url).manifest.shards[0]
    return shard, shard_url(url, shard.name)


def said(url: str) -> str:
    with pytest.raises(UserError) as caught:
        everything(url)
    (line,) = str(caught.value).splitlines()
    return line


def said_of_shard(url: str, shard: ShardEntry) -> str:
    with pytest.raises(DamagedShard) as caught:
        everything(url)
    (line,) = str(caught.value).splitlines()
    assert caught.value.shard == shard
    assert shard.name in line or shard.sha256 in line
    return line


def test_a_flipped_bit_of_a_sample_is_named(url):
    key = Collection.open(url).key(0)
    shard = damage(Collection.open(url), key)
    forget()
    line = said_of_shard(url, shard)
    assert "damaged" in line
    assert key in line
    assert line.partition("; ")[2].startswith(("delete the file", "ingest it again"))


def test_a_flipped_bit_of_a_header_harms_nobody_or_is_named(url, intact):
    """A header is not looked at, but a remote shard is compared as a whole."""
    shard, tar = first_shard(url)
    change(tar, flip(3))
    if storage.is_remote(url):
        assert f"{tar}: damaged: its sha256 is not {shard.sha256}" in said_of_shard(url, shard)
    else:
        assert everything(url) == intact


def test_a_shard_that_is_cut_between_two_of_its_members_is_named(url):
    collection = Collection.open(url)
    shard, tar = first_shard(url)
    last = collection.record(collection.counts[0] - 1)
    start = min(span.offset for span in last.parts.values()) - TAR_BLOCK
    change(tar, lambda content: content.__delitem__(slice(start, None)))
    forget()
    line = said_of_shard(url, shard)
    assert "cut off" in line
    assert (collection.key(0) if storage.is_remote(url) else last.key) in line


@pytest.mark.parametrize("left", [0, 1])
def test_a_shard_that_is_cut_off_is_named_though_it_is_read_in_place(url, left):
    shard, tar = first_shard(url)
    place = Collection.open(url).record(0, whole=False).parts[IMAGE].offset
    change(tar, lambda content: content.__delitem__(slice(place + left, None)))
    record = Collection.open(url).record(0, whole=False)
    with pytest.raises(DamagedShard, match=f"^{re.escape(tar)}: .*{record.key}") as caught:
        record.read(IMAGE)
    assert caught.value.shard == shard


def test_a_store_that_is_away_is_no_damage_of_the_shard_that_is_read_in_place(bucket, monkeypatch):
    record = Collection.open(bucket).record(0, whole=False)
    assert IMAGE in record.parts
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with storage.impatient(), pytest.raises(storage.Unreachable):
        record.read(IMAGE)


def test_a_missing_shard_is_named_with_the_sample_that_it_holds(url):
    shard, tar = first_shard(url)
    storage.delete(tar)
    line = said_of_shard(url, shard)
    assert line.startswith(f"{tar}: no such ")
    assert Collection.open(url).key(0) in line


def test_a_missing_index_is_named(url):
    shard, _ = first_shard(url)
    forget()
    storage.delete(index_url(url, shard.name))
    assert said(url).startswith(f"{index_url(url, shard.name)}: no such ")


def test_a_changed_index_is_named(url):
    shard, _ = first_shard(url)
    forget()
    change(index_url(url, shard.name), flip(30))
    assert said(url).startswith(f"{index_url(url, shard.name)}: damaged")


def test_an_index_that_lies_about_where_a_part_is_is_found_out(url):
    def shifted(entries: list[IndexEntry]) -> list[IndexEntry]:
        part, span = next(iter(entries[1].parts.items()))
        moved = Span(span.offset + TAR_BLOCK, span.size, span.crc32)
        return [
            entries[0],
            IndexEntry(entries[1].key, entries[1].parts | {part: moved}),
            *entries[2:],
        ]

    shard, _ = first_shard(url)
    forge(url, shard, shifted)
    line = said(url)
    assert "damaged at" in line
    assert shard.name in line or shard.sha256 in line
    assert Collection.open(url).key(1) in line


def test_a_key_that_is_there_twice_is_found_out(url):
    def doubled(entries: list[IndexEntry]) -> list[IndexEntry]:
        return [entries[0], IndexEntry(entries[0].key, entries[1].parts), *entries[2:]]

    shard, _ = first_shard(url)
    key = Collection.open(url).key(0)
    forge(url, shard, doubled)
    assert said(url).startswith(f"{url}: damaged: sample {key} is in its shards twice")


def forge(url: str, shard: ShardEntry, lie: Forgery) -> None:
    """Publish a state of the collection that vouches for a false index."""
    manifest = Collection.open(url).manifest
    index = dump_index(lie(parse_index(storage.read(index_url(url, shard.name)))))
    storage.write(index_url(url, shard.name), index)
    false = shard.override({"index_sha256": hashlib.sha256(index).hexdigest()})
    shards = [false if each == shard else each for each in manifest.shards]
    forged = manifest.override({"shards": [each.model_dump() for each in shards]})
    commit_manifest(url, forged, manifest.id)


def forget() -> None:
    """Empty the cache."""
    storage.delete_tree(str(cache_folder()))


def test_a_disk_that_fails_is_named(tmp_path, monkeypatch):
    write_collection(str(tmp_path), SCENES)
    shard, tar = first_shard(str(tmp_path))
    collection = Collection.open(str(tmp_path))
    whole = os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == Path(tar):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return whole(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    line = said_of_shard(str(tmp_path), shard)
    assert line.startswith(f"{tar}: Input/output error; ")
    assert collection.key(0) in line


def test_what_was_damaged_in_the_cache_is_fetched_again(bucket, intact):
    assert everything(bucket) == intact
    copies = [path for path in cache_folder().iterdir() if path.is_file()]
    for copy in copies:  # shards, indexes and the catalogue
        change(str(copy), flip(copy.stat().st_size // 3))
    assert everything(bucket) == intact


def test_a_shard_that_is_cut_off_in_the_cache_is_fetched_again(bucket, intact):
    shard, _ = first_shard(bucket)
    assert everything(bucket) == intact
    copy = cache_folder() / shard.sha256
    os.truncate(copy, shard.size // 2)
    assert everything(bucket) == intact
    assert copy.stat().st_size == shard.size


def test_a_cached_shard_that_is_damaged_each_time_is_named(bucket, intact, monkeypatch):
    shard, _ = first_shard(bucket)
    copy = cache_folder() / shard.sha256
    record = Collection.open(bucket).record(0)
    offset = next(iter(record.parts.values())).offset
    whole = os.pread

    def pread(descriptor: int, size: int, at: int) -> bytes:
        read = whole(descriptor, size, at)
        same = Path(f"/proc/self/fd/{descriptor}").readlink().name == shard.sha256
        return bytes([read[0] ^ 1]) + read[1:] if same and at == offset else read

    monkeypatch.setattr(os, "pread", pread)
    line = said_of_shard(bucket, shard)
    assert line.startswith(f"{copy}: damaged at {record.key}")


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_shard_that_there_is_no_room_for_is_said_with_the_remedy(bucket, intact):
    indexes = max(
        len(storage.read(index_url(bucket, shard.name)))
        for shard in Collection.open(bucket).manifest.shards
    )
    with files_no_larger_than(indexes):  # as good as a full disk
        line = said(bucket)
    assert line.startswith(str(cache_folder()))
    assert "set SELFSEG_CACHE to a folder with room" in line
    assert everything(bucket) == intact


def read_slowly(bucket: str, cache: str) -> None:
    os.environ["SELFSEG_CACHE"] = cache
    everything(bucket)


def test_a_process_that_is_killed_while_it_downloads_leaves_nothing_to_stumble_over(
    bucket, proxy: Proxy, intact
):
    proxy.fault = Fault(".tar", pause_s=0.2)
    reader = get_context("spawn").Process(target=read_slowly, args=(bucket, str(cache_folder())))
    reader.start()
    deadline = time.monotonic() + 60
    while not proxy.struck and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # some pieces have come
    assert reader.pid
    os.kill(reader.pid, signal.SIGKILL)
    reader.join()
    proxy.fault = None
    began = time.monotonic()
    assert everything(bucket) == intact
    assert time.monotonic() - began < 30


def read_into(cache: str, bucket: str) -> Samples:
    os.environ["SELFSEG_CACHE"] = cache
    return everything(bucket)


@pytest.mark.distributed
def test_several_processes_fill_one_cache_at_the_same_time_and_read_the_same(
    bucket, proxy: Proxy, intact
):
    proxy.fault = Fault("/shards/", times=4, cut_after=3000)
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        reading = [pool.submit(read_into, str(cache_folder()), bucket) for _ in range(3)]
        assert [future.result() for future in reading] == [intact] * 3
    assert proxy.struck == 4
