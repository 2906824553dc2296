import numpy as np

from selfseg.ops.colours import FOREGROUND, flow_image, overlay


def test_still_is_white_and_opposite_directions_have_opposite_colours():
    flow = np.zeros((8, 12, 2), np.float32)
    flow[:, :4, 0], flow[:, 8:, 0] = 5, -5
    image = flow_image(flow).astype(int)
    assert (image[:, 4:8] == 255).all()
    np.testing.assert_array_equal(image[0, 0], [255, 0, 0])
    np.testing.assert_array_equal(image[0, 0] + image[0, -1], [255, 255, 255])


def test_on_a_given_scale_half_the_speed_has_half_the_colour():
    flow = np.zeros((1, 2, 2), np.float32)
    flow[0, :, 0] = 10, 5
    image = flow_image(flow, full_scale_px=10.0).astype(int)
    assert image[0, 0, 1] == 0
    assert abs(image[0, 1, 1] - 128) <= 1


def test_noise_below_a_pixel_stays_pale():
    flow = np.random.default_rng(0).normal(0, 0.02, (20, 20, 2))
    assert flow_image(flow).min() > 220


def test_an_overlay_tints_inside_and_darkens_outside():
    image = np.full((100, 100, 3), 100, np.uint8)
    mask = np.zeros((100, 100), bool)
    mask[30:70, 30:70] = True
    drawn = overlay(image, mask, opacity=0.5, dim=0.6)
    np.testing.assert_array_equal(drawn[50, 50], (100 + np.array(FOREGROUND)) // 2)
    np.testing.assert_array_equal(drawn[5, 5], [60, 60, 60])
    assert drawn[30, 50].min() > 200  # the outline is white


def test_an_empty_mask_leaves_the_image_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (10, 10, 3), np.uint8)
    np.testing.assert_array_equal(overlay(image, np.zeros((10, 10), bool)), image)
