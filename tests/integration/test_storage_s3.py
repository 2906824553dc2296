"""Both kinds of place keep the same promises; a real S3 server is made to misbehave."""

import json
import multiprocessing
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from pyarrow import fs

from selfseg import storage
from selfseg.errors import UsageError
from selfseg.stores.s3_client import connect
from tests.integration.broken_network import Proxy

MIB = 1 << 20


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty folder or prefix."""
    if request.param == "folder":
        return str(tmp_path)
    return f"{request.getfixturevalue('s3')}/{uuid4().hex}"


@pytest.fixture
def prefix(s3: str) -> str:
    """Give the URL of an empty prefix in a bucket."""
    return f"{s3}/{uuid4().hex}"


@pytest.fixture
def proxy(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Put a faulty network between this process and the S3 server."""
    with Proxy.before(storage_endpoint()) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        yield between


def storage_endpoint() -> str:
    return connect("s3://tests").meta.endpoint_url


def some_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 3 * MIB])
def test_what_is_written_is_read(place: str, size: int):
    url = storage.join(place, "deep", "object")
    storage.write(url, some_bytes(size))
    assert storage.read(url) == some_bytes(size)
    assert storage.size(url) == size


def test_a_second_write_takes_the_place_of_the_first(place: str):
    url = storage.join(place, "object")
    storage.write(url, b"a longer first")
    storage.write(url, b"second")
    assert storage.read(url) == b"second"


def test_a_range_is_exactly_that_part(place: str):
    url = storage.join(place, "object")
    data = some_bytes(1000)
    storage.write(url, data)
    assert storage.read_range(url, 0, 10) == data[:10]
    assert storage.read_range(url, 990, 10) == data[990:]
    assert storage.read_range(url, 500, 0) == b""


@pytest.mark.parametrize("offset", [995, 2000])
def test_a_range_past_the_end_is_an_error_and_no_short_answer(place: str, offset: int):
    url = storage.join(place, "object")
    storage.write(url, some_bytes(1000))
    with pytest.raises(storage.StorageError, match=f"^{re.escape(url)}: .*write it again$"):
        storage.read_range(url, offset, 10)


def test_an_object_that_is_not_there_is_named(place: str):
    url = storage.join(place, "nothing")
    assert not storage.exists(url)
    for attempt in (storage.read, storage.size, lambda url: storage.read_range(url, 0, 1)):
        with pytest.raises(storage.MissingObject, match=f"^{re.escape(url)}: no such"):
            attempt(url)


def test_a_folder_does_not_exist_as_an_object(place: str):
    storage.write(storage.join(place, "folder", "object"), b"")
    assert storage.exists(storage.join(place, "folder", "object"))
    assert not storage.exists(storage.join(place, "folder"))


def test_a_listing_is_recursive_relative_and_sorted(place: str):
    names = ["b", "a/z", "a/b/c", "a.txt", "ü and space"]
    for name in names:
        storage.write(storage.join(place, "run", name), b"")
    storage.write(storage.join(place, "runner"), b"")
    assert storage.listing(storage.join(place, "run")) == sorted(names)
    assert storage.listing(storage.join(place, "run", "")) == sorted(names)
    assert storage.listing(storage.join(place, "nothing")) == []


def test_a_tree_is_deleted_without_its_neighbours(place: str):
    for name in ("run/a", "run/b/c", "runner", "run.json"):
        storage.write(storage.join(place, name), b"")
    storage.delete_tree(storage.join(place, "run"))
    storage.delete_tree(storage.join(place, "run"))
    assert storage.listing(place) == ["run.json", "runner"]


def test_an_object_may_be_deleted_twice(place: str):
    url = storage.join(place, "object")
    storage.write(url, b"")
    storage.delete(url)
    storage.delete(url)
    assert not storage.exists(url)


def test_a_first_write_is_claimed_once(place: str):
    url = storage.join(place, "LATEST")
    storage.replace(url, b"mine", None)
    with pytest.raises(storage.Conflict, match=f"^{re.escape(url)}: changed"):
        storage.replace(url, b"yours", None)
    assert storage.read(url) == b"mine"


def test_a_replacement_needs_the_content_it_was_decided_on(place: str):
    url = storage.join(place, "LATEST")
    with pytest.raises(storage.Conflict):
        storage.replace(url, b"2", b"1")
    assert not storage.exists(url)
    storage.write(url, b"1")
    storage.replace(url, b"2", b"1")
    with pytest.raises(storage.Conflict):
        storage.replace(url, b"3", b"1")
    assert storage.read(url) == b"2"


def test_of_writers_that_replace_at_once_exactly_one_succeeds(place: str):
    url = storage.join(place, "LATEST")
    storage.write(url, b"old")
    storage.exists(url)
    together = threading.Barrier(6)

    def attempt(writer: int) -> bytes | None:
        together.wait()
        try:
            storage.replace(url, f"writer {writer}".encode(), b"old")
        except storage.Conflict:
            return None
        return f"writer {writer}".encode()

    with ThreadPoolExecutor(6) as pool:
        winners = [name for name in pool.map(attempt, range(6)) if name]
    assert winners == [storage.read(url)]


def test_a_large_file_goes_there_and_back(place: str, tmp_path: Path):
    data = some_bytes(40 * MIB)  # beyond the size at which an upload is cut into parts
    (tmp_path / "there").write_bytes(data)
    url = storage.join(place, "large")
    storage.upload(tmp_path / "there", url)
    storage.download(url, tmp_path / "deep" / "back")
    assert (tmp_path / "deep" / "back").read_bytes() == data
    # Its S3 version tag is not the hash of the content; replacing must work all the same.
    storage.replace(url, b"small", data)
    assert storage.read(url) == b"small"


def test_a_download_of_nothing_makes_no_file(place: str, tmp_path: Path):
    with pytest.raises(storage.MissingObject):
        storage.download(storage.join(place, "nothing"), tmp_path / "new" / "back")
    assert not list((tmp_path / "new").glob("*"))


def test_an_upload_of_a_missing_file_names_the_file(place: str, tmp_path: Path):
    with pytest.raises(storage.MissingObject, match=f"^{tmp_path}/nothing: no such file"):
        storage.upload(tmp_path / "nothing", storage.join(place, "object"))


def test_a_probe_leaves_nothing_behind(place: str):
    storage.probe(storage.join(place, "run"))
    assert storage.listing(place) == []


def test_arrow_and_storage_see_the_same_objects(place: str):
    filesystem, path = storage.arrow_filesystem(storage.join(place, "ray"))
    filesystem.create_dir(f"{path}/checkpoint")
    with filesystem.open_output_stream(f"{path}/checkpoint/data") as stream:
        stream.write(b"from arrow")
    assert storage.listing(place) == ["ray/checkpoint/data"]
    assert storage.read(storage.join(place, "ray", "checkpoint", "data")) == b"from arrow"
    storage.write(storage.join(place, "ray", "second"), b"from storage")
    names = {info.base_name for info in filesystem.get_file_info(fs.FileSelector(path))}
    assert names == {"checkpoint", "second"}


EVERY_REQUEST: list[Callable[[str], object]] = [
    storage.read,
    storage.size,
    storage.exists,
    lambda url: storage.read_range(url, 0, 1),
    lambda url: storage.write(url, b""),
    lambda url: storage.replace(url, b"", None),
    lambda url: storage.replace(url, b"", b"old"),
    storage.delete_tree,
    storage.listing,
    storage.probe,
    lambda url: storage.upload(Path(__file__), url),
]


@pytest.mark.parametrize("request_to", EVERY_REQUEST)
def test_a_missing_bucket_is_an_error_of_every_request(
    s3: str, request_to: Callable[[str], object]
):
    with pytest.raises(storage.StorageError, match=r"^s3://nowhere/a: no such bucket; create") as e:
        request_to("s3://nowhere/a")
    assert not isinstance(e.value, storage.MissingObject)


@pytest.mark.parametrize("request_to", EVERY_REQUEST)
def test_a_wrong_secret_is_an_error_of_every_request(
    prefix: str, request_to: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    message = f"^{prefix}: .* refuses the secret of LOCAL.*; correct AWS_SECRET_ACCESS_KEY$"
    with pytest.raises(storage.StorageError, match=message):
        request_to(prefix)


def test_an_unknown_key_is_named(prefix: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(storage.StorageError, match=r"does not know nobody; .*AWS_ACCESS_KEY_ID$"):
        storage.exists(prefix)


def test_a_right_that_the_keys_lack_is_reported(s3: str):
    client = connect(s3)
    client.create_bucket(Bucket="locked")
    everyone_may_not = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:GetObject", "s3:PutObject"],
        "Resource": ["arn:aws:s3:::locked/*"],
    }
    policy = {"Version": "2012-10-17", "Statement": [everyone_may_not]}
    client.put_bucket_policy(Bucket="locked", Policy=json.dumps(policy))
    for attempt in (storage.read, storage.exists, storage.probe):
        with pytest.raises(storage.StorageError, match=r"^s3://locked/a: access denied; give LOCA"):
            attempt("s3://locked/a")


def test_a_bucket_name_that_cannot_be_is_a_mistake_of_usage(s3: str):
    with pytest.raises(UsageError, match=r"^s3://no bucket!/a: not a bucket name and key"):
        storage.read("s3://no bucket!/a")


def test_a_bucket_alone_is_no_object(s3: str):
    with pytest.raises(UsageError, match=f"^{s3}: names a bucket where an object is needed$"):
        storage.write(s3, b"")


def test_a_body_that_keeps_breaking_off_is_continued_where_it_broke(prefix: str, proxy: Proxy):
    data = some_bytes(3 * MIB)
    storage.write(f"{prefix}/shard", data)
    proxy.cut_answers_after = MIB  # starting anew would never come to the end
    assert storage.read(f"{prefix}/shard") == data
    assert storage.read_range(f"{prefix}/shard", 100, 2 * MIB) == data[100 : 100 + 2 * MIB]
    assert proxy.cuts >= 4


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


def test_a_forked_process_makes_a_client_of_its_own(prefix: str):
    storage.write(f"{prefix}/object", b"data")
    ours = id(connect(prefix))
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(
        target=lambda: answers.put((storage.read(f"{prefix}/object"), id(connect(prefix)) == ours))
    )
    child.start()
    assert answers.get() == (b"data", False)
    child.join()
    assert id(connect(prefix)) == ours
