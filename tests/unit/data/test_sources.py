import pytest

from selfseg.data.manifest import SkippedEntry
from selfseg.data.sources import LONGEST_SLUG, SourceVideo, first_mask, inspect, slug
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
