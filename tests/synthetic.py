"""Analytic scenes: a textured disc over a textured background, with exact flow and mask."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np


@dataclass(frozen=True)
class Scene:
    """A disc that moves by `velocity` a frame, over a background that moves by `pan`.

    frames: uint8 RGB (t, h, w, 3); masks: bool (t, h, w); velocities are (x, y) in pixels.
    """

    frames: np.ndarray
    masks: np.ndarray
    velocity: tuple[float, float]
    pan: tuple[float, float]

    def flow(self, first: int, second: int) -> np.ndarray:
        """Exact motion of every pixel of frame `first` to frame `second`, float32 (h, w, 2)."""
        mask = self.masks[first][..., None]
        rate = np.where(mask, np.array(self.velocity), np.array(self.pan))
        return (rate * (second - first)).astype(np.float32)


def moving_disc(
    num_frames: int = 6,
    *,
    height: int = 48,
    width: int = 64,
    radius: float = 10,
    start: tuple[float, float] | None = None,
    velocity: tuple[float, float] = (2, 1),
    pan: tuple[float, float] = (0, 0),
    seed: int = 0,
) -> Scene:
    """Film a disc that starts at `start` (x, y), by default the centre; float motion is exact."""
    centre = np.array(start or (width / 2, height / 2), np.float64)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    wall, coat = _texture(seed, 60, 160), _texture(seed + 1, 120, 250)
    frames, masks = [], []
    for t in range(num_frames):
        at = centre + t * np.array(velocity)
        mask = (x - at[0]) ** 2 + (y - at[1]) ** 2 <= radius**2
        background = _shown(wall, x - t * pan[0], y - t * pan[1])
        disc = _shown(coat, x - at[0], y - at[1])
        frames.append(np.where(mask[..., None], disc, background))
        masks.append(mask)
    return Scene(np.stack(frames), np.stack(masks), velocity, pan)


def write_video(path: Path, frames: np.ndarray, rate: float = 10) -> Path:
    """Write RGB frames as .mp4 (MPEG-4) or .avi (Motion JPEG): close, not equal, to `frames`."""
    code = cv2.VideoWriter.fourcc(*{".mp4": "mp4v", ".avi": "MJPG"}[path.suffix])
    height, width = frames.shape[1:3]
    writer = cv2.VideoWriter(str(path), code, rate, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()
    return path


def write_frames(folder: Path, frames: np.ndarray) -> Path:
    """Write RGB frames as 00000.png, 00001.png, ...: read back they are equal."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        assert cv2.imwrite(str(folder / f"{number:05d}.png"), frame[..., ::-1])
    return folder


def write_masks(folder: Path, masks: np.ndarray) -> Path:
    """Write masks as DAVIS does: 00000.png, ..., grey, 0 and 255."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, mask in enumerate(masks):
        assert cv2.imwrite(str(folder / f"{number:05d}.png"), mask.astype(np.uint8) * 255)
    return folder


def _texture(seed: int, low: int, high: int, side: int = 512) -> np.ndarray:
    """Smooth noise over [low, high], float32 (side, side, 3), that tiles the plane."""
    noise = np.random.default_rng(seed).random((side, side, 3), np.float32)
    tiled = cv2.GaussianBlur(np.tile(noise, (3, 3, 1)), (0, 0), 1.5)[side : 2 * side, side:-side]
    spread = (tiled - tiled.min()) / (tiled.max() - tiled.min())
    return low + (high - low) * spread


def _shown(texture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sample a texture at fractional points, uint8."""
    x, y = (axis.astype(np.float32) % len(texture) for axis in (x, y))
    seen = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.rint(seen).astype(np.uint8)
