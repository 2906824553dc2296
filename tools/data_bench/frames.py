"""The samples of the benchmark: JPEG frames of noise and moving shapes, about 137 kB each."""

from pathlib import Path

import cv2
import numpy as np

HEIGHT, WIDTH = 480, 854
QUALITY = 90
NOISE = 11.4
"""Standard deviation, in grey levels, that gives files of about 137 kB."""


def make_frames(folder: Path, count: int) -> list[Path]:
    """Write `count` frames that all differ, and return them in order."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(128, NOISE, (HEIGHT + 64, WIDTH + 64, 3))
    texture = noise.clip(0, 255).astype(np.uint8)
    paths = [folder / f"{number:08d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        top, left = number % 64, number // 64 % 64
        frame = texture[top : top + HEIGHT, left : left + WIDTH].copy()
        middle = (number * 7 % WIDTH, number * 3 % HEIGHT)
        cv2.circle(frame, middle, 60, (30, 200, 240), -1)
        cv2.rectangle(frame, (0, 0), (number % WIDTH, 40), (200, 60, 20), -1)
        cv2.imwrite(str(path), frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return paths
