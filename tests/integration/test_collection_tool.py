"""`tools/collection.py` and `selfseg show` on folders and on a real S3 server."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.cli import main as selfseg
from selfseg.data.format.manifest import LATEST, index_url, load_manifest, newest_id
from selfseg.data.format.schema import IMAGE
from selfseg.data.reading.collection import Collection
from tests.catalogued import add_catalogue
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tools.collection import main

SCENES = {"swan": moving_disc(7), "car": moving_disc(4, seed=5, pan=(1, 0))}
COW = {"cow": moving_disc(3, seed=9)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    write_collection(str(tmp_path / "folder"), SCENES, with_backgrounds=True)
    add_catalogue(str(tmp_path / "folder"))
    return str(tmp_path / "folder")


def status(*arguments: str) -> int:
    """Return how the program ends; without a mistake it simply does."""
    try:
        main(list(arguments))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def contents(url: str) -> dict[str, bytes]:
    return {name: storage.read(storage.join(url, name)) for name in storage.listing(url)}


def flip(url: str, offset: int) -> None:
    data = bytearray(storage.read(url))
    data[offset] ^= 1
    storage.write(url, bytes(data))


def test_problems_are_a_line_each_and_a_repair_leaves_none(place, folder, capsys):
    url = storage.join(place, "collection")
    assert status("copy", folder, url) == 0
    before = contents(url)
    assert status("verify", url) == 0
    capsys.readouterr()
    first, second, _ = load_manifest(url).shards
    key = Collection.open(url).key(0)
    span = Collection.open(url).record(0).parts[IMAGE]
    flip(f"{url}/shards/{first.name}.tar", span.offset)
    storage.delete(f"{url}/shards/{second.name}.idx")

    assert status("verify", url) == 1
    *lines, summary = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{url}/shards/{first.name}.tar: damaged: {key}.{IMAGE}: its checksum differs",
        f"{url}/shards/{second.name}.idx: missing",
    ]
    assert "2 problems; repeat with --repair" in summary

    # The index can be made anew, the shard cannot without a copy of it.
    assert status("verify", url, "--repair") == 1
    *lines, summary = capsys.readouterr().out.splitlines()
    assert lines[1] == f"{url}/shards/{second.name}.idx: missing; made anew from its tar"
    assert "one problem left, 1 put right; give a copy by --from URL" in summary

    assert status("verify", url, "--repair", "--from", folder) == 0
    *lines, _ = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{url}/shards/{first.name}.tar: damaged: {key}.{IMAGE}: its checksum differs; "
        f"taken from {folder}"
    ]
    assert contents(url) == before
    assert status("verify", url) == 0


def test_a_pointer_that_is_gone_is_restored_to_the_state_that_no_other_grew_from(place, capsys):
    url = storage.join(place, "c")
    first, second = (write_collection(url, scenes) for scenes in (COW, SCENES))
    storage.delete(storage.join(url, LATEST))
    assert status("verify", url) == 1
    assert f"{url}/LATEST: gone\n" in capsys.readouterr().out
    assert newest_id(url) is None
    assert status("verify", f"{url}@{first.id[:16]}", "--repair") == 0
    assert f"{url}/LATEST: gone; names {second.id[:16]} again\n" in capsys.readouterr().out
    assert newest_id(url) == second.id
    assert status("verify", url) == 0


def test_which_of_several_states_a_pointer_that_is_gone_named_must_be_said(tmp_path, capsys):
    url = str(tmp_path / "c")
    heads = [write_collection(url, COW)]
    storage.delete(storage.join(url, LATEST))
    heads += [write_collection(url, SCENES)]
    storage.delete(storage.join(url, LATEST))
    assert status("verify", url, "--repair") == 2
    ids = ", ".join(sorted(head.id[:16] for head in heads))
    assert capsys.readouterr().err == (
        f"collection: {url}: has no LATEST, and each of {ids} may be the newest; "
        f"choose by tools/collection.py verify {url}@ID --repair\n"
    )
    assert status("verify", f"{url}@{heads[0].id[:16]}", "--repair") == 0
    assert newest_id(url) == heads[0].id


def test_what_belongs_to_no_state_is_named_and_left_alone(place, folder, capsys):
    url = storage.join(place, "collection")
    main(["copy", folder, url])
    storage.write(f"{url}/shards/0000000000000000.tar", b"of an ingest that never ended")
    capsys.readouterr()
    assert status("verify", url, "--repair") == 0
    line = f"{url}/shards/0000000000000000.tar: belongs to no state; left alone"
    assert line in capsys.readouterr().out
    assert storage.exists(f"{url}/shards/0000000000000000.tar")


def test_from_a_folder_to_a_bucket_and_back_no_byte_changes(folder, prefix, tmp_path):
    for _ in range(2):  # the second time the collection has grown
        main(["copy", folder, f"{prefix}/there"])
        main(["copy", f"{prefix}/there", f"{prefix}/beside"])
        main(["copy", f"{prefix}/beside", str(tmp_path / "back")])
        assert contents(str(tmp_path / "back")) == contents(folder)
        write_collection(folder, COW)
    assert set(Collection.open(f"{prefix}/there").videos) == {"cow"}


def test_a_copy_that_is_killed_goes_on_where_it_was(folder, place, monkeypatch):
    url = storage.join(place, "copy")
    brought_before = 4

    def copy_and_die() -> None:
        upload, done = storage.upload, []

        def uploaded(path: Path, to: str) -> None:
            upload(path, to)
            done.append(to)
            if len(done) == brought_before:
                os.kill(os.getpid(), signal.SIGKILL)

        storage.upload = uploaded
        main(["copy", folder, url])

    child = multiprocessing.get_context("fork").Process(target=copy_and_die)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert newest_id(url) is None
    there = set(storage.listing(url))
    assert brought_before <= len(there) < len(contents(folder)) - 1  # all but LATEST

    upload, brought = storage.upload, list[str]()

    def noted(path: Path, to: str) -> None:
        brought.append(to)
        upload(path, to)

    monkeypatch.setattr(storage, "upload", noted)
    assert status("copy", folder, url) == 0
    assert contents(url) == contents(folder)
    expected = {storage.join(url, name) for name in contents(folder).keys() - there - {LATEST}}
    assert set(brought) == expected
    assert len(brought) == len(expected)


def test_a_listing_says_states_settings_and_videos(place, folder, capsys):
    url = storage.join(place, "collection")
    main(["copy", folder, url])
    first = load_manifest(url)
    second = write_collection(url, COW, with_flow=False)
    capsys.readouterr()
    main(["list", url])
    text = capsys.readouterr().out
    assert f"{url}: 2 states, the latest first" in text
    assert f"{second.id[:16]} (newest): one video, 3 frames" in text
    assert f"  {first.id[:16]}: 2 videos, 11 frames" in text
    assert "height 240; flow none; background none" in text
    assert "cow (cow-00000000): 3 frames\n" in text
    main(["list", f"{url}@{first.id[:8]}"])
    text = capsys.readouterr().out
    assert second.id[:16] not in text
    assert "flow dis over 1, 2 frames" in text
    assert "swan (swan-00000000): 7 frames, background" in text


def test_a_listing_for_programs_counts_each_videos_bytes(place, folder, capsys):
    url = storage.join(place, "collection")
    main(["copy", folder, url])
    left_out = {"name": "noise", "sha256": "0" * 64, "masks_sha256": None, "reason": "no video"}
    manifest = load_manifest(url)
    state = manifest.override({"skipped": [left_out], "parent": manifest.id})
    storage.write(f"{url}/manifest-{state.id}.json", state.to_bytes())
    storage.write(f"{url}/{LATEST}", f"{state.id}\n".encode())
    capsys.readouterr()
    main(["list", url, "--sizes", "--json"])
    found = json.loads(capsys.readouterr().out)
    collection = Collection.open(url)
    assert found["skipped"] == [left_out]
    assert found["states"][0] == {
        "id": state.id, "parent": manifest.id, "newest": True, "videos": 2, "skipped": 1,
        "frames": 11, "shards": 3, "size": manifest.size,
    }  # fmt: skip
    for video in found["videos"]:
        records = [collection.record(ordinal) for ordinal in collection.videos[video["name"]]]
        assert video["frames"] == len(records)
        assert video["size"] == sum(s.size for record in records for s in record.parts.values())


def test_an_index_that_is_torn_is_a_line_where_sizes_are_listed(folder, capsys):
    index = index_url(folder, load_manifest(folder).shards[0].name)
    storage.write(index, storage.read(index)[:-20])
    assert status("list", folder, "--sizes") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{index}: damaged: its sha256 differs; mend it with " in line
    assert status("list", folder) == 0


def test_a_sample_in_a_bucket_is_shown_without_fetching_a_shard(
    prefix, folder, cache, tmp_path, monkeypatch, capsys
):
    main(["copy", folder, prefix])
    fetched: list[str] = []
    download = storage.download

    def noted(url: str, path: Path) -> None:
        fetched.append(url)
        download(url, path)

    monkeypatch.setattr(storage, "download", noted)
    capsys.readouterr()
    selfseg(["show", prefix, "swan/3", "--output", str(tmp_path / "swan.png")])
    assert "key     swan-00000000_00000003" in capsys.readouterr().out
    assert (tmp_path / "swan.png").exists()
    assert not [url for url in fetched if url.endswith(".tar")]
    kept = [path.read_bytes() for path in cache.rglob("*") if path.is_file()]
    assert not any(b"ustar" in data for data in kept)
    # The picture may lie in a bucket as well.
    selfseg(["show", prefix, "swan/3", "--output", f"{prefix}-pictures/swan.png"])
    assert storage.read(f"{prefix}-pictures/swan.png") == (tmp_path / "swan.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["verify", "nowhere"], 1, "nowhere: no collection here"),
        (["list", "nowhere"], 1, "nowhere: no collection here"),
        (["copy", "nowhere", "there"], 1, "nowhere: no collection here"),
        (["verify", "c", "--from", "d"], 2, "--from: only a repair"),
        (["verify", "c", "--repair", "--from", "nowhere"], 1, "nowhere: no collection here"),
        (["copy", "c@00000000", "there"], 2, "no manifests here begin with 00000000"),
        (["copy", "c", "d"], 2, "d: holds another collection"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    arguments, code, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write_collection("c", COW)
    write_collection("d", SCENES)
    assert status(*arguments) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("collection: ")
    assert message in line
    assert not Path("there").exists()
