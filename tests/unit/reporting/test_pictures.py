import base64

import cv2
import numpy as np
import pytest
import torch

from selfseg.contracts import Detections
from selfseg.reporting.pictures import FILM_WIDTH, Look, agreement, data_uri, film, row
from tests.synthetic import moving_disc

SCENE = moving_disc(num_frames=4, height=48, width=64, velocity=(3, 0))


def look(frame: int, **changes) -> Look:
    flow = SCENE.flow(0, 1)
    known = {
        "video": "disc",
        "frame": frame,
        "time_s": frame / 10,
        "image": SCENE.frames[frame],
        "flow": flow,
        "own_motion": flow,
        "probability": SCENE.masks[frame].astype(np.float32),
        "truth": SCENE.masks[frame],
    }
    return Look(**(known | changes))


def decoded(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head == "data:image/webp;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    return image


def test_a_picture_survives_its_way_into_the_page():
    orange = np.full((32, 48, 3), (250, 120, 10), np.uint8)
    np.testing.assert_allclose(decoded(data_uri(orange)).mean((0, 1)), (250, 120, 10), atol=4)


def test_a_row_shows_frame_flow_prediction_and_truth_each_with_words():
    shown = row(look(0))
    names = [tile.name for tile in shown.tiles]
    assert names == ["frame", "flow", "own motion", "prediction", "truth"]
    assert all("frame 0 of disc" in tile.alt for tile in shown.tiles)
    assert {decoded(tile.uri).shape for tile in shown.tiles} == {(48, 64, 3)}


def test_a_detector_has_its_grid_and_its_box_drawn_over_its_mask():
    found = Detections(
        boxes=torch.tensor([[0.25, 0.25, 0.5, 0.5]]),
        confidence=torch.tensor([0.75]),
        masks=torch.zeros(1, 48, 64),
        bumps=torch.zeros(1, 48, 64),
        cells=torch.tensor([0]),
        centres=torch.tensor([[0.25, 0.5], [0.75, 0.5]]),
        probability=torch.tensor([0.75, 0.25]),
    )
    grey = np.full((48, 64, 3), 128, np.uint8)
    nothing = {"image": grey, "probability": np.zeros((48, 64), np.float32)}
    (_, *_, plain, _), (_, *_, drawn, _) = (
        row(look(0, **nothing, found=each)).tiles for each in (None, found)
    )
    assert plain.alt == "frame 0 of disc: prediction, 0 % of the picture"
    assert drawn.alt == f"{plain.alt}, in a box of confidence 0.75"
    changed = np.abs(decoded(drawn.uri).astype(int) - decoded(plain.uri)).max(2) > 40
    # The upper edge lies at a quarter of 48 rows, the likelier cell at a quarter of 64 columns.
    assert changed[12, 20:44].all()
    assert changed[24, 16]
    assert not changed[:8].any()


def test_what_a_collection_does_not_hold_is_left_out():
    shown = row(look(0, flow=None, own_motion=None, truth=None))
    assert [tile.name for tile in shown.tiles] == ["frame", "prediction"]
    assert shown.agreement is None


def test_a_mask_is_compared_at_the_size_of_the_truth():
    half = cv2.resize(SCENE.masks[0].astype(np.float32), (32, 24), interpolation=cv2.INTER_AREA)
    right, wrong = agreement(look(0, probability=half)), agreement(look(0, probability=1 - half))
    assert right is not None
    assert wrong is not None
    assert wrong < 0.1
    assert right > 0.9


def test_a_film_is_a_strip_of_its_frames_in_order():
    shown = film([look(frame) for frame in range(4)])
    assert (shown.num_frames, shown.first, shown.last) == (4, 0, 3)
    strip = decoded(next(layer.uri for layer in shown.layers if layer.name == "mask"))
    for frame, part in enumerate(np.split(strip[..., 0] > 127, 4)):
        assert np.mean(part == SCENE.masks[frame]) > 0.97


def test_a_film_takes_as_long_as_it_took_to_film():
    assert film([look(frame) for frame in range(4)]).length_s == pytest.approx(4 * 0.1)


def test_a_long_film_of_large_frames_stays_within_what_webp_holds():
    tall = cv2.resize(SCENE.frames[0], (480, 960))
    shown = film([look(frame, image=tall) for frame in (0, 1, 2, 3) * 10])
    for layer in shown.layers:
        height, width = decoded(layer.uri).shape[:2]
        assert height <= 16_383
        assert width <= FILM_WIDTH
        assert height % 40 == 0
