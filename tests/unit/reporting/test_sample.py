"""`selfseg show`: what is known of a sample, and its picture."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfseg.cli import main
from selfseg.data.format.schema import PairMeta
from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError
from selfseg.ops.colours import flow_image
from selfseg.reporting.sample import CAPTION_ROWS, show_sample
from tests import exact_collection
from tests.exact_collection import write_collection
from tests.synthetic import Scene, moving_disc

HEIGHT, WIDTH = 96, 128
SCENE = moving_disc(
    5, height=HEIGHT, width=WIDTH, radius=20, velocity=(6, 0), pan=(0, 4), start=(40, 48)
)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("collection"))
    write_collection(folder, {"disc": SCENE}, with_masks=True)
    return folder


def shown(url: str, wanted: str, folder: Path, gap: int | None = None) -> tuple[str, np.ndarray]:
    """Return what is said, and the picture."""
    output = str(folder / "picture.png")
    text = "\n".join(show_sample(url, wanted, gap=gap, output=output))
    picture = cv2.imread(output, cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    return text, picture


def tile(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    """Cut one picture out, without its caption."""
    top = row * (CAPTION_ROWS + HEIGHT) + CAPTION_ROWS
    return picture[top : top + HEIGHT, column * WIDTH :][:, :WIDTH].astype(float)


def test_every_part_is_named_with_its_bytes_and_its_checksum(url, tmp_path):
    text, _ = shown(url, "disc/1", tmp_path)
    collection = Collection.open(url)
    record = collection.record(collection.ordinal("disc-00000000_00000001"))
    for part in record.parts:
        data = record.read(part)
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {part}")]
        assert line.split()[1:] == [
            f"{len(data):,}", "bytes", "crc32", f"{zlib.crc32(data):08x}"
        ]  # fmt: skip


def test_video_frame_time_sizes_and_the_cameras_share_are_said(url, tmp_path):
    text, _ = shown(url, "disc/1", tmp_path)
    assert "video   disc, from disc.mp4" in text
    assert "frame   1, at 0.100 s" in text
    assert "size    128x96, of 128x96 in the source; flow 64x48" in text
    assert "gap 1   homography: 100 % of the tracked corners agree" in text
    assert "gap 2   homography: 100 % of the tracked corners agree" in text
    # The background pans by 4 pixels, 2 on the flow's grid, which is all the camera's.
    assert "motion  over 1: median 2.00 px, 0.00 px without the camera's" in text


def test_frame_flow_own_motion_and_mask_are_drawn(url, tmp_path):
    _, picture = shown(url, "disc/1", tmp_path)
    assert picture.shape == (2 * (HEIGHT + CAPTION_ROWS), 2 * WIDTH, 3)
    assert abs(tile(picture, 0, 0) - SCENE.frames[1]).mean() < 3  # JPEG
    inside = cv2.erode(SCENE.masks[1].astype(np.uint8), np.ones((9, 9))) > 0
    outside = cv2.dilate(SCENE.masks[1].astype(np.uint8), np.ones((9, 9))) == 0
    flow = tile(picture, 0, 1)
    own = tile(picture, 1, 0)
    # Down and right in the flow; without the camera's share the background is at rest: white.
    assert np.ptp(flow[outside], axis=0).max() == 0
    assert flow[outside][0].min() < 200
    assert own[outside].min() == 255
    # The disc moves by (3, 0) of the flow's grid, its own motion is that without (0, 2).
    expected = flow_image(np.full((1, 1, 2), (3, -2), np.float32))[0, 0]
    np.testing.assert_allclose(own[inside], np.broadcast_to(expected, own[inside].shape), atol=3)
    masked = tile(picture, 1, 1)
    assert (masked[outside] < SCENE.frames[1][outside] + 10).all()  # darkened
    assert masked[inside][:, 0].mean() > SCENE.frames[1][inside][:, 0].mean()  # tinted red


def test_another_gap_can_be_asked_for(url, tmp_path):
    text, _ = shown(url, "disc/1", tmp_path, gap=2)
    assert "motion  over 2: median 4.00 px, 0.00 px" in text


def test_a_translation_in_a_homographys_place_is_called_one(tmp_path, monkeypatch):
    def not_found(scene: Scene, gap: int) -> PairMeta:
        return camera(scene, gap).override({"inlier_share": 0.0 if gap == 1 else 0.75})

    camera = exact_collection._camera
    monkeypatch.setattr(exact_collection, "_camera", not_found)
    write_collection(str(tmp_path / "c"), {"disc": SCENE})
    text, _ = shown(str(tmp_path / "c"), "disc/0", tmp_path)
    assert "gap 1   homography: none was found, a translation takes its place" in text
    assert "gap 2   homography: 75 % of the tracked corners agree" in text


def test_the_last_frame_has_no_motion_to_show(url, tmp_path):
    text, picture = shown(url, "disc/4", tmp_path)
    assert "no flow" in text
    assert "motion" not in text
    assert picture.shape == (HEIGHT + CAPTION_ROWS, 2 * WIDTH, 3)  # frame and mask
    with pytest.raises(UsageError, match=r"^--gap 2: disc-0{8}_0{7}3 has no .*; it has over: 1$"):
        shown(url, "disc/3", tmp_path, gap=2)


def test_a_still_is_shown_alone(tmp_path):
    write_collection(str(tmp_path / "c"), {"disc": SCENE}, with_flow=False)
    text, picture = shown(str(tmp_path / "c"), "disc/0", tmp_path)
    assert picture.shape == (HEIGHT + CAPTION_ROWS, WIDTH, 3)
    assert "parts   2, all intact" in text


def test_the_picture_is_named_by_the_key_unless_a_name_is_given(url, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["show", url, "disc/2"])
    assert [path.name for path in tmp_path.iterdir()] == ["disc-00000000_00000002.png"]
    assert capsys.readouterr().out.splitlines()[-1] == "drawn   disc-00000000_00000002.png"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["disk/2"], "holds no video disk; near it: disc"),
        (["disc/2", "--gap", "3"], "--gap 3"),
        (["disc/2", "--output", "disc.jpg"], "--output disc.jpg: the picture is a PNG"),
    ],
)
def test_a_mistake_is_one_line_and_no_picture(
    url, arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        main(["show", url, *arguments])
    assert error.value.code == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("selfseg: ")
    assert message in line
    assert captured.out == ""
    assert not list(tmp_path.iterdir())
