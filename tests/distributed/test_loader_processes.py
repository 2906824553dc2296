"""Loader processes and workers read what one process would, and fail as plainly."""

import hashlib
import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest
import torch

from selfseg import storage
from selfseg.contracts import FramePairs
from selfseg.data.format.manifest import shard_url
from selfseg.data.reading import server
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.following import Follower
from selfseg.data.reading.loader import batches
from selfseg.data.reading.passing import SLOTS
from selfseg.data.reading.processes import begin, prepared
from selfseg.data.reading.selection import DataConfig
from selfseg.errors import UserError
from tests.cached import fetch
from tests.exact_collection import write_collection
from tests.reading import samples_of
from tests.synthetic import moving_disc

pytestmark = pytest.mark.distributed

CONFIG = DataConfig(height=24, width=32, batch_size=4, gaps=(1, 2), lanes=2, block=3)
STEPS = 6
SCENES = {"swan": moving_disc(9), "car": moving_disc(5, seed=5)}
SERVER = server.context()


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("collection"))
    write_collection(folder, SCENES)
    return folder


@pytest.fixture(scope="module")
def whole(url):
    return samples_of(read(url, 0))


def read(
    url: str, loader_processes: int, *, rank=0, world_size=1, step=0, steps=STEPS
) -> list[FramePairs]:
    config = CONFIG.override({"loader_processes": loader_processes})
    collection = Collection.open(url)
    endless = batches(collection, config, seed=5, step=step, rank=rank, world_size=world_size)
    return list(islice(endless, steps))


def joined(parts: list[list[list[str]]]) -> list[list[str]]:
    """Put the workers' parts of each batch together, by rank."""
    return [list(chain(*batch)) for batch in zip(*parts, strict=True)]


def test_resuming_with_other_workers_and_loader_processes_reads_the_same_global_batches(url, whole):
    # (step at which it goes on, workers, loader processes of each)
    for step, world_size, processes in [(1, 2, 1), (2, 1, 2), (4, 4, 0)]:
        parts = [
            samples_of(read(url, processes, rank=rank, world_size=world_size, step=step))
            for rank in range(world_size)
        ]
        assert joined(parts)[: STEPS - step] == whole[step:]


def read_as_worker(url: str, rank: int, world_size: int) -> list[list[str]]:
    return samples_of(read(url, 0, rank=rank, world_size=world_size))


@pytest.mark.parametrize("loader_processes", [1, 3])
def test_any_number_of_loader_processes_gives_the_same_batches(url, whole, loader_processes):
    assert samples_of(read(url, loader_processes)) == whole


def test_batches_that_are_kept_are_never_written_over(url):
    kept, alone = (read(url, processes, steps=3 * 2 * SLOTS) for processes in (2, 0))
    for batch, expected in zip(kept, alone, strict=True):
        assert batch.keys == expected.keys
        assert torch.equal(batch.image, expected.image)
        assert torch.equal(batch.flow, expected.flow)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_any_number_of_workers_reads_the_same_global_batches(url, whole, world_size):
    with ProcessPoolExecutor(world_size, mp_context=SERVER) as pool:
        reading = [pool.submit(read_as_worker, url, r, world_size) for r in range(world_size)]
        parts = [future.result() for future in reading]
    assert joined(parts) == whole


def test_workers_with_loader_processes_read_the_same_global_batches(url, whole):
    parts = [samples_of(read(url, 2, rank=rank, world_size=2)) for rank in range(2)]
    assert joined(parts) == whole


def test_a_bucket_gives_the_same_batches_through_the_cache(s3, whole, tmp_path, monkeypatch):
    bucket = f"{s3}/loader"
    write_collection(bucket, SCENES)
    # The server of loader processes may run already: it must not keep its own environment.
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path))
    assert samples_of(read(bucket, 1)) == whole
    manifest = Collection.open(bucket).manifest
    fetched = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert fetched >= {shard.sha256 for shard in manifest.shards}
    # What is in the cache is not asked for again.
    for shard in manifest.shards:
        storage.delete(shard_url(bucket, shard.name))
    assert samples_of(read(bucket, 0)) == whole


def test_reading_does_not_touch_the_generator_whose_state_a_run_restores(url):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    read(url, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_a_loader_process_finds_damaged_is_told_in_one_line(tmp_path):
    write_collection(str(tmp_path), {"swan": moving_disc(5)}, shares=[1])
    (shard,) = (tmp_path / "shards").glob("*.tar")
    shard.write_bytes(shard.read_bytes().replace(b"\xff\xd8", b"\xff\xd9"))
    with pytest.raises(UserError, match=rf"^{shard}: damaged at [^\n]*$"):
        read(str(tmp_path), 1)


def test_no_process_outlives_the_reader(url):
    endless = batches(Collection.open(url), CONFIG, seed=5, step=0, rank=0, world_size=1)
    next(endless)
    started = multiprocessing.active_children()
    assert started
    endless.close()
    for process in started:
        process.join(10)
        assert process.exitcode is not None


def test_no_process_outlives_a_reader_that_is_killed(url):
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    reader = context.Process(target=read_and_wait, args=(url, sender))
    reader.start()
    (process_id,) = receiver.recv()
    loader_process = psutil.Process(process_id)
    reader.kill()
    reader.join()
    # An orphan that nobody reaps stays as a zombie, which is as dead.
    deadline = time.monotonic() + 30
    while loader_process.is_running() and loader_process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def read_and_wait(url: str, sender: Connection) -> None:
    endless = batches(Collection.open(url), CONFIG, seed=5, step=0, rank=0, world_size=1)
    next(endless)
    sender.send([process.pid for process in multiprocessing.active_children()])
    time.sleep(60)


def square(number: int) -> int:
    assert number < 5, "five is too much"
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def test_items_come_in_order_and_of_a_lost_process_is_told_how_it_ended():
    context = server.context()
    squares = prepared(square, 0, 2, begin=bool, context=context)
    assert next(squares) == 0
    # What it had sent until it was lost is not.
    deadline = time.monotonic() + 30
    while len(multiprocessing.active_children()) == 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(islice(squares, 3)) == [1, 4, 9]
    with pytest.raises(RuntimeError, match=r"^loader process \d+ was killed by SIGKILL, maybe"):
        next(squares)
    assert not multiprocessing.active_children()


def test_what_an_item_raises_is_told_with_its_traceback():
    squares = prepared(square, 5, 1, begin=bool, context=server.context())
    with pytest.raises(RuntimeError, match=r"(?s)^loader process \d+ failed:.*five is too"):
        next(squares)


def test_many_processes_fetch_one_object_and_none_sees_a_part_of_it(tmp_path):
    content = os.urandom(5_000_000)
    (tmp_path / "remote.tar").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    with ProcessPoolExecutor(4, mp_context=SERVER) as pool:
        jobs = [
            pool.submit(fetch_into, tmp_path / "cache", str(tmp_path / "remote.tar"), sha256)
            for _ in range(16)
        ]
        assert {job.result() for job in jobs} == {sha256}
    assert [p.name for p in (tmp_path / "cache").iterdir() if p.is_file()] == [sha256]


def fetch_into(cache: Path, url: str, sha256: str) -> str:
    os.environ["SELFSEG_CACHE"] = str(cache)
    os.environ.pop("SELFSEG_CACHE_LIMIT", None)  # the server may have been started with one
    return hashlib.sha256(fetch(url, sha256).read_bytes()).hexdigest()


def test_a_loader_process_has_its_workers_environment_and_nothing_more():
    """The server that it comes from may have been started with other variables."""
    environment = {"SELFSEG_CACHE": "/here"}
    with ProcessPoolExecutor(1, mp_context=SERVER) as pool:
        assert pool.submit(environment_after, environment).result() == environment


def environment_after(environment: dict[str, str]) -> dict[str, str]:
    os.environ["SELFSEG_CACHE_LIMIT"] = "1"
    begin(environment)
    return dict(os.environ)


def test_what_was_prepared_before_a_run_moved_on_is_not_read(tmp_path):
    config = CONFIG.override({"follow": True, "rehearsal": 0})

    def keys(loader_processes: int) -> list[tuple[str, ...]]:
        url = str(tmp_path / str(loader_processes))
        first = write_collection(url, {"swan": SCENES["swan"]}).id
        follower = Follower(url, first, looks=True, agree=str, tell=lambda line: None)
        endless = batches(
            Collection.open(url),
            config.override({"loader_processes": loader_processes}),
            seed=5,
            step=0,
            rank=0,
            world_size=1,
            follower=follower,
        )
        found = [next(endless).keys]
        write_collection(url, SCENES)
        found += [batch.keys for batch in islice(endless, STEPS)]
        endless.close()
        return found

    alone = keys(0)
    # 8 samples, two batches of 4.
    assert [{key.partition("-")[0] for key in batch} for batch in alone] == [
        *[{"swan"}] * 2,
        *[{"car"}] * (STEPS - 1),
    ]
    assert keys(2) == alone
