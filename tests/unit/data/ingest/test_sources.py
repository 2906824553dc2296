import os
from dataclasses import replace

import pytest

from selfseg.data.format.manifest import SkippedEntry
from selfseg.data.ingest.sources import (
    LONGEST_SLUG,
    SourceVideo,
    distinct,
    first_mask,
    inspect,
    leave_out,
    slug,
)
from selfseg.errors import UsageError
from tests.synthetic import moving_disc, write_frames, write_masks, write_video

SCENE = moving_disc(3)


def video(path, masks_root=None) -> SourceVideo:
    found = inspect(path, masks_root)
    assert isinstance(found, SourceVideo)
    return found


def test_a_changed_file_is_another_video_and_a_moved_one_the_same(tmp_path):
    path = write_video(tmp_path / "clip.mp4", SCENE.frames)
    before = video(path)
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "clip.mp4")
    assert video(moved).id == before.id
    write_video(path, SCENE.frames[:2])
    assert video(path).id != before.id
    assert video(path).name == before.name == "clip"


def test_a_folder_is_known_by_its_frames_in_order(tmp_path):
    first = video(write_frames(tmp_path / "a" / "clip", SCENE.frames))
    again = video(write_frames(tmp_path / "b" / "clip", SCENE.frames))
    reversed_ = video(write_frames(tmp_path / "c" / "clip", SCENE.frames[::-1]))
    assert first.id == again.id != reversed_.id


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a b.c/d", "a-b-c-d"),
        ("köder__1", "k-der__1"),
        ("видео", "video"),
        ("x" * 200, "x" * LONGEST_SLUG),
    ],
)
def test_an_id_holds_only_what_a_key_may_hold(name, expected):
    assert slug(name) == expected


def test_masks_are_found_by_the_videos_name_and_known_by_frame_and_content(tmp_path):
    path = write_video(tmp_path / "clip.mp4", SCENE.frames)
    root = tmp_path / "masks"
    assert video(path, root).masks is None
    folder = write_masks(root / "clip", SCENE.masks)
    with_all = video(path, root)
    assert with_all.masks == folder
    assert with_all.id == video(path).id
    (folder / "00001.png").rename(folder / "00007.png")
    assert video(path, root).masks_sha256 != with_all.masks_sha256
    (folder / "notes.png").write_bytes(b"")
    (folder / "7.png").write_bytes(b"")
    (folder / "00007.png").rename(folder / "00001.png")
    assert video(path, root).masks_sha256 == with_all.masks_sha256


def test_an_image_is_a_video_whose_mask_is_a_file_of_its_name(tmp_path):
    folder = write_frames(tmp_path / "stills", SCENE.frames)
    path = folder / "00001.png"
    alone = video(path)
    assert (alone.name, alone.num_frames, alone.masks) == ("00001", 1, None)
    root = write_masks(tmp_path / "masks", SCENE.masks)
    assert first_mask(root, path) == root / "00001.png"
    annotated = video(path, root)
    assert (annotated.id, annotated.masks) == (alone.id, root / "00001.png")
    other = write_masks(tmp_path / "other", ~SCENE.masks)
    assert annotated.masks_sha256 not in {None, video(path, other).masks_sha256}
    (root / "00001.png").unlink()
    assert video(path, root) == alone


def test_a_broken_video_is_told_with_its_reason(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"nothing")
    found = inspect(path, None)
    assert isinstance(found, SkippedEntry)
    assert (found.name, found.reason) == ("clip", "not a video, or a damaged one")


def test_copies_whose_samples_would_have_the_same_names_count_once_and_with_their_masks(tmp_path):
    first = write_video(tmp_path / "a b.mp4", SCENE.frames)
    names = ("a.b", "a-b", "another")
    copies = [tmp_path / f"{name}.mp4" for name in names]
    for path in copies:
        path.write_bytes(first.read_bytes())
    write_masks(tmp_path / "masks" / "a.b", SCENE.masks)
    given = [video(path, tmp_path / "masks") for path in (first, *copies)]
    assert [kept.name for kept in distinct(given)] == ["a.b", "another"]
    assert [kept.name for kept in distinct(given[::-1])] == ["another", "a.b"]


def test_of_two_videos_whose_samples_would_have_the_same_names_one_must_be_renamed(tmp_path):
    one = video(write_video(tmp_path / "clip.mp4", SCENE.frames))
    other = replace(one, path=tmp_path / "x" / "clip.mp4", sha256=f"{one.sha256[:8]}{'0' * 56}")
    with pytest.raises(UsageError, match=r"clip\.mp4: its samples .* rename one of the two$"):
        distinct([one, other])


def test_a_name_that_is_no_text_is_told_as_far_as_it_is_one(tmp_path):
    path = write_video(tmp_path / "clip.mp4", SCENE.frames)
    found = inspect(path.rename(tmp_path / os.fsdecode(b"k\xf6der.mp4")), None)
    assert isinstance(found, SkippedEntry)
    assert found.name == "k\N{REPLACEMENT CHARACTER}der"
    assert SkippedEntry.model_validate_json(found.model_dump_json()) == found


def test_a_video_that_ends_the_process_is_identified_without_being_opened(tmp_path, monkeypatch):
    path = write_video(tmp_path / "clip.mp4", SCENE.frames)
    known = video(path)
    monkeypatch.setattr("selfseg.data.ingest.sources.open_video", lambda path: os.abort())
    found = leave_out(path, None, reason="its process ended")
    assert (found.name, found.sha256) == (known.name, known.sha256)
