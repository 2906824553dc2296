import weakref
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from selfseg.config import Config
from selfseg.data.format import schema
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.decoding import BrokenVideoError, Frame
from selfseg.data.ingest.samples import Sample, grid_sizes, moving_frames, samples
from selfseg.data.ingest.videos import Video, open_video
from selfseg.errors import UsageError
from selfseg.ops.camera import quadratic_flow
from tests.synthetic import moving_disc, write_frames, write_masks

SCENE = moving_disc(5, height=96, width=128, radius=20, velocity=(4, -2), pan=(-2, 1))
"""Velocities in source pixels; the flow grid of `SETTINGS` has half as many."""

SETTINGS = IngestSettings(height=96, gaps=(1, 3), matching_scale=1, flow_scale=0.5)


pytestmark = pytest.mark.usefixtures("one_thread")


def ingested(tmp_path: Path, settings: Config, masks: Path | None = None) -> list[Sample]:
    assert isinstance(settings, IngestSettings)
    video = open_video(write_frames(tmp_path / "disc", SCENE.frames))
    return list(samples(video, "disc-1", settings, masks))


def metas(found: list[Sample]) -> list[schema.Meta]:
    return [schema.Meta.model_validate_json(sample.parts[schema.META]) for sample in found]


def test_flow_points_to_the_later_frame_and_back_in_pixels_of_its_own_grid(tmp_path):
    parts = ingested(tmp_path, SETTINGS)[1].parts
    for gap in (1, 3):
        forward = schema.decode_flow(parts[schema.forward_part(gap)])
        backward = schema.decode_flow(parts[schema.backward_part(gap)])
        assert forward.shape == (48, 64, 2)
        for flow, exact in (
            (forward, SCENE.flow(1, 1 + gap)),
            (backward, SCENE.flow(1 + gap, 1)),
        ):
            error = np.linalg.norm(flow - exact[::2, ::2] / 2, axis=-1)
            assert np.median(error) < 0.1


def test_the_end_of_a_video_lacks_the_gaps_that_lead_past_it(tmp_path):
    found = ingested(tmp_path, SETTINGS)
    assert [sample.key for sample in found] == [f"disc-1_{n:08d}" for n in range(5)]
    assert [sorted(meta.pairs) for meta in metas(found)] == [[1, 3], [1, 3], [1], [1], []]
    held = [sorted(part for part in sample.parts if "forward" in part) for sample in found]
    assert held[1:4] == [["forward_1.png", "forward_3.png"], ["forward_1.png"], ["forward_1.png"]]
    assert held[4] == []


def test_the_camera_is_what_the_background_does(tmp_path):
    pair = metas(ingested(tmp_path, SETTINGS))[0].pairs[1]
    pan = np.array(SCENE.pan) / 2
    corner = np.array([10.0, 10.0, 1.0])
    moved = np.array(pair.homography) @ corner
    np.testing.assert_allclose(moved[:2] / moved[2] - corner[:2], pan, atol=0.1)
    assert pair.inlier_share > 0.5
    for coefficients, exact in ((pair.camera_forward, pan), (pair.camera_backward, -pan)):
        flow = quadratic_flow(np.array(coefficients), 48, 64)
        np.testing.assert_allclose(flow[:8, :8].mean(axis=(0, 1)), exact, atol=0.15)


def test_sizes_and_origin_are_noted(tmp_path):
    meta = metas(ingested(tmp_path, SETTINGS.override({"height": 48})))[0]
    assert (meta.height, meta.width) == (48, 64)
    assert (meta.source_height, meta.source_width) == (96, 128)
    assert (meta.flow_height, meta.flow_width) == (24, 32)
    assert (meta.video, meta.source, meta.frame) == ("disc-1", "disc", 0)


def test_without_flow_a_sample_is_an_image_alone(tmp_path):
    found = ingested(tmp_path, SETTINGS.override({"flow": "none"}))
    assert {tuple(sorted(sample.parts)) for sample in found} == {("image.jpg", "meta.json")}
    assert {meta.flow_height for meta in metas(found)} == {0}


def test_masks_travel_byte_for_byte_where_they_exist(tmp_path):
    masks = write_masks(tmp_path / "masks", SCENE.masks)
    (masks / "00002.png").unlink()
    found = ingested(tmp_path, SETTINGS.override({"flow": "none"}), masks)
    held = [sample.parts.get(schema.MASK) for sample in found]
    assert held[2] is None
    assert held[3] == (masks / "00003.png").read_bytes()


def test_of_an_image_the_brighter_half_of_its_mask_is_kept(tmp_path):
    image = write_frames(tmp_path / "stills", SCENE.frames[:1]) / "00000.png"
    levels = np.zeros((96, 128), np.uint8)
    levels[:, 40:80] = 127
    levels[:, 80:] = 128
    assert cv2.imwrite(str(tmp_path / "mask.png"), levels)
    settings = SETTINGS.override({"flow": "none"})
    assert isinstance(settings, IngestSettings)
    (sample,) = samples(open_video(image), "00000-1", settings, tmp_path / "mask.png")
    assert sample.key == "00000-1_00000000"
    np.testing.assert_array_equal(schema.decode_mask(sample.parts[schema.MASK]), levels == 128)


def test_a_mask_of_another_size_is_named(tmp_path):
    masks = write_masks(tmp_path / "masks", SCENE.masks[:, ::2, ::2])
    with pytest.raises(BrokenVideoError, match=r"mask 00000\.png is 64x48, its frame 128x96"):
        ingested(tmp_path, SETTINGS.override({"flow": "none"}), masks)


def test_a_damaged_mask_is_named(tmp_path):
    masks = write_masks(tmp_path / "masks", SCENE.masks)
    (masks / "00001.png").write_bytes(b"no mask")
    with pytest.raises(BrokenVideoError, match=r"mask 00001\.png is not an image"):
        ingested(tmp_path, SETTINGS.override({"flow": "none"}), masks)


@pytest.mark.parametrize("num_frames", [10, 40])
def test_no_more_frames_are_held_than_the_longest_gap_needs(monkeypatch, num_frames):
    alive: set[int] = set()
    most_alive = 0

    def frames(video: Video) -> Iterator[Frame]:
        nonlocal most_alive
        for number in range(video.num_frames):
            image = SCENE.frames[number % len(SCENE.frames)].copy()
            alive.add(number)
            weakref.finalize(image, alive.discard, number)
            most_alive = max(most_alive, len(alive))
            yield Frame(number, None, image)
            del image

    monkeypatch.setattr(Video, "frames", frames)
    video = Video(Path("reel.mp4"), num_frames, 96, 128)
    for _ in moving_frames(video, IngestSettings(height=16, gaps=(1, 3), flow="none")):
        pass
    # The window of 4, the frame that is just read and the one that is just handed out.
    assert most_alive <= 6


def test_gaps_are_kept_once_each_in_rising_order():
    assert IngestSettings(gaps=(3, 1, 3)).gaps == (1, 3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"height": 0}, "height"),
        ({"gaps": []}, "gaps"),
        ({"gaps": [0]}, "gaps"),
        ({"flow": "raft"}, "flow"),
        ({"hight": 9}, "hight"),
    ],
)
def test_a_wrong_setting_is_named(change, named):
    with pytest.raises(UsageError, match=f"test: {named}"):
        IngestSettings.parse(change, origin="test")


def test_motion_is_never_measured_on_a_larger_grid_than_the_source_has():
    settings = IngestSettings(height=96, matching_scale=2.0, flow_scale=0.5)
    assert grid_sizes(settings, height=300, width=400).matching == (192, 256)
    assert grid_sizes(settings, height=120, width=160).matching == (120, 160)
    assert grid_sizes(settings, height=30, width=40).matching == (48, 64)  # that flow is kept on
