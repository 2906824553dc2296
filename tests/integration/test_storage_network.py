"""A real S3 server, reached over a network that breaks."""

import random
import threading
import time
from pathlib import Path

import pytest

from selfseg import storage
from tests.integration.broken_network import Proxy

MIB = 1 << 20


def some_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def test_a_body_that_keeps_breaking_off_is_continued_where_it_broke(prefix: str, proxy: Proxy):
    data = some_bytes(3 * MIB)
    storage.write(f"{prefix}/shard", data)
    proxy.cut_answers_after = MIB  # starting anew would never come to the end
    assert storage.read(f"{prefix}/shard") == data
    assert storage.read_range(f"{prefix}/shard", 100, 2 * MIB) == data[100 : 100 + 2 * MIB]
    assert proxy.cuts >= 4


def test_breaks_are_counted_only_where_nothing_was_received_in_between(
    prefix: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
):
    data = some_bytes(3 * MIB)
    storage.write(f"{prefix}/shard", data)
    waits: list[float] = []
    monkeypatch.setattr("selfseg.stores.s3.time.sleep", waits.append)
    proxy.cut_answers_after = 3 * MIB // 10
    assert storage.read(f"{prefix}/shard") == data
    assert len(waits) >= 10  # more than are allowed in a row
    assert max(waits) <= 0.2  # each is a first one


def test_a_download_survives_a_breaking_network_too(prefix: str, proxy: Proxy, tmp_path: Path):
    data = some_bytes(3 * MIB)
    storage.write(f"{prefix}/shard", data)
    proxy.cut_answers_after = MIB
    storage.download(f"{prefix}/shard", tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == data


def test_an_object_that_changes_while_it_is_read_is_no_mixture(prefix: str, proxy: Proxy):
    storage.write(f"{prefix}/shard", some_bytes(3 * MIB))

    def change() -> None:
        proxy.cut_answers_after = None
        storage.write(f"{prefix}/shard", bytes(3 * MIB))

    proxy.cut_answers_after = MIB
    proxy.on_cut = change
    with pytest.raises(storage.Conflict, match="changed by another process"):
        storage.read(f"{prefix}/shard")


def test_a_body_that_never_goes_on_ends_in_an_error(
    prefix: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
):
    storage.write(f"{prefix}/shard", some_bytes(3 * MIB))
    monkeypatch.setattr("selfseg.stores.s3.time.sleep", lambda seconds: None)
    proxy.cut_answers_after = 2000  # the header comes through, and a little
    with pytest.raises(
        storage.StorageError, match=f"^{prefix}/shard: no connection to {proxy.url}"
    ):
        storage.read(f"{prefix}/shard")


def test_a_claim_whose_answer_was_lost_is_known_as_our_own(prefix: str, proxy: Proxy):
    storage.exists(f"{prefix}/LATEST")
    proxy.lost_answers = 1
    storage.replace(f"{prefix}/LATEST", b"mine", None)
    assert proxy.lost_answers == 0
    assert storage.read(f"{prefix}/LATEST") == b"mine"


def test_an_outage_in_the_middle_of_a_run_is_ridden_out(prefix: str, proxy: Proxy):
    storage.write(f"{prefix}/object", b"data")
    proxy.down = True
    again = threading.Timer(1.5, lambda: setattr(proxy, "down", False))
    again.start()
    begin = time.monotonic()
    assert storage.read(f"{prefix}/object") == b"data"
    assert time.monotonic() - begin > 1
    again.join()
