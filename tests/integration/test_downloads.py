"""Large objects come in parts, several at a time, each byte once."""

import hashlib
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from selfseg import storage
from selfseg.stores.s3_client import connect
from tests.cached import fetch
from tests.integration.broken_network import Proxy
from tests.integration.s3_events import noting

MIB = 1 << 20
PART = 8 * MIB


def some_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@contextmanager
def requests(url: str) -> Iterator[list[str]]:
    """Collect this process's requests for objects: the method, and which bytes."""
    seen: list[str] = []

    def note(model: Any, params: Any, **_event: object) -> None:
        seen.append(f"{model.name} {params['headers'].get('Range', '')}".strip())

    with noting(url, "before-call.s3", note):
        yield seen


@pytest.mark.parametrize("size", [1, PART - 1, PART])
def test_a_small_object_is_one_request(prefix: str, tmp_path: Path, size: int):
    storage.write(f"{prefix}/small", some_bytes(size))
    with requests(prefix) as seen:
        storage.download(f"{prefix}/small", tmp_path / "small")
    assert (tmp_path / "small").read_bytes() == some_bytes(size)
    assert seen == [f"GetObject bytes=0-{PART - 1}"]


def test_an_empty_object_is_an_empty_file(prefix: str, tmp_path: Path):
    storage.write(f"{prefix}/empty", b"")
    storage.download(f"{prefix}/empty", tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""


def test_four_parts_of_a_large_object_are_on_their_way_at_once_and_each_byte_comes_once(
    prefix: str,
):
    data = some_bytes(5 * PART + 3)
    storage.write(f"{prefix}/large", data)
    received, together = bytearray(len(data)), threading.Barrier(4, timeout=30)
    arrived: list[int] = []

    def write(chunk: bytes, offset: int) -> None:
        if offset in range(0, 4 * PART, PART):
            together.wait()  # breaks if the other three are not asked for until one is complete
        received[offset : offset + len(chunk)] = chunk
        arrived.append(len(chunk))

    with requests(prefix) as seen:
        storage.pour(f"{prefix}/large", write)
    assert received == data
    assert sum(arrived) == len(data)
    begins = range(0, len(data), PART)
    ends = [min(begin + PART, len(data)) - 1 for begin in begins]
    assert sorted(seen) == sorted(
        f"GetObject bytes={begin}-{end}" for begin, end in zip(begins, ends, strict=True)
    )


@pytest.fixture
def proxy(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Put a faulty network between this process and the S3 server."""
    with Proxy.before(connect(s3).meta.endpoint_url) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        yield between


def test_each_part_is_continued_where_it_broke(prefix: str, proxy: Proxy, tmp_path: Path):
    data = some_bytes(2 * PART + 5)
    storage.write(f"{prefix}/large", data)
    proxy.cut_answers_after = 3 * MIB
    with requests(prefix) as seen:
        storage.download(f"{prefix}/large", tmp_path / "large")
    assert (tmp_path / "large").read_bytes() == data
    assert proxy.cuts >= 4  # two in each of the two large parts
    assert len(seen) == 3 + proxy.cuts


def test_an_object_that_changes_between_two_parts_is_no_mixture(prefix: str, tmp_path: Path):
    url = f"{prefix}/large"
    storage.write(url, some_bytes(6 * PART))
    changed = threading.Lock()

    def change(**_event: object) -> None:
        if changed.acquire(blocking=False):
            storage.write(url, bytes(6 * PART))

    events = connect(url).meta.events
    events.register("after-call.s3.GetObject", change)
    try:
        with pytest.raises(storage.Conflict, match=f"^{url}: changed by another process"):
            storage.download(url, tmp_path / "large")
    finally:
        events.unregister("after-call.s3.GetObject", change)
    assert not list(tmp_path.iterdir())


def test_a_server_that_ignores_ranges_is_an_error_and_no_mixture(prefix: str, tmp_path: Path):
    storage.write(f"{prefix}/large", some_bytes(2 * PART))

    def ignore(params: Any, **_event: object) -> None:
        if params["headers"].get("Range") != f"bytes=0-{PART - 1}":
            params["headers"].pop("Range", None)

    events = connect(prefix).meta.events
    events.register("before-call.s3.GetObject", ignore)
    try:
        with pytest.raises(storage.StorageError, match=f"^{prefix}/large: .* ignores ranges"):
            storage.download(f"{prefix}/large", tmp_path / "large")
    finally:
        events.unregister("before-call.s3.GetObject", ignore)
    assert not list(tmp_path.iterdir())


def test_a_writer_that_fails_ends_the_download(prefix: str):
    storage.write(f"{prefix}/large", some_bytes(3 * PART))

    def write(_chunk: bytes, offset: int) -> None:
        if offset >= PART:
            raise OSError("full")

    with pytest.raises(OSError, match=r"^full$"):
        storage.pour(f"{prefix}/large", write)


def test_what_is_fetched_of_several_parts_is_verified_as_a_whole(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path))
    data = some_bytes(2 * PART + 7)
    storage.write(f"{prefix}/large", data)
    path = fetch(f"{prefix}/large", hashlib.sha256(data).hexdigest(), len(data))
    assert path.read_bytes() == data
