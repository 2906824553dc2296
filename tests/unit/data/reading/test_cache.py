"""Copies of remote objects; here a local path stands for the remote object."""

import fcntl
import hashlib
import mmap
import os
import re
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO

import pytest

from selfseg import storage
from selfseg.data.reading import cache
from selfseg.data.reading.cache import CacheFull, Stopped, cache_folder, lease, lease_ahead
from selfseg.errors import UsageError, UserError
from tests.cached import fetch

CONTENT = b"shard" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)


@pytest.fixture
def remote(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SELFSEG_CACHE_LIMIT", raising=False)
    path = tmp_path / "remote.tar"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def limit_of(monkeypatch) -> Callable[[float], None]:
    """Limit the folder to as many bytes as so many of the objects have."""

    def limit(objects: float) -> None:
        monkeypatch.setenv("SELFSEG_CACHE_LIMIT", str(int(objects * SIZE)))

    return limit


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr(cache, "PATIENCE_S", 0.0)


@pytest.fixture
def objects(remote) -> dict[str, tuple[str, str, int]]:
    """Make objects of one size; by name, what they are fetched by."""
    found = {}
    for name in "abcd":
        content = name.encode() * SIZE
        path = remote.with_name(name)
        path.write_bytes(content)
        found[name] = (str(path), hashlib.sha256(content).hexdigest(), SIZE)
    return found


def kept(objects: dict[str, tuple[str, str, int]]) -> str:
    return "".join(sorted(name for name, (_, sha256, _) in objects.items() if sha256 in files()))


def files() -> list[str]:
    return [p.name for p in cache_folder().iterdir() if p.is_file()]


def test_an_object_is_copied_once(remote):
    path = fetch(str(remote), SHA256)
    assert path.read_bytes() == CONTENT
    remote.unlink()
    assert fetch(str(remote), SHA256) == path
    assert files() == [SHA256]


def test_another_content_than_promised_is_refused_and_leaves_nothing(remote):
    remote.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(UserError, match=rf"{remote}: damaged: .* {SHA256}; ingest it again"):
        fetch(str(remote), SHA256)
    assert files() == []


def test_a_download_that_breaks_off_leaves_nothing_and_can_be_repeated(remote, monkeypatch):
    def break_off(url: str, write: Callable[[bytes, int], object]) -> None:
        write(CONTENT[:7], 0)
        raise storage.StorageError(f"{url}: connection lost")

    with monkeypatch.context() as broken:
        broken.setattr(storage, "pour", break_off)
        with pytest.raises(storage.StorageError):
            fetch(str(remote), SHA256)
    assert files() == []
    assert fetch(str(remote), SHA256).read_bytes() == CONTENT


def test_what_a_killed_download_left_is_not_taken_for_the_object_and_removed(remote):
    cache_folder().mkdir()
    (cache_folder() / f"{SHA256}.0123.part").write_bytes(CONTENT[:7])
    assert fetch(str(remote), SHA256).read_bytes() == CONTENT
    assert files() == [SHA256]


def test_what_another_download_has_written_so_far_is_left_to_it(remote):
    cache_folder().mkdir()
    unfinished = cache_folder() / f"{SHA256}.0123.part"
    with unfinished.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        fetch(str(remote), SHA256)
        assert unfinished.exists()


def test_files_of_others_in_the_folder_are_not_touched(remote, limit_of):
    cache_folder().mkdir()
    (cache_folder() / "notes.part").write_bytes(bytes(10 * SIZE))
    limit_of(1)
    fetch(str(remote), SHA256, SIZE)
    assert set(files()) == {"notes.part", SHA256}


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Fail to write like a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [None, SIZE])
def test_a_full_disk_names_the_folder_and_leaves_nothing(remote, size):
    with (
        files_no_larger_than(SIZE // 2),
        pytest.raises(UserError, match=f"^{cache_folder()}: .*; set SELFSEG_CACHE to a folder"),
    ):
        fetch(str(remote), SHA256, size)
    assert files() == []


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(remote, monkeypatch):
    monkeypatch.setenv("SELFSEG_CACHE", str(remote))
    with pytest.raises(UserError, match=f"{remote}: .*set SELFSEG_CACHE"):
        fetch(str(remote), SHA256)


def test_without_the_variable_the_users_cache_folder_is_used(monkeypatch, tmp_path):
    monkeypatch.delenv("SELFSEG_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "selfseg"


def test_the_one_used_least_recently_makes_room(objects, limit_of):
    limit_of(3)
    for name in "abcab":  # c has waited longest
        fetch(*objects[name])
    fetch(*objects["d"])
    assert kept(objects) == "abd"


def test_an_object_of_unknown_size_takes_no_more_than_the_limit_either(objects, limit_of):
    limit_of(2)
    for name in "abc":
        fetch(*objects[name][:2])
    assert kept(objects) == "bc"


def test_without_a_limit_nothing_is_evicted(objects):
    for name in "abcd":
        fetch(*objects[name])
    assert kept(objects) == "abcd"


def test_what_is_leased_stays_until_it_is_closed(objects, limit_of):
    limit_of(2)
    with lease(*objects["a"]):
        for name in "bcd":
            fetch(*objects[name])
        assert kept(objects) == "ad"
    fetch(*objects["b"])
    assert kept(objects) == "bd"


def test_what_is_evicted_under_a_reader_stays_readable(objects, limit_of):
    limit_of(1)
    path = fetch(*objects["a"])
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        fetch(*objects["b"])
        assert not path.exists()
        assert os.pread(file.fileno(), SIZE, 0) == view[:] == b"a" * SIZE


@pytest.mark.usefixtures("impatient")
def test_a_limit_that_leaves_no_room_is_an_error_whose_remedy_helps(objects, limit_of, monkeypatch):
    limit_of(2.5)
    with lease(*objects["a"]), lease(*objects["b"]):
        fits = f"may hold 12.5KB, 10.0KB .* 5.0KB .* {objects['c'][0]};"  # objects of 5000 bytes
        with pytest.raises(CacheFull, match=f"^{cache_folder()}: {fits}") as error:
            fetch(*objects["c"])
        remedy = re.search(r"set (SELFSEG_CACHE_LIMIT) to at least (\d+)$", str(error.value))
        assert remedy
        monkeypatch.setenv(*remedy.groups())
        fetch(*objects["c"])
    assert kept(objects) == "abc"


def test_an_object_larger_than_the_limit_is_refused_at_once_and_evicts_nothing(objects, limit_of):
    limit_of(1)
    fetch(*objects["a"])
    begin = time.monotonic()
    url, sha256, _ = objects["b"]
    with pytest.raises(CacheFull):
        fetch(url, sha256, 2 * SIZE)
    assert time.monotonic() - begin < cache.PATIENCE_S / 2
    assert kept(objects) == "a"


def test_who_finds_no_room_waits_for_others_to_let_go(objects, limit_of):
    limit_of(1)
    held = lease(*objects["a"])
    letting_go = threading.Timer(0.3, held.close)
    letting_go.start()
    fetch(*objects["b"])
    letting_go.join()
    assert kept(objects) == "b"


@pytest.mark.parametrize(("text", "size"), [("200GB", 200 * 10**9), ("1.5KiB", 1536), ("7", 7)])
def test_a_limit_is_written_as_people_write_sizes(monkeypatch, text, size):
    monkeypatch.setenv("SELFSEG_CACHE_LIMIT", text)
    assert cache.cache_limit() == size


def test_a_limit_that_is_no_size_is_a_mistake_of_usage(remote, monkeypatch):
    monkeypatch.setenv("SELFSEG_CACHE_LIMIT", "much")
    with pytest.raises(UsageError, match=r"^SELFSEG_CACHE_LIMIT=much: not a size; set"):
        fetch(str(remote), SHA256)


def ahead(wanted: tuple[str, str, int]) -> FileIO:
    return lease_ahead(*wanted, threading.Event())


def test_what_is_fetched_ahead_leaves_half_of_the_limit_to_what_is_wanted_now(objects, limit_of):
    limit_of(4)
    fetch(*objects["c"])
    with ahead(objects["a"]), ahead(objects["b"]):
        for refused in "cd":  # whether it is there already or not
            with pytest.raises(CacheFull):
                ahead(objects[refused])
        ahead(objects["a"]).close()  # is counted once, whoever holds it
        with lease(*objects["c"]), lease(*objects["d"]):
            assert kept(objects) == "abcd"


def test_what_is_fetched_ahead_evicts_what_nobody_holds(objects, limit_of):
    limit_of(2)
    for name in "abc":
        ahead(objects[name]).close()
    assert kept(objects) == "bc"


def test_a_download_ahead_that_is_stopped_leaves_nothing(remote, monkeypatch):
    stop = threading.Event()

    def pour(url: str, write: Callable[[bytes, int], object]) -> None:
        write(CONTENT[:7], 0)
        stop.set()
        write(CONTENT[7:], 7)

    monkeypatch.setattr(storage, "pour", pour)
    with pytest.raises(Stopped):
        lease_ahead(str(remote), SHA256, SIZE, stop)
    assert files() == []
