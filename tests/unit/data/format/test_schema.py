import numpy as np
import pytest

from selfseg.data.format import schema
from tests.synthetic import moving_disc


def test_flow_comes_back_to_within_half_a_unit():
    flow = np.random.default_rng(0).normal(0, 30, (12, 18, 2)).astype(np.float32)
    error = np.abs(schema.decode_flow(schema.encode_flow(flow)) - flow)
    assert error.max() <= 0.5 / schema.FLOW_UNITS_PER_PIXEL


def test_flow_beyond_the_limit_is_clipped_not_wrapped():
    flow = np.array([[[5000, -5000]]], np.float32)
    limit = schema.FLOW_LIMIT_PX
    right, left = schema.decode_flow(schema.encode_flow(flow))[0, 0]
    assert right == pytest.approx(limit, abs=1 / schema.FLOW_UNITS_PER_PIXEL)
    assert left == -limit


def test_an_image_keeps_the_order_of_its_channels():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    back = schema.decode_image(schema.encode_image(red, quality=95)).astype(int)
    assert np.abs(back - red).max() <= 4


def test_equal_content_gives_equal_bytes():
    scene = moving_disc(3)
    assert schema.encode_image(scene.frames[0], 92) == schema.encode_image(scene.frames[0], 92)
    assert schema.encode_flow(scene.flow(0, 2)) == schema.encode_flow(scene.flow(0, 2))


def test_a_mask_is_true_wherever_its_file_is_not_black():
    mask = moving_disc(1).masks[0]
    np.testing.assert_array_equal(schema.decode_mask(schema.encode_mask(mask)), mask)


@pytest.mark.parametrize("decode", [schema.decode_image, schema.decode_flow, schema.decode_mask])
@pytest.mark.parametrize("data", [b"", b"not an image"])
def test_damaged_bytes_are_a_value_error(decode, data):
    with pytest.raises(ValueError, match="not an image"):
        decode(data)


def test_a_key_is_taken_apart_as_it_was_put_together():
    key = schema.sample_key("a_video-0123abcd", 42)
    assert key == "a_video-0123abcd_00000042"
    assert schema.split_key(key) == ("a_video-0123abcd", 42)


def test_meta_survives_json_with_its_gaps_as_numbers():
    still = {"homography": np.eye(3).tolist(), "inlier_share": 1.0}
    fits = {"camera_forward": [[0.0] * 6] * 2, "camera_backward": [[0.0] * 6] * 2}
    sizes = {"height": 8, "width": 8, "source_height": 16, "source_width": 16}
    meta = schema.Meta.parse(
        {
            "video": "v-0",
            "source": "v.mp4",
            "frame": 0,
            "time_s": None,
            **sizes,
            "flow_height": 4,
            "flow_width": 4,
            "pairs": {"2": {**still, **fits}},
        },
        origin="test",
    )
    assert schema.Meta.model_validate_json(meta.model_dump_json()) == meta
    assert list(meta.pairs) == [2]
