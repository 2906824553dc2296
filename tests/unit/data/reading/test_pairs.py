"""A record becomes a pair on a grid: directions, units, and parts that stay together."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from selfseg.data.format import schema
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.pairs import (
    Crop,
    Pair,
    PairAddress,
    camera_fields,
    on_grid,
    pairs_from,
    read_pair,
    stacked,
)
from selfseg.data.reading.tensors import to_batch
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc

SCENE = moving_disc(6, velocity=(2, 1), pan=(1, -1))
HEIGHT, WIDTH = SCENE.frames.shape[1:3]
OFF_CENTRE = Crop(top=0.1, left=0.2, side=0.75)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("collection"))
    write_collection(folder, {"swan": SCENE}, gaps=(1, 2))
    return Collection.open(folder)


def address(collection: Collection, frame: int, gap: int, *, reverse: bool) -> PairAddress:
    return PairAddress(collection.videos["swan"][frame], gap, reverse)


def frame_of(pair: Pair) -> int:
    return schema.split_key(pair.key)[1]


def along(flow: np.ndarray, image: np.ndarray, interpolation: int) -> np.ndarray:
    """Sample an image where a flow leads."""
    y, x = np.indices(flow.shape[:2], dtype=np.float32)
    return cv2.remap(image, x + flow[..., 0], y + flow[..., 1], interpolation)


def test_a_forward_pair_is_the_records_own_frame(collection):
    pair = read_pair(collection, address(collection, 1, 2, reverse=False), "none")
    assert frame_of(pair) == 1
    np.testing.assert_array_equal(pair.flow, SCENE.flow(1, 3)[::2, ::2] / 2)
    np.testing.assert_array_equal(pair.flow_back, SCENE.flow(3, 1)[::2, ::2] / 2)


def test_a_reversed_pair_is_the_later_frame_looking_back(collection):
    forward = read_pair(collection, address(collection, 1, 2, reverse=False), "quadratic")
    reverse = read_pair(collection, address(collection, 1, 2, reverse=True), "quadratic")
    assert frame_of(reverse) == 3
    assert abs(reverse.image.astype(int) - SCENE.frames[3]).mean() < 3  # JPEG
    assert abs(reverse.image.astype(int) - SCENE.frames[1]).mean() > 3
    for one, other in [("flow", "flow_back"), ("camera", "camera_back")]:
        np.testing.assert_array_equal(getattr(reverse, one), getattr(forward, other))
        np.testing.assert_array_equal(getattr(reverse, other), getattr(forward, one))


def test_every_frame_is_the_first_of_some_pair(collection):
    found = [
        [(p.gap, p.reverse) for p in pairs_from(collection, ordinal, (1, 2))]
        for ordinal in collection.videos["swan"]
    ]
    assert found == [
        [(1, False), (2, False)],
        [(1, False), (2, False), (1, True)],
        [(1, False), (2, False), (1, True), (2, True)],
        [(1, False), (2, False), (1, True), (2, True)],
        [(1, False), (1, True), (2, True)],
        [(1, True), (2, True)],
    ]
    for frame, ordinal in enumerate(collection.videos["swan"]):
        for place in pairs_from(collection, ordinal, (1, 2)):
            assert frame_of(read_pair(collection, place, "none")) == frame


@pytest.mark.parametrize("camera", ["quadratic", "homography"])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_camera_part_is_the_backgrounds_flow(collection, camera, reverse):
    pair = read_pair(collection, address(collection, 1, 2, reverse=reverse), camera)
    first, second = (3, 1) if reverse else (1, 3)
    background = ~SCENE.masks[first][::2, ::2], ~SCENE.masks[second][::2, ::2]
    np.testing.assert_allclose(pair.camera[background[0]], pair.flow[background[0]], atol=1e-5)
    np.testing.assert_allclose(
        pair.camera_back[background[1]], pair.flow_back[background[1]], atol=1e-5
    )


def test_a_homography_backwards_undoes_it_forwards():
    matrix = ((1.05, 0.02, 1.5), (-0.01, 0.98, -2.0), (1e-4, -2e-4, 1.0))
    six = (0.0,) * 6
    known = schema.PairMeta(
        homography=matrix, inlier_share=1, camera_forward=(six, six), camera_backward=(six, six)
    )
    forward, backward = camera_fields(known, "homography", 24, 32)
    x, y = 20, 9
    there = np.array([x, y]) + forward[y, x]
    moved = np.array(matrix) @ [x, y, 1]
    np.testing.assert_allclose(there, moved[:2] / moved[2], atol=1e-4)
    # The field is smooth: between pixels, bilinear sampling is exact to well within 0.01.
    column, row = there.astype(np.float32).reshape(2, 1, 1)
    back = cv2.remap(backward, column, row, cv2.INTER_LINEAR)[0, 0]
    np.testing.assert_allclose(there + back, [x, y], atol=0.01)


def test_no_camera_model_means_no_camera_motion(collection):
    pair = read_pair(collection, address(collection, 0, 1, reverse=False), "none")
    assert not pair.camera.any()
    assert not pair.camera_back.any()


def test_flow_is_in_pixels_of_the_grid():
    constant = np.full((24, 32, 2), [3, 1], np.float32)
    pair = Pair("k", np.zeros((48, 64, 3), np.uint8), constant, -constant, constant, -constant)
    whole = on_grid(pair, 48, 96)
    np.testing.assert_allclose(whole.flow[0, 0], [3 * 96 / 32, 1 * 48 / 24])
    part = on_grid(pair, 48, 96, Crop(top=0.25, left=0.25, side=0.5))  # 12 x 16 of 24 x 32
    np.testing.assert_allclose(part.flow[0, 0], [3 * 96 / 16, 1 * 48 / 12])
    np.testing.assert_allclose(part.camera_back[0, 0], [-3 * 96 / 16, -1 * 48 / 12])


@pytest.mark.parametrize("size", [(96, 128), (31, 50)])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_on_any_grid_the_flow_leads_to_the_same_place_in_the_second_frame(
    collection, size, flip, reverse
):
    view = replace(OFF_CENTRE, flip=flip)
    pair = read_pair(collection, address(collection, 2, 2, reverse=reverse), "none")
    second = SCENE.frames[2 if reverse else 4]
    other = on_grid(replace(pair, image=second), *size, view=view)
    pair = on_grid(pair, *size, view=view)
    seen = along(pair.flow, other.image, cv2.INTER_LINEAR).astype(int)
    inside = along(pair.flow, np.ones(size, np.uint8), cv2.INTER_NEAREST)
    led, unmoved = (
        abs(image - pair.image.astype(int))[inside > 0] for image in (seen, other.image)
    )
    # What remains is JPEG, interpolation and the half-pixel edge of the disc.
    assert np.median(led) < 5
    assert np.median(unmoved) > 2 * np.median(led)


def test_a_mirrored_pair_moves_the_other_way():
    flow = np.zeros((8, 8, 2), np.float32)
    flow[:, :4] = [3, 1]
    pair = Pair("k", np.zeros((8, 8, 3), np.uint8), flow, flow, flow, flow)
    mirrored = on_grid(pair, 8, 8, Crop(flip=True))
    np.testing.assert_array_equal(mirrored.flow[:, 4:], np.full((8, 4, 2), [-3, 1]))
    np.testing.assert_array_equal(mirrored.flow[:, :4], 0)


@pytest.mark.parametrize("side", [0.001, 0.3, 1.0])
def test_a_window_is_never_empty_nor_beyond_the_frame(side):
    for start in np.linspace(0, 1 - side, 20):
        for rows in (1, 2, 7, 100):
            window, _ = Crop(top=start, side=side).window(rows, 1)
            assert 0 <= window.start < window.stop <= rows


def test_a_batch_is_stacked_planes_with_images_in_unit_range():
    flow = np.dstack([np.full((4, 6), 2), np.full((4, 6), 5)]).astype(np.float32)
    image = np.zeros((4, 6, 3), np.uint8)
    image[..., 2] = 255
    pair = Pair("k", image, flow, -flow, 2 * flow, -2 * flow)
    batch = to_batch(stacked([pair, pair]))
    assert batch.keys == ("k", "k")
    assert batch.image.shape == (2, 3, 4, 6)
    assert batch.image.is_contiguous()
    assert [plane.unique().item() for plane in batch.image[1]] == [0, 0, 1]
    assert [plane.unique().item() for plane in batch.flow[1]] == [2, 5]
    torch.testing.assert_close(batch.flow_back, -batch.flow)
    torch.testing.assert_close(batch.camera, 2 * batch.flow)
    torch.testing.assert_close(batch.camera_back, -2 * batch.flow)
