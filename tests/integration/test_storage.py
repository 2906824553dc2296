"""A folder and a bucket keep the same promises."""

import pickle
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyarrow import fs

from selfseg import storage

MIB = 1 << 20


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
    with pytest.raises(storage.CutOff, match=f"^{re.escape(url)}: .*write it again$"):
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


def test_sizes_are_those_of_what_is_listed(place: str):
    for name, size in {"run/a": 3, "run/b/c": 0, "runner": 1}.items():
        storage.write(storage.join(place, name), b"x" * size)
    assert storage.sizes(storage.join(place, "run")) == {"a": 3, "b/c": 0}


def test_what_is_written_again_is_young_again(place: str):
    urls = [storage.join(place, "run", name) for name in ("left", "again")]
    for url in urls:
        storage.write(url, b"")
    time.sleep(1.1)  # a bucket tells whole seconds
    storage.write(urls[1], b"")
    listed = storage.ages_s(storage.join(place, "run"))
    asked = {name: storage.age_s(url) for name, url in zip(("left", "again"), urls, strict=True)}
    for ages in (listed, asked):
        assert 60 > ages["left"] >= ages["again"] + 0.5
    with pytest.raises(storage.MissingObject):
        storage.age_s(storage.join(place, "run", "gone"))


def test_entries_are_what_lies_directly_below_and_tell_folders_from_objects(place: str):
    for name in ("run/b", "run/a/z", "run/a/b/c", "runner"):
        storage.write(storage.join(place, name), b"")
    assert storage.entries(storage.join(place, "run")) == ["a/", "b"]
    assert storage.entries(storage.join(place, "run", "")) == ["a/", "b"]
    assert storage.entries(storage.join(place, "run", "b")) == []
    assert storage.entries(storage.join(place, "nothing")) == []


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
    filesystem = pickle.loads(pickle.dumps(filesystem))  # so it reaches Ray's workers
    filesystem.create_dir(f"{path}/checkpoint")
    with filesystem.open_output_stream(f"{path}/checkpoint/data") as stream:
        stream.write(b"from arrow")
    assert storage.listing(place) == ["ray/checkpoint/data"]
    assert storage.read(storage.join(place, "ray", "checkpoint", "data")) == b"from arrow"
    storage.write(storage.join(place, "ray", "second"), b"from storage")
    names = {info.base_name for info in filesystem.get_file_info(fs.FileSelector(path))}
    assert names == {"checkpoint", "second"}
