import numpy as np
import pytest

from selfseg.data.ingest.decoding import BrokenVideoError
from selfseg.data.ingest.videos import open_video, passed_over, still_paths, video_paths
from selfseg.errors import UsageError
from tests.synthetic import moving_disc, write_frames, write_video

SCENE = moving_disc(5)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi"])
def test_a_file_gives_its_frames_in_order_with_their_times(tmp_path, name):
    path = write_video(tmp_path / name, SCENE.frames, rate=10)
    video = open_video(path)
    frames = list(video.frames())
    assert (video.num_frames, video.height, video.width) == (5, 48, 64)
    assert [frame.number for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    for frame, true in zip(frames, SCENE.frames, strict=True):
        # Compression is lossy; a swap of channels or of neighbouring frames would be 20 and more.
        assert np.abs(frame.image.astype(int) - true).mean() < 6


def test_a_folder_gives_its_images_exactly_and_has_no_clock(tmp_path):
    video = open_video(write_frames(tmp_path / "clip", SCENE.frames))
    frames = list(video.frames())
    np.testing.assert_array_equal(np.stack([frame.image for frame in frames]), SCENE.frames)
    assert {frame.time_s for frame in frames} == {None}


def test_numbers_in_names_are_compared_as_numbers(tmp_path):
    folder = write_frames(tmp_path / "clip", SCENE.frames[:3])
    for old, new in {"00000.png": "f2.png", "00001.png": "f10.png", "00002.png": "f9.png"}.items():
        (folder / old).rename(folder / new)
    names = [path.name for path in open_video(folder).frame_paths]
    assert names == ["f2.png", "f9.png", "f10.png"]


@pytest.mark.parametrize("name", ["notes.mp4", "notes.txt"])
def test_a_text_is_no_video_and_nothing_is_written_on_the_terminal(tmp_path, capfd, name):
    path = tmp_path / name
    path.write_text("not a video\n" * 100)
    with pytest.raises(BrokenVideoError, match="not a video"):
        open_video(path)
    assert capfd.readouterr() == ("", "")


def test_a_video_that_breaks_off_in_the_middle_is_broken(tmp_path):
    path = write_video(tmp_path / "clip.mp4", moving_disc(40).frames)
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 2000] = b"\xff" * 2000
    path.write_bytes(data)
    with pytest.raises(BrokenVideoError, match=r"damaged: only \d+ of 40 frames"):
        list(open_video(path).frames())


def test_a_folder_without_frames_is_broken(tmp_path):
    with pytest.raises(BrokenVideoError, match="without frames"):
        open_video(tmp_path)


def test_frames_of_another_size_than_the_first_are_broken(tmp_path):
    folder = write_frames(tmp_path / "clip", SCENE.frames)
    write_frames(tmp_path / "small", moving_disc(1, height=24, width=32).frames)
    (tmp_path / "small" / "00000.png").replace(folder / "00003.png")
    with pytest.raises(BrokenVideoError, match="frame 3 is 32x24, the first 64x48"):
        list(open_video(folder).frames())


def test_a_damaged_frame_of_a_folder_is_named(tmp_path):
    folder = write_frames(tmp_path / "clip", SCENE.frames)
    (folder / "00002.png").write_bytes(b"")
    with pytest.raises(BrokenVideoError, match=r"00002\.png is not an image"):
        list(open_video(folder).frames())


def test_an_argument_stands_for_itself_or_for_the_videos_inside(tmp_path):
    folder = write_frames(tmp_path / "all" / "a", SCENE.frames)
    file = write_video(tmp_path / "all" / "b.mp4", SCENE.frames)
    (tmp_path / "all" / "README.txt").write_text("not a video")
    (tmp_path / "all" / "empty").mkdir()
    assert video_paths(file) == [file]
    assert video_paths(folder) == [folder]
    assert video_paths(tmp_path / "all") == [folder, file]


def test_pictures_beside_videos_are_no_frames_and_what_is_not_taken_is_told(tmp_path):
    file = write_video(tmp_path / "one.mp4", SCENE.frames)
    frames = write_frames(tmp_path / "frames", SCENE.frames)
    write_video(write_frames(tmp_path / "both", SCENE.frames) / "two.mp4", SCENE.frames)
    (frames / "00000.png").rename(tmp_path / "thumbnail.png")
    for name in ("tape.mxf", ".hidden"):
        (tmp_path / name).write_text("")
    assert video_paths(tmp_path) == [frames, file]
    beside = passed_over(tmp_path, [frames, file])
    assert [path.name for path in beside] == ["both", "tape.mxf", "thumbnail.png"]
    assert video_paths(tmp_path / "both") == [tmp_path / "both" / "two.mp4"]
    assert passed_over(frames, [frames]) == passed_over(file, [file]) == []


def test_an_argument_that_stands_for_nothing_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.mp4: no such file"):
        video_paths(tmp_path / "gone.mp4")
    with pytest.raises(UsageError, match="holds neither frames nor videos"):
        video_paths(tmp_path)


def test_an_image_is_a_video_of_one_frame(tmp_path):
    folder = write_frames(tmp_path / "clip", SCENE.frames)
    video = open_video(folder / "00002.png")
    assert (video.num_frames, video.height, video.width) == (1, 48, 64)
    (frame,) = video.frames()
    np.testing.assert_array_equal(frame.image, SCENE.frames[2])
    assert (frame.number, frame.time_s) == (0, None)
    (folder / "00002.png").write_text("no picture")
    with pytest.raises(BrokenVideoError, match=r"00002\.png is not an image"):
        open_video(folder / "00002.png")


def test_stills_are_an_image_or_those_directly_in_a_folder(tmp_path):
    folder = write_frames(tmp_path / "all", SCENE.frames[:2])
    write_frames(folder / "deeper", SCENE.frames)
    (folder / "README.txt").write_text("no picture")
    assert still_paths(folder) == [folder / "00000.png", folder / "00001.png"]
    assert still_paths(folder / "00001.png") == [folder / "00001.png"]


def test_what_holds_no_still_is_named(tmp_path):
    (tmp_path / "clip.mp4").write_text("a video")
    for path, reason in (
        (tmp_path / "gone", "no such file or folder"),
        (tmp_path, "holds no images"),
        (tmp_path / "clip.mp4", "not an image; leave --stills out"),
    ):
        with pytest.raises(UsageError, match=f"{path.name}: {reason}"):
            still_paths(path)
