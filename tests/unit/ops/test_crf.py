from collections.abc import Callable

import numpy as np
import pytest
import torch

from selfseg.ops.crf import CrfSettings, ImageCrf, refine, refine_all, refine_batch

Refine = Callable[[np.ndarray, np.ndarray, CrfSettings], np.ndarray]


def refine_as_a_batch_of_one(
    image: np.ndarray, mask: np.ndarray, settings: CrfSettings
) -> np.ndarray:
    batch = torch.tensor(image / 255, dtype=torch.float32).permute(2, 0, 1)[None]
    return refine_batch(batch, torch.tensor(mask)[None, None], settings)[0, 0].numpy()


@pytest.fixture(params=[refine, refine_as_a_batch_of_one], ids=["one", "batch"])
def refine_one(request: pytest.FixtureRequest) -> Refine:
    return request.param


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray]:
    """A red square on green, and its mask."""
    truth = np.zeros((120, 160), bool)
    truth[40:80, 50:110] = True
    image = np.where(truth[..., None], [200, 40, 40], [40, 160, 40]).astype(np.uint8)
    return image, truth


def test_a_sloppy_outline_snaps_to_the_colours(scene, refine_one):
    image, truth = scene
    sloppy = np.roll(truth, (4, -5), (0, 1)).astype(np.float32) * 0.7 + 0.15
    wrong_before = np.count_nonzero((sloppy > 0.5) != truth)
    wrong_after = np.count_nonzero((refine_one(image, sloppy, CrfSettings()) > 0.5) != truth)
    assert wrong_before > 400
    assert wrong_after == 0


def test_without_either_pull_the_mask_comes_back_clipped(scene, refine_one):
    image, truth = scene
    mask = truth.astype(np.float32)
    settings = CrfSettings(colour_weight=0.0, smooth_weight=0.0, certainty=0.9)
    refined = refine_one(image, mask, settings)
    np.testing.assert_allclose(refined, np.where(truth, 0.9, 0.1), atol=1e-6)


def test_smoothing_alone_is_blind_to_colour(scene, refine_one):
    image, truth = scene
    sloppy = np.roll(truth, (4, -5), (0, 1)).astype(np.float32) * 0.7 + 0.15
    settings = CrfSettings(colour_weight=0.0)
    inverted = refine_one(255 - image, sloppy, settings)
    np.testing.assert_array_equal(refine_one(image, sloppy, settings), inverted)
    assert np.count_nonzero((inverted > 0.5) != truth) > 300


def test_neither_the_image_nor_the_mask_is_changed(scene):
    image, truth = scene
    mask = truth.astype(np.float32)
    image.setflags(write=False)
    mask.setflags(write=False)
    refine(image, mask)


def test_masks_that_share_an_images_crf_do_not_see_each_other(scene):
    image, truth = scene
    crf = ImageCrf(image)
    masks = [np.roll(truth, shift, 1) * np.float32(0.6) + np.float32(0.2) for shift in (-5, 9)]
    for mask in (*masks, masks[0]):
        np.testing.assert_array_equal(crf.refine(mask), refine(image, mask))
    assert (crf.refine(masks[0]) != crf.refine(masks[1])).any()


def test_images_of_a_batch_do_not_see_each_other():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 30, 41, generator=generator)
    masks = torch.rand(3, 1, 30, 41, generator=generator)
    together = refine_batch(images, masks)
    for one in range(3):
        alone = refine_batch(images[one : one + 1], masks[one : one + 1])
        torch.testing.assert_close(together[one : one + 1], alone, rtol=0, atol=1e-5)


def test_a_refined_batch_passes_no_gradient():
    masks = torch.rand(1, 1, 20, 20, requires_grad=True)
    assert not refine_batch(torch.rand(1, 3, 20, 20), masks).requires_grad


def test_all_are_refined_each_with_its_own_image_whatever_the_implementation(scene):
    image, truth = scene
    images = np.stack([image, image[:, ::-1]])
    masks = np.stack([np.roll(truth, 4, 0), np.roll(truth[:, ::-1], -3, 1)]).astype(np.float32)
    batch = torch.from_numpy(images.copy()).permute(0, 3, 1, 2) / 255
    found = refine_all(batch, torch.from_numpy(masks)[:, None], CrfSettings())
    for one, own, mask in zip(found, images, masks, strict=True):
        alone = refine(own.copy(), mask.copy(), CrfSettings())
        np.testing.assert_array_equal(one[0].numpy(), alone)
    both = refine_batch(batch, torch.from_numpy(masks)[:, None], CrfSettings())
    torch.testing.assert_close(found, both, atol=0.02, rtol=0)


def test_at_another_height_only_the_reaches_change():
    half = CrfSettings(colour_reach_px=40.0, smooth_reach_px=6.0).at_rows(120)
    assert half == CrfSettings(colour_reach_px=20.0, smooth_reach_px=3.0)
