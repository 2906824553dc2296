"""What trees of benchmarks are made of: tiny pictures of one colour, masks of a few blocks."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (24, 32)
"""Rows and columns of everything."""


def block(top: int, left: int, side: int = 8) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def write_picture(path: Path, pixels: np.ndarray | None = None) -> Path:
    """Write grey levels or RGB in the format that the suffix names; by default a grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = np.full((*SIZE, 3), 90, np.uint8) if pixels is None else pixels
    Image.fromarray(shown.astype(np.uint8)).save(path)
    return path


def write_labels(path: Path, labels: np.ndarray) -> Path:
    """Write labels as a palette image whose first colours are all black: only indices count."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette([0, 0, 0] * 256)
    image.save(path)
    return path


def write_list(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path
