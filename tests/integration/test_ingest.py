"""The program `tools/shard_videos.py`, on an embedded Ray, into folders and a real S3 server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from rich.console import Console

from selfseg import storage
from selfseg.data.format import schema
from selfseg.data.format.manifest import Manifest, SkippedEntry, load_manifest, manifest_url
from selfseg.data.ingest.sources import SourceVideo
from selfseg.data.ingest.spooling import Spooled
from selfseg.data.reading.collection import Collection
from selfseg.runtime import ingest
from selfseg.runtime.spooling import CRASHED, Spooling, skipped, spool_videos
from tests.exact_collection import write_collection
from tests.synthetic import Scene, moving_disc, write_frames, write_masks, write_video
from tests.unit.nets.published import raft_that_sees
from tools.shard_videos import main

pytestmark = [pytest.mark.distributed, pytest.mark.usefixtures("cluster")]

SMALL = ("--height", "32", "--gaps", "1,2")
SCENES = {
    "east": moving_disc(20, velocity=(2, 0), start=(12, 24), seed=1),
    "south": moving_disc(9, velocity=(0, 2), start=(32, 12), seed=2),
    "still": moving_disc(4, velocity=(0, 0), seed=3),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, a folder of frames, and another file."""
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "east.mp4", SCENES["east"].frames)
    write_frames(folder / "south", SCENES["south"].frames)
    write_video(folder / "still.avi", SCENES["still"].frames)
    return folder


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("masks")
    write_masks(root / "east", SCENES["east"].masks)
    return root


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the program on a mistake; return its exit status and the one line it says."""

    def run(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as error:
            main([str(argument) for argument in arguments])
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert isinstance(error.value.code, int)
        return error.value.code, lines[0]

    return run


def written(*arguments: object) -> Manifest:
    main([*map(str, arguments), *SMALL])
    return load_manifest(str(arguments[list(arguments).index("--output") + 1]))


def test_the_same_videos_give_the_same_collection_in_a_folder_and_on_s3(
    tmp_path, s3, videos, masks, monkeypatch
):
    folder, bucket = tmp_path / "collection", f"{s3}/{uuid4().hex}"
    options = ("--masks", masks, "--shard-megabytes", 1, "--background", "median")
    here = written(videos, "--output", folder, "--workers", 1, *options)
    there = written(videos, "--output", bucket, "--workers", 2, *options)
    assert here.id == there.id
    assert storage.listing(str(folder)) == storage.listing(bucket)
    for name in storage.listing(bucket):
        assert storage.read(storage.join(bucket, name)) == (folder / name).read_bytes()
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    local, remote = Collection.open(str(folder)), Collection.open(bucket)
    assert len({remote.background(ordinal) for ordinal in range(len(remote))}) == len(SCENES)
    assert all(local.background(n) == remote.background(n) for n in range(len(local)))


def test_the_manifest_says_what_was_ingested(tmp_path, videos, masks):
    manifest = written(videos, "--output", tmp_path / "c", "--masks", masks)
    frames = {video.name: video.frames for video in manifest.videos}
    assert frames == {name: len(scene.frames) for name, scene in SCENES.items()}
    assert manifest.frames == sum(frames.values())
    with_masks = {video.name for video in manifest.videos if video.masks_sha256}
    assert with_masks == {"east"}
    on_disk = [p.stat().st_size for p in (tmp_path / "c" / "shards").glob("*.tar")]
    assert manifest.size == sum(on_disk)
    assert str(tmp_path) not in Path(manifest_url(str(tmp_path / "c"), manifest.id)).read_text()


def test_a_rerun_does_nothing(tmp_path, videos, capsys):
    def state() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in (tmp_path / "c").rglob("*") if p.is_file()}

    written(videos, "--output", tmp_path / "c")
    before = state()
    capsys.readouterr()
    written(videos, "--output", tmp_path / "c", "--workers", 1)
    assert state() == before
    assert "nothing to do" in capsys.readouterr().out


def test_a_broken_video_is_named_and_the_rest_goes_on(tmp_path, videos, capsys):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    manifest = written(videos, broken, "--output", tmp_path / "c")
    assert len(manifest.videos) == len(SCENES)
    [skipped] = manifest.skipped
    assert skipped.name == "broken"
    said = capsys.readouterr().out
    assert "left out: broken: not a video" in said
    assert "3 videos, 33 frames" in said
    assert written(videos, broken, "--output", tmp_path / "c") == manifest


def test_a_video_whose_process_ended_is_tried_again_by_the_same_command(
    tmp_path, videos, monkeypatch
):
    def killed(
        given: list[SourceVideo], plan: Spooling, console: Console
    ) -> tuple[list[Spooled], list[SkippedEntry]]:
        ended = [skipped(video, reason=CRASHED) for video in given if video.name == "still"]
        rest = [video for video in given if video.name != "still"]
        return spool_videos(rest, plan, console)[0], ended

    command = (videos, "--output", tmp_path / "c")
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "spool_videos", killed)
        first = written(*command)
        assert [(video.name, video.reason) for video in first.skipped] == [
            ("still", "the process that read it ended 4 times: it crashed or ran out of memory")
        ]
        assert written(*command) == first
    second = written(*command)
    assert {video.name for video in second.videos} == set(SCENES)
    assert (second.skipped, second.parent) == ((), first.id)


def test_a_mask_that_does_not_fit_takes_its_video_out(tmp_path, videos):
    write_masks(tmp_path / "masks" / "east", SCENES["east"].masks[:, ::2, ::2])
    manifest = written(videos, "--output", tmp_path / "c", "--masks", tmp_path / "masks")
    assert {video.name for video in manifest.videos} == {"south", "still"}
    assert "mask 00000.png is 32x24, its frame 64x48" in manifest.skipped[0].reason


def test_stills_of_any_size_become_videos_of_one_frame_without_motion(tmp_path, capsys):
    folder = write_frames(tmp_path / "photos", SCENES["east"].frames[:3])
    write_frames(tmp_path, moving_disc(1, height=90, width=60).frames)
    (tmp_path / "00000.png").rename(folder / "tall one.png")
    (folder / "torn.jpg").write_text("no picture")
    for number in range(9):
        (folder / f"note {number}.txt").write_text("not meant to be one")
    masks = write_masks(tmp_path / "masks", SCENES["east"].masks[:3])
    given = (folder, "--stills", "--masks", masks, "--height", "32")
    main([*map(str, given), "--output", str(tmp_path / "c")])
    manifest = load_manifest(str(tmp_path / "c"))
    assert manifest.settings.flow == "none"
    assert {video.name: video.frames for video in manifest.videos} == {
        "00000": 1, "00001": 1, "00002": 1, "tall one": 1
    }  # fmt: skip
    said = capsys.readouterr().out
    assert "left out: torn: torn.jpg is not an image" in said
    assert f"left out in {folder}: note 0.txt, note 1.txt, " in said
    assert "note 7.txt, and 1 more: no image\n" in said
    collection = Collection.open(str(tmp_path / "c"))
    parts = {"image.jpg", "meta.json"}
    found = {name: collection.record(ordinals[0]) for name, ordinals in collection.videos.items()}
    assert {name: set(record.parts) - parts for name, record in found.items()} == {
        "00000": {"mask.png"}, "00001": {"mask.png"}, "00002": {"mask.png"}, "tall one": set()
    }  # fmt: skip
    tall = found["tall one"].meta()
    assert (tall.height, tall.width, tall.source_height, tall.source_width) == (32, 22, 90, 60)


def test_what_makes_no_sense_for_stills_is_a_mistake(tmp_path, videos, refused):
    folder = write_frames(tmp_path / "photos", SCENES["east"].frames[:1])
    for given, reason in (
        ((folder, "--flow", "dis"), "--flow: nothing moves in stills; leave it out, or --stills"),
        ((folder, "--gaps", "1"), "--gaps: nothing moves"),
        ((folder, "--background", "median"), "--background: nothing moves"),
        ((folder, "--masks", videos), f"expected {videos / '00000.png'}"),
        ((videos / "east.mp4",), "east.mp4: not an image"),
    ):
        code, line = refused(*given, "--stills", "--output", tmp_path / "c")
        assert code == 2
        assert reason in line


def test_the_same_video_given_twice_counts_once(tmp_path, videos):
    manifest = written(videos, videos / "east.mp4", "--output", tmp_path / "c")
    assert len(manifest.videos) == len(SCENES)


def test_what_is_not_there_is_a_mistake_in_the_command(tmp_path, refused):
    code, line = refused(tmp_path / "gone.mp4", "--output", tmp_path / "c")
    assert code == 2
    assert "gone.mp4: no such file" in line
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("content", ["text", "no frames"])
def test_if_no_video_can_be_read_nothing_is_written(tmp_path, refused, content):
    path = tmp_path / "only.mp4"
    if content == "text":
        path.write_text("not a video")
    else:
        write_video(path, moving_disc(1).frames[:0].reshape(0, 48, 64, 3))
    code, line = refused(path, "--output", tmp_path / "c")
    assert code == 1
    assert "no video could be read: only: not a video" in line
    assert storage.listing(str(tmp_path / "c")) == []


def test_a_single_video_with_a_damaged_mask_is_an_error_that_names_it(tmp_path, videos, refused):
    write_masks(tmp_path / "masks" / "still", SCENES["still"].masks)
    (tmp_path / "masks" / "still" / "00002.png").write_bytes(b"no mask")
    given = (videos / "still.avi", "--masks", tmp_path / "masks", *SMALL)
    code, line = refused(*given, "--output", tmp_path / "c")
    assert code == 1
    assert "still: mask 00002.png is not an image" in line
    assert storage.listing(str(tmp_path / "c")) == []


def test_masks_that_belong_to_no_video_are_a_mistake(tmp_path, videos, refused):
    write_masks(tmp_path / "masks" / "west", SCENES["east"].masks)
    options = ("--masks", tmp_path / "masks")
    code, line = refused(videos, "--output", tmp_path / "c", *options)
    assert code == 2
    assert "holds no mask of any of the videos" in line


def test_an_output_that_holds_something_else_is_refused(tmp_path, videos, refused):
    (tmp_path / "letter.txt").write_text("dear")
    code, line = refused(videos, "--output", tmp_path)
    assert code == 2
    assert "holds something else (letter.txt)" in line
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_an_output_that_has_lost_its_pointer_is_refused(tmp_path, videos, refused):
    output = tmp_path / "c"
    given = (videos, "--output", output, *SMALL)
    write_collection(str(output), {"swan": moving_disc(3)})
    (output / "LATEST").unlink()
    there = storage.listing(str(output))
    # The only state may be one that the same command was about to publish; this is another.
    code, line = refused(*given)
    assert (code, "holds a collection that differs in height, " in line) == (2, True)
    code, line = refused(*given, "--append")
    assert code == 1
    assert f"{output}: holds manifests, but no LATEST" in line
    assert storage.listing(str(output)) == there


def test_an_output_that_has_lost_its_pointer_to_one_of_several_states_is_refused(
    tmp_path, videos, refused
):
    given = (videos / "still.avi", "--output", tmp_path / "c")
    first = written(*given)
    second = written(videos / "east.mp4", *given[1:], "--append")
    (tmp_path / "c" / "LATEST").unlink()
    there = storage.listing(str(tmp_path / "c"))
    for gone in (None, first):  # the one that is left without the first grew from it
        if gone:
            Path(manifest_url(str(tmp_path / "c"), gone.id)).unlink()
        code, line = refused(*given, *SMALL)
        assert code == 1
        assert "holds manifests, but no LATEST" in line
    assert second.id in "".join(there)
    assert not (tmp_path / "c" / "LATEST").exists()


def test_an_output_that_holds_another_collection_is_refused(tmp_path, videos, refused):
    before = written(videos, "--output", tmp_path / "c")
    for given, named in (
        ((videos, "--height", 48, "--gaps", "1,2"), "differs in height"),
        ((videos / "east.mp4", *SMALL), "differs in videos"),
        ((videos, "--shard-megabytes", 3, *SMALL), "differs in shard size"),
        ((videos, "--background", "median", *SMALL), "differs in background"),
    ):
        code, line = refused(*given, "--output", tmp_path / "c")
        assert code == 2
        assert named in line
    assert load_manifest(str(tmp_path / "c")) == before


@pytest.mark.parametrize(
    ("option", "named"),
    [
        (("--height", 2), "height"),
        (("--gaps", "0"), "gaps"),
        (("--flow", "magic"), "flow"),
        (("--background", "mean"), "background"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, videos, refused, option, named):
    code, line = refused(videos, "--output", tmp_path / "c", *option)
    assert code == 2
    assert named in line


def test_motion_is_what_the_given_network_sees(tmp_path, videos, monkeypatch):
    raft_that_sees(tmp_path / "raft.pt", (16.0, -8.0))
    monkeypatch.chdir(tmp_path)  # its path is meant from here, not from where Ray's workers are
    learned = ("--flow", "raft_small", "--flow-weights", "raft.pt")
    manifest = written(videos / "still.avi", "--output", tmp_path / "c", *learned)
    assert manifest.settings.flow_weights == str(tmp_path / "raft.pt")
    collection = Collection.open(str(tmp_path / "c"))
    stored = schema.decode_flow(collection.record(0).read(schema.forward_part(1)))
    # On its grid of 128 x 128; stored at 16 x 22.
    np.testing.assert_allclose(
        stored, np.broadcast_to((16 * 22 / 128, -8 * 16 / 128), (16, 22, 2)), atol=0.01
    )


def test_weights_that_are_not_there_are_named(tmp_path, videos, refused):
    learned = ("--flow", "raft_large", "--flow-weights", tmp_path / "gone.pt")
    code, line = refused(videos, "--output", tmp_path / "c", *learned)
    assert code == 1
    assert f"{tmp_path / 'gone.pt'}: no such file" in line


def test_weights_without_a_network_are_a_mistake(tmp_path, videos, refused):
    code, line = refused(videos, "--output", tmp_path / "c", "--flow-weights", "raft.pt")
    assert code == 2
    assert "--flow-weights: only RAFT has any" in line


def test_a_bucket_that_is_missing_is_named(videos, refused):
    code, line = refused(videos, "--output", "s3://no-such-bucket/c")
    assert code == 1
    assert "no-such-bucket" in line


def test_wrong_keys_are_told(s3, videos, refused, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    code, line = refused(videos, "--output", f"{s3}/{uuid4().hex}")
    assert code == 1
    assert "AWS_SECRET_ACCESS_KEY" in line


def test_an_endpoint_where_nobody_answers_is_named(s3, videos, refused, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    code, line = refused(videos, "--output", f"{s3}/{uuid4().hex}")
    assert code == 1
    assert "127.0.0.1:9" in line


def test_after_kill_9_the_same_command_goes_on_where_it_was(tmp_path):
    scenes: dict[str, Scene] = {
        "short": moving_disc(3, height=96, width=128, seed=1),
        "long": moving_disc(64, height=96, width=128, start=(20, 20), velocity=(1, 1), seed=2),
    }
    paths = [write_video(tmp_path / f"{name}.mp4", scene.frames) for name, scene in scenes.items()]
    output = tmp_path / "c"
    command = ["tools/shard_videos.py", *map(str, paths), "--output", str(output)]
    options = ["--height", "96", "--workers", "1"]
    [ledger] = _kill_when_spooled(output, [sys.executable, *command, *options])
    assert not (output / "LATEST").exists()
    # A note in the margin shows whether the ledger is read or written anew.
    ledger.write_text(ledger.read_text().replace('"name":"short"', '"name":"noted"'))
    main([*command[1:], *options])
    manifest = load_manifest(str(output))
    assert {video.name for video in manifest.videos} == {"noted", "long"}
    assert not list(output.glob("spool/*"))
    undisturbed = tmp_path / "undisturbed"
    main([*map(str, paths), "--output", str(undisturbed), *options])
    assert load_manifest(str(undisturbed)).shards == manifest.shards


def _kill_when_spooled(output: Path, command: list[str]) -> list[Path]:
    """Kill `command` as soon as one video is spooled; return the ledgers it left."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while not (ledgers := list(output.glob("spool/*.json"))):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    return ledgers
