"""The program `tools/make_scenes.py`: what it says is there is there, pixel by pixel."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import CANVAS, Settings, camera_path, figure_path, photograph, scene, seen

from tools import make_scenes
from tools.make_scenes import main

SMALL = Settings(
    photographs=(), videos=2, frames=24, size=64, objects=1, moving_camera=True, seed=3
)


def changed(**changes: object) -> Settings:
    return Settings(**{name: getattr(SMALL, name) for name in SMALL.__slots__} | changes)  # pyright: ignore[reportArgumentType]


def made(folder: Path, *options: object) -> Path:
    small = ("--videos", 2, "--frames", 4, "--size", 64)
    main([str(argument) for argument in (folder, *small, *options)])
    return folder


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as error:
        made(*arguments)  # pyright: ignore[reportArgumentType]
    (line,) = capsys.readouterr().err.splitlines()
    assert isinstance(error.value.code, int)
    return error.value.code, line


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image[..., ::-1] if image.ndim == 3 else image


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def backgrounds(settings: Settings, video: int) -> list[np.ndarray]:
    canvas = photograph(settings, video, *(side * settings.size for side in CANVAS))
    return [seen(canvas, camera, settings.size) for camera in camera_path(settings, video)]


@pytest.mark.parametrize("objects", [1, 3])
def test_outside_the_mask_lies_the_background_and_nothing_of_it_inside(objects):
    settings = changed(objects=objects)
    for (frame, labels), background in zip(
        scene(settings, 1), backgrounds(settings, 1), strict=True
    ):
        differs = (frame != background).any(-1)
        assert not differs[labels == 0].any()
        # By chance a few pixels of two unlike photographs are alike.
        assert differs[labels > 0].mean() > 0.99


def test_the_camera_never_leaves_the_photograph():
    for seed in range(40):
        settings = changed(seed=seed, frames=200)
        corners = np.array([[x, y, 1] for x in (0, 63) for y in (0, 63)])
        x, y = np.moveaxis(camera_path(settings, 0) @ corners.T, 1, 0)
        assert x.min() >= 0
        assert x.max() <= CANVAS[1] * 64 - 1
        assert y.min() >= 0
        assert y.max() <= CANVAS[0] * 64 - 1


def test_a_camera_moves_or_is_still_as_told():
    moving, still = camera_path(SMALL, 0), camera_path(changed(moving_camera=False), 0)
    assert np.abs(np.diff(moving, axis=0)).max(axis=(1, 2)).min() > 0
    assert len(still) == SMALL.frames
    np.testing.assert_array_equal(still, np.broadcast_to(still[:1], still.shape))
    # Before a still camera, the frames differ nowhere but where a figure is or was.
    frames = list(scene(changed(moving_camera=False), 0))
    (first, shown), (second, covered) = frames[0], frames[-1]
    free = (shown == 0) & (covered == 0)
    np.testing.assert_array_equal(first[free], second[free])
    assert free.mean() > 0.5


@pytest.mark.parametrize("seed", range(8))
def test_a_figure_goes_further_than_it_is_wide(seed):
    boxes = np.array(
        [
            cv2.boundingRect((labels > 0).astype(np.uint8))
            for _, labels in scene(changed(seed=seed), 0)
        ]
    )
    centres = boxes[:, 0] + boxes[:, 2] / 2
    assert np.ptp(centres) > np.median(boxes[:, 2])


def test_the_joints_of_a_figure_move():
    poses = list(figure_path(changed(frames=100), 0, 0))
    angles = np.array([[segment.angle for segment in pose] for pose in poses])
    upper, lower = angles[:, [0, 2, 6, 8]], angles[:, [1, 3, 7, 9]]
    assert (np.ptp(upper, axis=0) > 0.5).all()
    assert (np.ptp(lower - upper, axis=0) > 0.3).all()
    for pose in poses:
        for first, second in ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9)):
            np.testing.assert_array_equal(pose[second].start, pose[first].end)


def test_boxes_are_tight_around_what_is_visible_of_each_object(tmp_path):
    made(tmp_path / "s", "--objects", 2, "--seed", 3)
    document = json.loads((tmp_path / "s" / "boxes.json").read_text())
    assert len(document["images"]) == 2 * 4
    assert {found["category_id"] for found in document["annotations"]} == {1}
    settings = changed(frames=4, objects=2)
    expected = {
        (f"scene_{video:03d}/{number:05d}.png", figure): labels == figure
        for video in range(2)
        for number, (_, labels) in enumerate(scene(settings, video))
        for figure in (1, 2)
    }
    names = {image["id"]: image["file_name"] for image in document["images"]}
    assert [found["id"] for found in document["annotations"]] == list(range(1, 17))
    for found, ((name, _), visible) in zip(document["annotations"], expected.items(), strict=True):
        rows, columns = np.flatnonzero(visible.any(1)), np.flatnonzero(visible.any(0))
        assert names[found["image_id"]] == name
        assert found["area"] == visible.sum()
        left, top, width, height = found["bbox"]
        assert (left, left + width - 1) == (columns[0], columns[-1])
        assert (top, top + height - 1) == (rows[0], rows[-1])


def test_files_hold_the_frames_and_all_objects_as_one_mask(tmp_path):
    made(tmp_path / "s", "--objects", 2, "--seed", 3)
    for number, (frame, labels) in enumerate(scene(changed(frames=4, objects=2), 1)):
        name = f"scene_001/{number:05d}.png"
        np.testing.assert_array_equal(read(tmp_path / "s" / "videos" / name), frame)
        mask = read(tmp_path / "s" / "masks" / name)
        np.testing.assert_array_equal(mask, np.where(labels > 0, 255, 0))


def test_the_same_command_gives_the_same_bytes_and_another_seed_others(tmp_path):
    first, again = (files(made(tmp_path / name, "--seed", 5)) for name in ("a", "b"))
    assert first == again
    other = files(made(tmp_path / "c", "--seed", 6))
    assert other.keys() == first.keys()
    assert not any(other[name] == data for name, data in first.items() if "videos" in name)


def write_photographs(folder: Path, count: int) -> Path:
    """Write pictures of one colour each: 10, 20, ..."""
    folder.mkdir()
    for number in range(1, count + 1):
        plain = np.full((30 + number, 50, 3), 10 * number, np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), plain)
    return folder


def test_every_background_and_every_coat_is_a_photograph_of_its_own(tmp_path):
    folder = write_photographs(tmp_path / "photos", 5)
    made(tmp_path / "s", "--videos", 3, "--objects", 2, "--photographs", folder)
    behind, worn = set(), set()
    for name in ("scene_000", "scene_001", "scene_002"):
        frame = read(tmp_path / "s" / "videos" / name / "00000.png")
        mask = read(tmp_path / "s" / "masks" / name / "00000.png") > 0
        (colour,) = np.unique(frame[~mask])
        behind.add(colour)
        coats = set(np.unique(frame[mask]))
        assert len(coats) == 2
        worn |= coats
    assert len(behind) == 3
    assert behind | worn == {10, 20, 30, 40, 50}
    assert not behind & worn


def test_what_is_wrong_is_said_in_one_line(tmp_path, capsys):
    empty, few = tmp_path / "empty", write_photographs(tmp_path / "few", 2)
    empty.mkdir()
    code, line = refused(capsys, tmp_path / "s", "--photographs", empty)
    assert (code, line) == (2, f"make_scenes: {empty}: holds no images; name a folder that does")
    code, line = refused(capsys, tmp_path / "s", "--photographs", tmp_path / "gone")
    assert code == 2
    assert "gone: no such folder" in line
    code, line = refused(capsys, tmp_path / "s", "--photographs", few)
    assert code == 2
    assert "holds 2 images" in line
    assert "have 3, or lower --videos" in line
    code, line = refused(capsys, few)
    assert code == 2
    assert f"{few}: is there already" in line
    (tmp_path / "file").write_text("")
    code, line = refused(capsys, tmp_path / "file" / "below")
    assert code == 1
    assert "Not a directory; choose another folder" in line


def test_an_interrupt_ends_in_a_line_that_says_what_is_left_behind(tmp_path, capsys, monkeypatch):
    def interrupted(path: Path, pixels: np.ndarray) -> None:
        del path, pixels
        raise KeyboardInterrupt

    monkeypatch.setattr(make_scenes, "_write_png", interrupted)
    code, line = refused(capsys, tmp_path / "s")
    assert code == 130
    assert line == f"make_scenes: interrupted; empty {tmp_path / 's'} before you repeat the command"


def test_a_photograph_that_cannot_be_read_is_named(tmp_path, capsys):
    folder = write_photographs(tmp_path / "photos", 2)
    (folder / "torn.jpg").write_text("no picture")
    code, line = refused(capsys, tmp_path / "s", "--photographs", folder)
    assert code == 1
    assert f"{folder / 'torn.jpg'}: not an image" in line
