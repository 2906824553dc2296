"""Ground truth as benchmarks store it: files of labels, grey levels or colours, as masks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from selfseg.data.ingest.decoding import BrokenVideoError

Pixels = UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]
"""Grey levels, indices into a palette, or RGB."""

Mask = Bool[np.ndarray, "h w"]

LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Share of red, green and blue in a grey level, by ITU-R BT.601."""


def labelled(pixels: Pixels) -> Mask:
    """Take every label but 0 for an object, every colour but black: all are one foreground."""
    return np.greater(grey(pixels), 0)


def bright(pixels: Pixels) -> Mask:
    """Take the brighter half of the grey levels: masks of stills have smoothed edges."""
    return np.greater(grey(pixels), 127)


def grey(pixels: Pixels) -> np.ndarray:
    """Return grey levels, 0 to 255, or labels; above 0 for every colour but black."""
    return pixels if pixels.ndim == 2 else pixels @ LUMINANCE


@dataclass(frozen=True, slots=True)
class Truth:
    """Where the masks of a video's frames lie, and how their pixels are read.

    files: by number of the frame; several files of one frame, one for each object, are merged
    foreground: which pixels are an object
    void: label of pixels that do not count; None: all do
    """

    files: Mapping[int, tuple[Path, ...]]
    foreground: Callable[[Pixels], Mask] = labelled
    void: int | None = None

    def read(self, frame: int, size: tuple[int, int]) -> tuple[Mask, Mask | None] | None:
        """Return a frame's mask, and which pixels do not count, if there are any.

        Returns:
            None where the frame is not annotated.

        Raises:
            BrokenVideoError: a file is no image, or not of the frame's `size` (rows, columns).
        """
        if frame not in self.files:
            return None
        every = [_read(path, size) for path in self.files[frame]]
        mask = np.logical_or.reduce([self.foreground(pixels) for pixels in every])
        if self.void is None:
            return mask, None
        void = np.logical_or.reduce([pixels == self.void for pixels in every])
        return mask & ~void, void


def by_stem(frames: Sequence[Path], masks: Iterable[Path]) -> dict[int, tuple[Path, ...]]:
    """Find the masks of frames: those with the same stem, from whatever folders."""
    of_stem: dict[str, tuple[Path, ...]] = {}
    for path in masks:
        of_stem[path.stem] = (*of_stem.get(path.stem, ()), path)
    return {n: of_stem[path.stem] for n, path in enumerate(frames) if path.stem in of_stem}


def _read(path: Path, size: tuple[int, int]) -> Pixels:
    """Read a mask; of a palette image the indices, for its colours mean nothing."""
    try:
        with Image.open(path) as image:
            plain = image if image.mode in {"L", "P", "RGB"} else image.convert("RGB")
            pixels = np.array(plain)
    except OSError:
        raise BrokenVideoError(f"mask {path.name} is not an image, or a damaged one") from None
    if pixels.shape[:2] != size:
        raise BrokenVideoError(
            f"mask {path.name} is {pixels.shape[1]}x{pixels.shape[0]}, its frame "
            f"{size[1]}x{size[0]}; masks must have the size of the video"
        )
    return pixels
