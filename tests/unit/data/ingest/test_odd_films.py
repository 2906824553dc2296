"""What people film with: every frame at its time and the right way up, or a reason why not."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.decoding import BrokenVideoError, Frame
from selfseg.data.ingest.samples import moving_frames
from selfseg.data.ingest.videos import open_video
from tests.odd_films import cut, sound, thinned, trimmed, turned, with_ticks
from tests.synthetic import moving_disc, write_frames, write_video

SCENE = moving_disc(40)
"""Ten frames a second."""


def frames(path: Path) -> list[Frame]:
    return list(open_video(path).frames())


def times(path: Path) -> list[float | None]:
    return [frame.time_s for frame in frames(path)]


def assert_shows(frame: Frame, true: np.ndarray) -> None:
    """See that a frame is `true` but for compression; its neighbour would be 20 off and more."""
    assert np.abs(frame.image.astype(int) - true).mean() < 6


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", SCENE.frames)


def write_jpegs(path: Path, shown: np.ndarray, *, colour: bool = True) -> Path:
    """Write a Motion JPEG of ten frames a second, in whatever container `path` names."""
    code = cv2.VideoWriter.fourcc(*"MJPG")
    height, width = shown.shape[1:3]
    writer = cv2.VideoWriter(str(path), code, 10, (width, height), colour)
    for image in shown:
        writer.write(image[..., ::-1] if colour else image)
    writer.release()
    return path


def test_frames_that_last_unequally_long_keep_their_times(clip):
    ticks = [1024, 2048, 512, 512] * 10  # as long as it was
    found = frames(with_ticks(clip, ticks))
    starts = np.cumsum([0, *ticks[:-1]]) / 10240
    assert [frame.time_s for frame in found] == pytest.approx(starts)
    for frame, true in zip(found, SCENE.frames, strict=True):
        assert_shows(frame, true)


def test_where_a_container_tells_only_its_duration_missing_frames_are_no_damage(tmp_path):
    dropped = {number for number in range(5, 35) if number % 3}
    path = thinned(write_jpegs(tmp_path / "clip.mkv", SCENE.frames), dropped)
    kept = [number for number in range(40) if number not in dropped]
    assert open_video(path).num_frames == 40  # a guess, from its duration and a steady rate
    assert times(path) == pytest.approx([number / 10 for number in kept])
    for number, frame in zip(kept, frames(path), strict=True):
        assert_shows(frame, SCENE.frames[number])


def test_a_clip_trimmed_by_its_telephone_is_whole(clip):
    found = frames(trimmed(clip, first=12, frames=28))
    assert [frame.time_s for frame in found] == pytest.approx([n / 10 for n in range(28)])
    assert_shows(found[0], SCENE.frames[12])


def test_a_trimmed_clip_whose_rest_is_damaged_is_broken(clip):
    data = bytearray(clip.read_bytes())
    middle = data.index(b"mdat") + 2500
    data[middle : middle + 1500] = b"\xff" * 1500
    clip.write_bytes(data)
    with pytest.raises(BrokenVideoError, match=r"^damaged: only \d+ of 40 frames"):
        frames(trimmed(clip, first=4, frames=36))


@pytest.mark.parametrize(("degrees", "quarters"), [(0, 0), (90, -1), (180, 2), (270, 1)])
def test_a_telephone_held_otherwise_films_the_right_way_up(clip, degrees, quarters):
    video = open_video(turned(clip, degrees))
    upright = np.rot90(SCENE.frames[0], quarters)
    assert (video.height, video.width) == upright.shape[:2]
    assert_shows(next(video.frames()), upright)


def test_a_picture_that_would_be_askew_is_refused(clip):
    with pytest.raises(BrokenVideoError, match=r"^turned by \d+ degrees; only quarter turns"):
        open_video(turned(clip, 45))


@pytest.mark.parametrize("name", ["clip.mkv", "clip.avi"])
def test_of_a_file_that_breaks_off_nothing_is_taken(tmp_path, name):
    path = cut(write_jpegs(tmp_path / name, SCENE.frames), 0.7)
    with pytest.raises(BrokenVideoError, match=r"^damaged: only 2\d of \d+ frames can be decoded$"):
        frames(path)


def test_a_recording_whose_end_was_never_written_is_no_video(clip):
    with pytest.raises(BrokenVideoError, match=r"^not a video, or a damaged one$"):
        open_video(cut(clip, 0.7))


def test_a_sound_is_no_video_nor_is_its_cover(tmp_path):
    with pytest.raises(BrokenVideoError, match=r"^not a video"):
        open_video(sound(tmp_path / "plain.wav"))
    with pytest.raises(BrokenVideoError, match=r"^one picture, as sounds have for a cover"):
        frames(sound(tmp_path / "cover.wav", SCENE.frames[0]))


def test_grey_has_three_equal_colours_in_files_and_folders(tmp_path):
    grey = SCENE.frames[:3, ..., 1]
    folder = write_frames(tmp_path / "folder", np.repeat(grey[..., None], 3, axis=-1))
    for number, image in enumerate(grey):
        assert cv2.imwrite(str(folder / f"{number:05d}.png"), image)
    file = write_jpegs(tmp_path / "file.avi", grey, colour=False)
    for path in (folder, file):
        for frame, true in zip(frames(path), grey, strict=True):
            assert np.ptp(frame.image.astype(int), axis=-1).max() <= 3
            assert_shows(frame, true[..., None])


def test_4k_is_brought_to_the_size_that_is_stored(tmp_path):
    film = np.repeat(np.repeat(moving_disc(2).frames, 45, axis=1), 60, axis=2)
    video = open_video(write_jpegs(tmp_path / "film.avi", film))
    assert (video.height, video.width) == (2160, 3840)
    first, _ = moving_frames(video, IngestSettings(height=32, gaps=(1,)))
    assert first.image.shape == (32, 56, 3)
    assert first.motions[1].forward.shape == (16, 28, 2)


@pytest.mark.parametrize("name", ["a b.c", "key: 50% %03d [x]", "видео", "-", "line\nbreak"])
def test_any_name_will_do(tmp_path, monkeypatch, name):
    (tmp_path / f"{name}.d").mkdir()
    monkeypatch.chdir(tmp_path / f"{name}.d")
    write_video(tmp_path / "clip.mp4", SCENE.frames).rename(f"{name}.mp4")
    assert len(frames(Path(f"{name}.mp4"))) == 40
    write_frames(tmp_path / "frames", SCENE.frames[:2]).rename(name)
    assert len(frames(Path(name))) == 2


def test_a_name_that_is_no_text_is_refused_before_it_ends_the_process(clip):
    named = clip.rename(clip.with_name(os.fsdecode(b"k\xf6der.mp4")))
    with pytest.raises(BrokenVideoError, match=r"^its path is not UTF-8; rename it$"):
        open_video(named)
    folder = write_frames(clip.parent / "frames", SCENE.frames[:1])
    folder = folder.rename(clip.with_name(os.fsdecode(b"k\xf6der")))
    with pytest.raises(BrokenVideoError, match="not UTF-8"):
        open_video(folder)
