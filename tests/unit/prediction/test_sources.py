from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from selfseg import storage
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.motion import measure
from selfseg.errors import UserError
from selfseg.prediction.inputs import find_sources
from selfseg.prediction.sources import Preparation, local_source
from tests.synthetic import Scene, moving_disc, write_frames, write_masks, write_video

SETTINGS = IngestSettings(height=96, flow_scale=1.0, matching_scale=1.0)


@pytest.fixture
def scene() -> Scene:
    return moving_disc(6, height=96, width=128, radius=20, velocity=(3, 0))


def prepared(*gaps: int) -> Preparation:
    return Preparation(SETTINGS, gaps, "none")


def test_a_frame_has_its_motion_to_later_frames_and_back_to_earlier_ones(scene, tmp_path):
    source = local_source(write_frames(tmp_path / "disc", scene.frames), "disc")
    frames = list(source.frames(prepared(1, 3)))
    assert [len(frame.pairs) for frame in frames] == [2, 3, 3, 3, 3, 2]
    # Frame 2 has 3 and 5 ahead of it and 1 behind it.
    middle = scene.masks[2] & scene.masks[3] & scene.masks[1]
    moved = [np.median(pair.flow[middle], axis=0) for pair in frames[2].pairs]
    np.testing.assert_allclose(moved, [(3, 0), (9, 0), (-3, 0)], atol=0.3)
    returned = [np.median(pair.flow_back[middle], axis=0) for pair in frames[2].pairs]
    np.testing.assert_allclose(returned, [(-3, 0), (-9, 0), (3, 0)], atol=0.3)


def test_frames_that_are_asked_for_alone_have_the_motion_that_they_have_among_all(
    scene, tmp_path, monkeypatch
):
    source = local_source(write_frames(tmp_path / "disc", scene.frames), "disc")
    every = list(source.frames(prepared(1, 2)))
    measured = []

    def counting(*arguments):
        measured.append(arguments)
        return measure(*arguments)

    monkeypatch.setattr("selfseg.data.ingest.samples.measure", counting)
    (frame,) = source.only(frozenset({3})).frames(prepared(1, 2))
    assert frame.number == 3
    assert sum(len(others) for _, others, *_ in measured) == 4  # to 4 and 5, from 1 and 2
    assert len(frame.pairs) == len(every[3].pairs) == 4
    for one, other in zip(frame.pairs, every[3].pairs, strict=True):
        np.testing.assert_allclose(one.flow, other.flow, atol=0.05)
        np.testing.assert_allclose(one.camera, other.camera, atol=0.05)


def test_who_needs_every_frame_gets_every_frame(scene, tmp_path):
    source = local_source(write_frames(tmp_path / "disc", scene.frames), "disc")
    whole = Preparation(SETTINGS, (1,), "none", whole=True)
    assert len(list(source.only(frozenset({3})).frames(whole))) == 6


def test_a_frame_comes_at_its_own_size_beside_the_prepared_one(scene, tmp_path):
    source = local_source(write_frames(tmp_path / "disc", scene.frames), "disc")
    settings = IngestSettings(height=48)
    frame = next(iter(source.frames(Preparation(settings, (1,), "none"))))
    np.testing.assert_array_equal(frame.original, scene.frames[0])
    assert frame.image.shape == (48, 64, 3)
    assert (frame.height, frame.width) == (96, 128)


def test_frames_of_a_folder_keep_their_names_and_those_of_a_video_are_numbered(scene, tmp_path):
    folder = write_frames(tmp_path / "disc", scene.frames)
    (folder / "00005.png").rename(folder / "00077.png")
    names = [f.name for f in local_source(folder, "disc").frames(prepared(1))]
    assert names == ["00000", "00001", "00002", "00003", "00004", "00077"]
    video = write_video(tmp_path / "disc.mp4", scene.frames)
    frames = list(local_source(video, "disc").frames(prepared(1)))
    assert [f.name for f in frames] == [f"{n:05d}" for n in range(6)]
    np.testing.assert_allclose([f.time_s or 0.0 for f in frames], np.arange(6) / 10, atol=1e-3)


def test_no_more_frames_are_decoded_than_the_longest_gap_needs(scene, tmp_path, monkeypatch):
    folder = write_frames(tmp_path / "disc", scene.frames)
    source = local_source(folder, "disc")
    frames = iter(source.frames(prepared(2)))
    next(frames)
    for late in sorted(folder.iterdir())[3:]:
        late.unlink()
    with pytest.raises(UserError, match="disc: 00003"):
        next(frames)


def test_a_folder_of_videos_stands_for_each_and_an_image_for_itself(scene, tmp_path):
    write_frames(tmp_path / "all" / "first", scene.frames)
    write_video(tmp_path / "all" / "second.avi", scene.frames)
    found = find_sources(str(tmp_path / "all"))
    assert [(source.name, source.num_frames) for source in found] == [("first", 6), ("second", 6)]
    (image,) = find_sources(str(tmp_path / "all" / "first" / "00001.png"))
    assert image.still
    (frame,) = image.frames(Preparation(SETTINGS, (1,), "none"))
    np.testing.assert_array_equal(frame.original, scene.frames[1])
    assert not frame.pairs


def davis_tree(root: Path, scene: Scene) -> Path:
    for name in ("cow", "dog"):
        write_frames(root / "JPEGImages" / "480p" / name, scene.frames)
        write_masks(root / "Annotations" / "480p" / name, scene.masks)
    lists = root / "ImageSets" / "480p"
    lists.mkdir(parents=True)
    lines = [f"/JPEGImages/480p/dog/{n:05d}.jpg /Annotations/480p/dog/{n:05d}.png" for n in (0, 1)]
    (lists / "val.txt").write_text("\n".join(lines) + "\n")
    return root


def test_a_davis_tree_is_also_something_to_predict_on(scene, tmp_path):
    found = find_sources(str(davis_tree(tmp_path, scene)))
    assert [source.name for source in found] == ["cow", "dog"]


def test_inputs_that_show_nothing_are_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.mp4: no such file or folder"):
        find_sources(str(tmp_path / "gone.mp4"))
    for name in ("text.mp4", "text.jpg"):
        (tmp_path / name).write_text("no picture")
        with pytest.raises(UserError, match=f"{name}: not a"):
            find_sources(str(tmp_path / name))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: holds neither frames nor videos"):
        find_sources(str(tmp_path / "empty"))


def uploaded(folder: Path, url: str) -> Iterator[str]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        storage.upload(path, storage.join(url, name))
        yield name


def test_a_bucket_holds_videos_images_and_folders_like_a_disk(s3, scene, tmp_path):
    url = storage.join(s3, "sources")
    write_frames(tmp_path / "in" / "first", scene.frames)
    write_video(tmp_path / "in" / "second.mp4", scene.frames)
    assert len(list(uploaded(tmp_path / "in", url))) == 7
    found = {source.name: source for source in find_sources(url)}
    assert set(found) == {"first", "second"}
    for source in found.values():
        assert len(list(source.frames(prepared(1)))) == 6
    (image,) = find_sources(storage.join(url, "first", "00002.png"))
    (frame,) = image.frames(prepared(1))
    np.testing.assert_array_equal(frame.original, scene.frames[2])
    (alone,) = find_sources(storage.join(url, "first"))
    assert (alone.name, alone.num_frames) == ("first", 6)


def test_an_object_that_is_no_video_is_named_by_its_url(s3):
    url = storage.join(s3, "broken", "text.mp4")
    storage.write(url, b"no video")
    (source,) = find_sources(url)
    with pytest.raises(UserError, match=f"^{url}: not a video"):
        list(source.frames(prepared(1)))
    with pytest.raises(UserError, match="nothing there that shows"):
        find_sources(storage.join(s3, "nowhere"))
