import cv2
import numpy as np
import torch

from selfseg.ops.threshold import otsu


def test_two_levels_are_parted():
    values = torch.full((1, 1, 20, 20), 1.0)
    values[..., 5:9, 5:9] = 3.0
    assert 1.0 < otsu(values).item() <= 3.0


def test_it_agrees_with_opencv_to_a_bin():
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.gamma(2, 1, 3000), generator.gamma(9, 1, 1000)])
    values = values.reshape(1, 1, 40, 100)
    top = np.quantile(values, 0.995)
    binned = (values[0, 0] / top * 255).clip(0, 255).astype(np.uint8)
    level, _ = cv2.threshold(binned, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bin_width = top / 255
    assert abs(otsu(torch.from_numpy(values)).item() - level * bin_width) <= 1.01 * bin_width


def test_images_of_a_batch_do_not_see_each_other():
    values = torch.rand(3, 1, 10, 10) * torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1, 1)
    alone = torch.cat([otsu(values[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(otsu(values), alone)


def test_a_field_of_zeros_has_a_threshold_above_zero():
    assert otsu(torch.zeros(1, 1, 8, 8)).item() > 0
