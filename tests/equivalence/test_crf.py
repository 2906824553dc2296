"""The CRF on tensors gives what the reference implementation gives, on noise and on real video."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from selfseg.ops.crf import CrfSettings, refine, refine_batch

DAVIS = Path(__file__).parents[2].parent / "shared" / "data" / "davis2016_train"


def assert_agree(images: list[np.ndarray], masks: list[np.ndarray], settings: CrfSettings) -> None:
    """Hold both to the stated tolerance, the masks of a batch one by one."""
    batch = torch.tensor(np.stack(images) / 255, dtype=torch.float32).permute(0, 3, 1, 2)
    ours = refine_batch(batch, torch.tensor(np.stack(masks))[:, None], settings)[:, 0].numpy()
    for image, mask, refined in zip(images, masks, ours, strict=True):
        reference = refine(image, mask, settings)
        deviation = np.abs(refined - reference)
        assert deviation.max() < 0.02
        assert deviation.mean() < 1e-5
        union = (refined > 0.5) | (reference > 0.5)
        both = (refined > 0.5) & (reference > 0.5)
        assert np.count_nonzero(both) >= 0.999 * np.count_nonzero(union)
        # It would mean little had the CRF left the mask as it was.
        assert np.abs(reference - mask).mean() > 0.01


def stretched(values: np.ndarray) -> np.ndarray:
    """Bring values to the whole of [0, 1]."""
    return (values - values.min()) / np.ptp(values)


@pytest.mark.parametrize(
    "settings",
    [
        CrfSettings(),
        CrfSettings(smooth_weight=0.0, colour_reach_px=25.0, colour_tolerance=5.0, iterations=20),
        CrfSettings(colour_weight=0.0, smooth_reach_px=2.5, certainty=0.8),
    ],
)
# Widths that are no multiple of 4 leave the reference's last vector partly empty.
@pytest.mark.parametrize("size", [(48, 64), (37, 53)])
def test_it_agrees_with_the_reference_on_coloured_blobs_and_noise(size, settings):
    rng = np.random.default_rng(sum(size))
    images, masks = [], []
    for blur in (1, 4, 9):
        noise = cv2.GaussianBlur(rng.random((*size, 3)), (0, 0), blur)
        images.append((255 * stretched(noise)).astype(np.uint8))
        mask = cv2.GaussianBlur(rng.random(size), (0, 0), 3)
        masks.append(stretched(mask).astype(np.float32))
    assert_agree(images, masks, settings)


def davis_frame(name: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a frame at 240 rows, and its mask, shifted and blurred as a network's would be."""
    video = cv2.VideoCapture(str(DAVIS / "videos" / f"{name}.mp4"))
    frames = [video.read()[1] for _ in range(number + 1)]
    truth = cv2.imread(str(DAVIS / f"Annotations/480p/{name}/{number:05d}.png"), 0)
    assert truth is not None
    small = cv2.resize(frames[-1], (427, 240), interpolation=cv2.INTER_AREA)
    image = cv2.cvtColor(small, cv2.COLOR_BGR2RGB)
    mask = cv2.resize((truth > 0).astype(np.float32), (427, 240), interpolation=cv2.INTER_AREA)
    sloppy = cv2.GaussianBlur(np.roll(mask, (5, -7), (0, 1)), (0, 0), 6)
    return image, (0.1 + 0.8 * sloppy).astype(np.float32)


@pytest.mark.skipif(not DAVIS.is_dir(), reason="needs DAVIS 2016's training videos")
@pytest.mark.parametrize("names", [("bear", "boat"), ("hockey", "soccerball"), ("surf", "tennis")])
def test_it_agrees_with_the_reference_on_real_frames(names):
    frames = [davis_frame(name, 9) for name in names]
    assert_agree([image for image, _ in frames], [mask for _, mask in frames], CrfSettings())
