"""One cache for many processes, some of them killed; see tests/unit/data/reading/test_cache."""

import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import filelock
import pytest

from selfseg import storage
from selfseg.data.reading import cache
from selfseg.data.reading.cache import CacheFull, lease
from tests.cached import fetch

pytestmark = pytest.mark.distributed

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["selfseg.data.reading.cache"])
SIZE = 100_000
Object = tuple[str, str, int]


@pytest.fixture
def objects(tmp_path, monkeypatch) -> list[Object]:
    """Make four objects of one size, where the cache has room for two."""
    for name, value in settings(tmp_path).items():
        monkeypatch.setenv(name, value)
    found = []
    for number in range(4):
        content = bytes([number]) * SIZE
        path = tmp_path / str(number)
        path.write_bytes(content)
        found.append((str(path), hashlib.sha256(content).hexdigest(), SIZE))
    return found


def settings(folder: Path) -> dict[str, str]:
    return {"SELFSEG_CACHE": str(folder / "cache"), "SELFSEG_CACHE_LIMIT": str(2 * SIZE)}


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "cache").iterdir() if path.is_file())


@contextmanager
def process(
    work: Callable[[Path, Object, Connection], None], folder: Path, wanted: Object
) -> Iterator[BaseProcess]:
    """Let another process work until it says so; kill it at the end."""
    receiver, sender = SERVER.Pipe(duplex=False)
    worker = SERVER.Process(target=work, args=(folder, wanted, sender))
    worker.start()
    try:
        assert receiver.recv() == "ready"
        yield worker
    finally:
        worker.kill()
        worker.join()


def hold(folder: Path, wanted: Object, ready: Connection) -> None:
    os.environ.update(settings(folder))
    with lease(*wanted):
        ready.send("ready")
        time.sleep(60)


def hang_in_the_middle(folder: Path, wanted: Object, ready: Connection) -> None:
    os.environ.update(settings(folder))

    def pour(url: str, write: Callable[[bytes, int], object]) -> None:
        write(Path(url).read_bytes()[: SIZE // 2], 0)
        ready.send("ready")
        time.sleep(60)

    storage.pour = pour
    fetch(*wanted)


def test_a_lease_of_another_process_is_respected_and_ends_when_that_is_killed(
    tmp_path, objects, monkeypatch
):
    monkeypatch.setattr(cache, "PATIENCE_S", 0.5)
    with process(hold, tmp_path, objects[0]) as first:
        with process(hold, tmp_path, objects[1]), pytest.raises(CacheFull):
            fetch(*objects[2])
        fetch(*objects[2])  # takes the place of what the second one held
        assert kept(tmp_path) == sorted([objects[0][1], objects[2][1]])
        first.kill()
        first.join()
        for wanted in objects[1:3]:
            fetch(*wanted)
    assert kept(tmp_path) == sorted([objects[1][1], objects[2][1]])


def test_a_download_that_is_killed_in_the_middle_is_done_anew_and_leaves_nothing(tmp_path, objects):
    with process(hang_in_the_middle, tmp_path, objects[0]) as downloader:
        (unfinished,) = kept(tmp_path)
        assert (tmp_path / "cache" / unfinished).stat().st_size == SIZE  # the room it will take
        with readers(tmp_path) as pool:
            waiting = pool.submit(read, objects[:1])
            time.sleep(0.5)
            assert not waiting.done()
            downloader.kill()
            assert waiting.result() == [objects[0][1]]
    assert kept(tmp_path) == [objects[0][1]]


def test_an_unfinished_download_counts_against_the_limit(tmp_path, objects, monkeypatch):
    monkeypatch.setattr(cache, "PATIENCE_S", 0.0)
    with (
        process(hang_in_the_middle, tmp_path, objects[0]),
        lease(*objects[1]),
        pytest.raises(CacheFull),
    ):
        fetch(*objects[2])


def test_many_processes_in_a_small_cache_read_what_they_asked_for_within_the_limit(
    tmp_path, objects
):
    orders = [objects[number % 4 :] + objects[: number % 4] for number in range(8)]
    with readers(tmp_path) as pool:
        jobs = [pool.submit(read, order) for order in orders]
        while not all(job.done() for job in jobs):
            assert size_of(tmp_path / "cache") <= 2 * SIZE
            time.sleep(0.01)
    for job, order in zip(jobs, orders, strict=True):
        assert job.result() == [sha256 for _, sha256, _ in order]


def test_many_processes_download_an_object_once(tmp_path, objects):
    with readers(tmp_path) as pool:
        for job in [pool.submit(read, objects[:2]) for _ in range(8)]:
            job.result()
    assert sorted((tmp_path / "log").read_text().split()) == [url for url, _, _ in objects[:2]]


def size_of(folder: Path) -> int:
    folder.mkdir(exist_ok=True)
    (folder / "locks").mkdir(exist_ok=True)
    with filelock.FileLock(folder / "locks" / "room"):  # else a file may be met under two names
        return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def readers(folder: Path) -> ProcessPoolExecutor:
    """Start processes on one cache that note each download in a log."""
    return ProcessPoolExecutor(4, SERVER, initializer=begin, initargs=(folder,))


def begin(folder: Path) -> None:
    os.environ.update(settings(folder))
    pour = storage.pour

    def noted(url: str, write: Callable[[bytes, int], object]) -> int:
        with (folder / "log").open("a") as log:
            log.write(f"{url}\n")
        return pour(url, write)

    storage.pour = noted


def read(objects: list[Object]) -> list[str]:
    found = []
    for wanted in objects:
        with lease(*wanted) as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return found
