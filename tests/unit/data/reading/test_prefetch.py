"""What is downloaded before it is asked for; over a real bucket in tests/integration."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import pytest

from selfseg.data.reading import prefetch
from selfseg.data.reading.cache import CacheFull
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.prefetch import prefetching
from selfseg.errors import UserError
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc

SHARDS = 5
PER_SHARD = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("collection"))
    scene = moving_disc(SHARDS * PER_SHARD)
    write_collection(folder, {"swan": scene}, shares=[1 / SHARDS] * SHARDS)
    return folder


class Leases:
    """Takes the place of the cache, and knows what was asked of it.

    asked: shards in the order of asking, by number
    refuse: what is raised for a shard
    """

    def __init__(self, collection: Collection, folder: Path) -> None:
        self._numbers = {shard.sha256: n for n, shard in enumerate(collection.manifest.shards)}
        self._folder = folder
        self._files: dict[int, FileIO] = {}
        self.asked: list[int] = []
        self.refuse: dict[int, Exception] = {}

    def lease_ahead(self, url: str, sha256: str, size: int, stop: threading.Event) -> FileIO:
        assert url.startswith("s3://bucket/collection/shards/")
        assert size
        number = self._numbers[sha256]
        self.asked.append(number)
        if number in self.refuse:
            raise self.refuse[number]
        path = self._folder / str(number)
        path.touch()
        self._files[number] = path.open("rb", buffering=0)
        return self._files[number]

    @property
    def held(self) -> set[int]:
        return {number for number, file in self._files.items() if not file.closed}


@pytest.fixture
def collection(folder) -> Collection:
    collection = Collection.open(folder)
    collection.url = "s3://bucket/collection"
    return collection


@pytest.fixture
def leases(collection, tmp_path, monkeypatch) -> Leases:
    leases = Leases(collection, tmp_path)
    monkeypatch.setattr(prefetch, "lease_ahead", leases.lease_ahead)
    monkeypatch.setattr(prefetch, "THREADS", 1)  # so that the order can be seen
    monkeypatch.setattr(prefetch, "PAUSE_S", 0.01)
    return leases


ORDER = [3, 0, 3, 1, 4, 2, 3]


def step_of_one_shard(step: int) -> list[int]:
    """Read two samples of shard `ORDER[step]`, its first and its last."""
    first = ORDER[step % len(ORDER)] * PER_SHARD
    return [first, first + PER_SHARD - 1]


@contextmanager
def ahead_of(
    collection: Collection, steps_ahead: int, step: int = 0
) -> Iterator[Callable[[int], None]]:
    with prefetching(collection, step_of_one_shard, step, steps_ahead) as reached:
        yield reached


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def settled(leases: Leases) -> list[int]:
    """Return what has been asked for by the time nothing is any more."""
    before = -1
    while before != len(leases.asked):
        before = len(leases.asked)
        time.sleep(0.1)
    return leases.asked


def test_shards_are_leased_in_the_order_of_their_first_use_and_no_further_than_asked(
    collection, leases
):
    with ahead_of(collection, 4):
        assert settled(leases) == [3, 0, 1]  # steps 0 ... 3
        assert leases.held == {3, 0, 1}


def test_a_resumed_stream_begins_with_its_own_step(collection, leases):
    with ahead_of(collection, 2, step=4):
        assert settled(leases) == [4, 2]


def test_a_shard_that_no_step_to_come_reads_is_let_go_and_the_next_are_leased(collection, leases):
    with ahead_of(collection, 4) as reached:
        until(lambda: leases.held == {3, 0, 1})
        reached(2)  # steps 2 ... 5: shard 3 is read again
        until(lambda: leases.held == {3, 1, 4, 2})
        reached(3)  # steps 3 ... 6: and again
        reached(7)  # steps 7 ... 10 are as 0 ... 3
        until(lambda: leases.held == {3, 0, 1})


def test_the_end_drops_all_leases_and_ends_the_threads(collection, leases):
    before = threading.active_count()
    with ahead_of(collection, 4):
        until(lambda: leases.held == {3, 0, 1})
        assert threading.active_count() > before
    assert leases.held == set()
    assert threading.active_count() == before


def test_a_shard_that_cannot_be_had_is_left_to_the_batch_that_needs_it(collection, leases):
    leases.refuse[0] = UserError("damaged")
    with ahead_of(collection, 4):
        assert settled(leases) == [3, 0, 1]
        assert leases.held == {3, 1}


def test_what_found_no_room_is_asked_for_again_until_its_step_has_passed(collection, leases):
    leases.refuse[0] = CacheFull("no room", 0)
    with ahead_of(collection, 4) as reached:
        until(lambda: leases.asked.count(0) > 2)
        assert leases.held == {3}  # not even what comes later, which would take the room
        reached(2)
        until(lambda: leases.held == {3, 1, 4, 2})


@pytest.mark.parametrize("steps_ahead", [0, 4])
def test_nothing_is_downloaded_for_a_folder_or_when_it_is_not_wanted(folder, leases, steps_ahead):
    local = Collection.open(folder)
    if not steps_ahead:
        local.url = "s3://bucket/collection"
    before = threading.active_count()
    with ahead_of(local, steps_ahead) as reached:
        reached(1)
        assert threading.active_count() == before
    assert leases.asked == []


def test_a_shard_that_comes_after_its_last_step_is_let_go(collection, leases, monkeypatch):
    monkeypatch.setattr(prefetch, "THREADS", 2)
    late = threading.Event()

    def lease_ahead(url: str, sha256: str, size: int, stop: threading.Event) -> FileIO:
        if sha256 == collection.manifest.shards[ORDER[0]].sha256:
            late.wait()
        return leases.lease_ahead(url, sha256, size, stop)

    monkeypatch.setattr(prefetch, "lease_ahead", lease_ahead)
    with ahead_of(collection, 2) as reached:  # shard 3 hangs
        until(lambda: leases.held == {0})
        reached(3)  # steps 3 and 4
        until(lambda: leases.held == {1, 4})
        late.set()
        assert settled(leases) == [0, 1, 4, 3]
        assert leases.held == {1, 4}


def test_a_download_that_hangs_holds_up_neither_the_steps_nor_the_end(
    collection, leases, monkeypatch
):
    monkeypatch.setattr(prefetch, "END_WITHIN_S", 0.1)
    begun, hang = threading.Event(), threading.Event()

    def lease_ahead(url: str, sha256: str, size: int, stop: threading.Event) -> FileIO:
        begun.set()
        hang.wait()
        return leases.lease_ahead(url, sha256, size, stop)

    monkeypatch.setattr(prefetch, "lease_ahead", lease_ahead)
    with ahead_of(collection, 4) as reached:
        assert begun.wait(10)
        begin = time.monotonic()
        reached(1)
    assert time.monotonic() - begin < 5
    hang.set()
    until(lambda: leases.asked == [3])
    until(lambda: leases.held == set())  # what comes too late is let go at once
