"""`tools/shard_videos.py --append`, on an embedded Ray, into folders and a real S3 server."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pytest

from selfseg import storage
from selfseg.contracts import FramePairs
from selfseg.data.format.manifest import Manifest, load_manifest, newest_id
from selfseg.data.format.schema import IMAGE
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.loader import batches
from selfseg.data.reading.selection import DataConfig
from selfseg.runtime import ingest
from tests.reading import samples_of
from tests.synthetic import moving_disc, write_masks, write_video
from tools.shard_videos import main

pytestmark = [pytest.mark.distributed, pytest.mark.usefixtures("cluster")]

ROOT = Path(__file__).parents[2]
SMALL = ("--height", "32", "--gaps", "1,2")
TINY = DataConfig(height=24, width=32, batch_size=4, gaps=(1,), loader_processes=0)
SCENES = {
    "east": moving_disc(9, velocity=(2, 0), start=(12, 24), seed=1),
    "south": moving_disc(5, velocity=(0, 2), start=(32, 12), seed=2),
    "still": moving_disc(4, velocity=(0, 0), seed=3),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    return {
        name: write_video(folder / f"{name}.mp4", scene.frames) for name, scene in SCENES.items()
    }


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the program on a mistake in the command; return the one line it says."""

    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as error:
            main([str(argument) for argument in arguments])
        assert error.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


def written(url: object, *arguments: object) -> Manifest:
    main([*map(str, arguments), "--output", str(url), *SMALL])
    return load_manifest(str(url))


def images(url: str, name: str) -> list[bytes]:
    collection = Collection.open(url)
    return [collection.record(ordinal).read(IMAGE) for ordinal in collection.videos[name]]


def state(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_videos_are_added_beside_what_was_there(tmp_path, videos, capsys):
    folder = tmp_path / "c"
    first = written(folder, videos["east"], videos["still"])
    before, seen = state(folder), images(str(folder), "east")
    second = written(folder, *videos.values(), "--append")
    assert f"grown from {first.id}" in capsys.readouterr().out
    assert second.parent == first.id
    assert {video.name for video in second.videos} == set(SCENES)
    assert set(second.shards) > set(first.shards)
    assert sum(shard.samples for shard in set(second.shards) - set(first.shards)) == 5
    after = state(folder)
    kept = set(before) - {folder / "LATEST"}
    assert {path: after[path] for path in kept} == {path: before[path] for path in kept}
    # The old state can be read as before, and the new one holds all of it.
    old = f"{folder}@{first.id[:8]}"
    assert set(Collection.open(old).videos) == {"east", "still"}
    assert images(old, "east") == images(str(folder), "east") == seen
    # What was added is what a collection of its own would hold.
    alone = written(tmp_path / "alone", videos["south"])
    assert images(str(tmp_path / "alone"), "south") == images(str(folder), "south")
    assert set(alone.shards) == set(second.shards) - set(first.shards)


def test_adding_again_does_nothing(tmp_path, videos, capsys):
    folder = tmp_path / "c"
    written(folder, videos["east"])
    second = written(folder, videos["south"], "--append")
    before = state(folder)
    capsys.readouterr()
    copied = tmp_path / "copy.mp4"
    copied.write_bytes(videos["east"].read_bytes())
    for given in ((videos["south"],), (copied, videos["south"])):
        assert written(folder, *given, "--append") == second
        assert "nothing to do, it is there" in capsys.readouterr().out
    assert state(folder) == before


@pytest.mark.parametrize("stage", ["_publish_shards", "commit"])
def test_adding_that_was_interrupted_goes_on(tmp_path, videos, monkeypatch, stage):
    folder = tmp_path / "c"
    first = written(folder, videos["east"])
    given = (videos["south"], videos["still"], "--append")
    with monkeypatch.context() as patch:

        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        # Before the first shard, or when all are there and only the manifest is missing.
        patch.setattr(ingest, stage, stop)
        with pytest.raises(SystemExit) as error:
            written(folder, *given)
        assert error.value.code == 130
    assert newest_id(str(folder)) == first.id
    # The command that made the collection leaves alone what is on its way.
    assert written(folder, videos["east"]) == first
    (ledger,) = [path for path in folder.glob("spool/*.json") if "south" in path.read_text()]
    # A note in the margin shows whether the ledger is read or written anew.
    ledger.write_text(ledger.read_text().replace('"name":"south"', '"name":"noted"'))
    second = written(folder, *given)
    assert {video.name for video in second.videos} == {"east", "noted", "still"}
    undisturbed = tmp_path / "undisturbed"
    written(undisturbed, videos["east"])
    assert written(undisturbed, *given).shards == second.shards
    for place in ("spool", "shards"):
        left, expected = (storage.listing(str(each / place)) for each in (folder, undisturbed))
        assert left == expected


def test_adding_that_was_interrupted_goes_on_after_others_have_added(tmp_path, videos, monkeypatch):
    folder = tmp_path / "c"
    written(folder, videos["east"])
    with monkeypatch.context() as patch:

        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(ingest, "_publish_shards", stop)
        with pytest.raises(SystemExit):
            written(folder, videos["south"], "--append")
    (ledger,) = folder.glob("spool/*.json")
    written(folder, videos["still"], "--append")
    assert set(folder.glob("spool/*")) == {ledger, ledger.with_suffix(".tar")}
    # A note in the margin shows whether the ledger is read or written anew.
    ledger.write_text(ledger.read_text().replace('"name":"south"', '"name":"noted"'))
    third = written(folder, videos["south"], "--append")
    assert {video.name for video in third.videos} == {"east", "still", "noted"}
    assert not list(folder.glob("spool/*"))


def test_a_collection_in_a_bucket_grows_twice_and_every_state_can_be_read(
    s3, videos, tmp_path, monkeypatch
):
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    bucket = f"{s3}/{uuid4().hex}"
    states = [written(bucket, videos["east"])]
    states += [written(bucket, videos[name], "--append") for name in ("south", "still")]
    assert [each.parent for each in states] == [None, states[0].id, states[1].id]
    for num_videos, each in enumerate(states, start=1):
        opened = Collection.open(f"{bucket}@{each.id[:8]}")
        assert len(opened.videos) == num_videos
        assert all(opened.record(n).read(IMAGE) for n in range(len(opened)))


def at_once(meeting: Path, url: str, given: list[Path]) -> list[subprocess.Popen[str]]:
    """Begin to add each of some videos by a process of its own; all publish at the same time."""
    meeting.mkdir()
    program = [sys.executable, "-m", "tests.integration.append_at_once", meeting, str(len(given))]
    return [
        subprocess.Popen(
            [*program, path, "--append", "--output", url, *SMALL, "--workers", "1"],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for path in given
    ]


def test_of_two_commands_that_add_at_once_one_wins_and_the_other_goes_on_when_repeated(
    place, videos, tmp_path, monkeypatch
):
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    url, names = f"{place}/c", ("south", "still")
    first = written(url, videos["east"])

    def reading() -> Iterator[FramePairs]:
        return batches(Collection.open(url), TINY, seed=5, step=0, rank=0, world_size=1)

    undisturbed, stream = samples_of(islice(reading(), 30)), reading()
    adding = at_once(tmp_path / "meeting", url, [videos[name] for name in names])
    found, seen = [], set[frozenset[str]]()
    while len(found) < len(undisturbed) or any(each.poll() is None for each in adding):
        found += samples_of(islice(stream, 1)) if len(found) < len(undisturbed) else []
        newest = Collection.open(url)
        assert all(newest.record(n).read(IMAGE) for n in range(len(newest)))
        seen.add(frozenset(newest.videos))
    assert found == undisturbed
    said = [each.communicate()[1].splitlines() for each in adding]
    codes = [each.returncode for each in adding]
    assert sorted(codes) == [0, 2]
    winner, loser = (names[codes.index(code)] for code in (0, 2))
    assert said[names.index(loser)][-1] == (
        f"shard_videos: {url}: grew meanwhile by another command; repeat this one"
    )
    second = load_manifest(url)
    assert (second.parent, {v.name for v in second.videos}) == (first.id, {"east", winner})
    assert seen <= {frozenset({"east"}), frozenset({"east", winner})}

    # What the loser spooled is all that is there; a note in its margin shows that it is read.
    ledger, _ = (f"{url}/spool/{name}" for name in storage.listing(f"{url}/spool"))
    text = storage.read(ledger).decode()
    storage.write(ledger, text.replace(f'"name":"{loser}"', '"name":"noted"').encode())
    third = written(url, videos[loser], "--append")
    assert (third.parent, {v.name for v in third.videos}) == (second.id, {"east", winner, "noted"})
    assert storage.listing(f"{url}/spool") == []
    for name in names:
        alone = written(tmp_path / name, videos[name])
        assert set(alone.shards) <= set(third.shards)
        assert images(str(tmp_path / name), name) == images(url, "noted" if name == loser else name)


def test_what_cannot_be_added_is_refused_in_one_line(tmp_path, videos, refused):
    folder = tmp_path / "c"
    given = (videos["south"], "--append", "--output", folder)
    assert "no collection here that could grow; leave out --append" in refused(*given, *SMALL)
    first = written(folder, videos["east"])
    line = refused(*given, "--gaps", "1,2")
    assert f"{folder}: its videos were ingested with height 32, not 240; give --height 32" in line
    line = refused(*given, *SMALL, "--shard-megabytes", 7)
    assert "give --shard-megabytes 128" in line
    write_masks(tmp_path / "masks" / "east", SCENES["east"].masks)
    masked = (videos["east"], *given, *SMALL, "--masks", tmp_path / "masks")
    assert "holds east already, with other masks or none" in refused(*masked)
    assert load_manifest(str(folder)) == first


def test_a_broken_video_is_named_once_and_not_tried_again(tmp_path, videos, capsys):
    folder, broken = tmp_path / "c", tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    written(folder, videos["east"])
    with pytest.raises(SystemExit) as error:
        written(folder, broken, "--append")
    assert error.value.code == 1
    assert "no new video could be read: broken: not a video" in capsys.readouterr().err
    second = written(folder, broken, videos["south"], "--append")
    assert [video.name for video in second.skipped] == ["broken"]
    assert written(folder, broken, videos["south"], "--append") == second
