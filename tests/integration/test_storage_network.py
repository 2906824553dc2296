"""A real S3 server, reached over a network that breaks."""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.errors import UsageError
from selfseg.stores import patience, s3_client
from selfseg.stores.patience import FIRST_REST_S
from tests.integration.broken_network import Fault, Proxy

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


def test_patience_begins_anew_with_every_byte_received(
    prefix: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
):
    data = some_bytes(3 * MIB)
    storage.write(f"{prefix}/shard", data)
    waits: list[float] = []
    monkeypatch.setattr("selfseg.stores.patience.time.sleep", waits.append)
    proxy.cut_answers_after = 3 * MIB // 10
    assert storage.read(f"{prefix}/shard") == data
    assert len(waits) >= 10
    assert max(waits) <= FIRST_REST_S  # each is a first one


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
    monkeypatch.setenv("SELFSEG_STORAGE_PATIENCE", "0.5")
    proxy.cut_answers_after = 2000  # the header comes through, and a little
    with pytest.raises(storage.Unreachable, match=f"^{prefix}/shard: no connection to {proxy.url}"):
        storage.read(f"{prefix}/shard")


def test_a_claim_whose_answer_was_lost_is_known_as_our_own(prefix: str, proxy: Proxy):
    storage.exists(f"{prefix}/LATEST")
    proxy.lost_answers = 1
    storage.replace(f"{prefix}/LATEST", b"mine", None)
    assert proxy.lost_answers == 0
    assert storage.read(f"{prefix}/LATEST") == b"mine"


def some_file(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(some_bytes(9000))
    return file


REQUESTS: dict[str, Callable[[str, Path], object]] = {
    "read": lambda url, _: storage.read(url),
    "read_range": lambda url, _: storage.read_range(url, 0, 1),
    "size": lambda url, _: storage.size(url),
    "write": lambda url, _: storage.write(url, b"new"),
    "replace": lambda url, _: storage.replace(url, b"new", b"data"),
    "listing": lambda url, _: storage.listing(url),
    "delete": lambda url, _: storage.delete(url),
    "delete_tree": lambda url, _: storage.delete_tree(url),
    "download": lambda url, folder: storage.download(url, folder / "copy"),
    "upload": lambda url, folder: storage.upload(some_file(folder), url),
    "probe": lambda url, _: storage.probe(url),
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the notes on waiting, of which none is held back."""
    notes: list[str] = []
    monkeypatch.setattr(patience, "TELL_AFTER_S", 0)
    monkeypatch.setattr(patience._outages, "tell", notes.append)
    return notes


@pytest.mark.parametrize("ask", REQUESTS.values(), ids=REQUESTS)
def test_every_request_rides_out_an_outage_and_tells_of_it(
    prefix: str, proxy: Proxy, tmp_path: Path, ask, told, monkeypatch: pytest.MonkeyPatch
):
    """The first rest that is told of ends the outage, so the request sees both for certain."""
    storage.write(f"{prefix}/object", b"data")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # botocore's rests, too

    def end(note: str) -> None:
        told.append(note)
        proxy.down = False

    storage.tell_of_waiting(end)
    proxy.down = True
    ask(f"{prefix}/object", tmp_path)
    begun, ended = told
    assert begun.startswith(f"{prefix}/object: the store is away (")
    assert begun.endswith("; waiting up to 600 s")
    assert ended == f"{prefix}/object: answers again after 0 s"
    assert not storage.is_waiting()


@pytest.mark.parametrize("refusal", [(500, "InternalError"), (503, "ServiceUnavailable")])
def test_a_server_that_never_serves_again_ends_in_one_line(
    prefix: str, proxy: Proxy, told, refusal, monkeypatch: pytest.MonkeyPatch
):
    storage.write(f"{prefix}/object", b"data")
    monkeypatch.setenv("SELFSEG_STORAGE_PATIENCE", "0.3")
    proxy.fault = Fault("/object", refusal=refusal)
    with pytest.raises(storage.Unreachable) as caught:
        storage.read(f"{prefix}/object")
    assert str(caught.value) == (
        f"{prefix}/object: {proxy.url} answered {refusal[1]}: as the test wants it; "
        "see the server's log"
    )
    assert len(told) == 1  # that it waits
    assert not storage.is_waiting()


def test_what_will_be_refused_again_is_not_asked_for_again(prefix: str, proxy: Proxy, told):
    storage.write(f"{prefix}/object", b"data")
    proxy.fault = Fault("/object", refusal=(403, "AccessDenied"))
    with pytest.raises(storage.StorageError, match="access denied; give"):
        storage.read(f"{prefix}/object")
    assert proxy.struck == 1
    assert told == []


def test_who_is_in_a_hurry_does_not_wait(prefix: str, proxy: Proxy, told):
    storage.write(f"{prefix}/object", b"data")
    proxy.fault = Fault("/object", refusal=(500, "InternalError"))
    with pytest.raises(storage.Unreachable), storage.impatient():
        storage.read(f"{prefix}/object")
    assert told == []
    proxy.fault = None
    assert storage.read(f"{prefix}/object") == b"data"


# Whoever asked has hung up when the proxy passes the request on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_who_is_in_a_hurry_waits_seconds_for_a_server_that_took_the_request_and_is_silent(
    prefix: str, proxy: Proxy, told, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(s3_client, "HURRIED_S", 0.2)
    storage.write(f"{prefix}/object", b"data")
    released = threading.Event()

    def be_silent() -> None:
        released.wait(8)

    proxy.on_strike = be_silent
    proxy.fault = Fault("/object", verbs=("PUT",))
    begun = time.monotonic()
    with pytest.raises(storage.Unreachable, match="no connection to"), storage.impatient():
        storage.write(f"{prefix}/object", b"line")
    assert time.monotonic() - begun < 4
    released.set()
    assert told == []


def test_a_process_that_is_told_of_the_place_waits_at_first_contact_too(
    prefix: str, proxy: Proxy, told, monkeypatch: pytest.MonkeyPatch
):
    proxy.down = True
    with pytest.raises(storage.Unreachable, match=r"^s3.*: no connection to"):
        storage.exists(prefix)
    assert told == []
    storage.expect_answers()
    monkeypatch.setattr(
        patience._outages, "tell", lambda note: told.append(note) or setattr(proxy, "down", False)
    )
    assert not storage.exists(f"{prefix}/object")
    assert len(told) == 2


@pytest.mark.parametrize("text", ["long", "-1", "86400", "nan"])
def test_a_patience_that_is_none_is_named(monkeypatch, text):
    monkeypatch.setenv("SELFSEG_STORAGE_PATIENCE", text)
    with pytest.raises(UsageError, match=f"^SELFSEG_STORAGE_PATIENCE={text}: not a number of sec"):
        patience.Patience("s3://bucket/object").rest(ConnectionError())
