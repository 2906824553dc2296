"""Ground truth as benchmarks store it: files of labels or grey levels, as masks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from selfseg.data.ingesting import mask_path
from selfseg.data.videos import BrokenVideoError

VOID = 255
"""Index of pixels that do not count in a palette image, as in DAVIS 2017."""

Foreground = Callable[[UInt8[np.ndarray, "h w"]], Bool[np.ndarray, "h w"]]
Mask = Bool[np.ndarray, "h w"]


def labelled(levels: UInt8[np.ndarray, "h w"]) -> Mask:
    """Take every label but 0 for an object: all objects are one foreground."""
    return levels > 0


def bright(levels: UInt8[np.ndarray, "h w"]) -> Mask:
    """Take the brighter half of the grey levels: masks of stills have smoothed edges."""
    return levels > 127


@dataclass(frozen=True, slots=True)
class Truth:
    """Where the masks of a video's frames lie, and how their pixels are read.

    files: by number of the frame; several files of one frame, one for each object, are merged
    foreground: which grey levels, or labels of a palette, are an object
    """

    files: Mapping[int, tuple[Path, ...]]
    foreground: Foreground = labelled

    def read(self, frame: int, size: tuple[int, int]) -> tuple[Mask, Mask | None] | None:
        """Return a frame's mask, and which pixels do not count, if there are any.

        Returns:
            None where the frame is not annotated.

        Raises:
            BrokenVideoError: a file is no image, or not of the frame's `size` (rows, columns).
        """
        if frame not in self.files:
            return None
        mask, void = np.zeros(size, bool), np.zeros(size, bool)
        for path in self.files[frame]:
            levels, indexed = _read_levels(path)
            if levels.shape != size:
                raise BrokenVideoError(
                    f"mask {path.name} is {levels.shape[1]}x{levels.shape[0]}, its frame "
                    f"{size[1]}x{size[0]}; masks must have the size of the video"
                )
            if indexed:
                void |= levels == VOID
            mask |= self.foreground(levels)
        return (mask & ~void, void) if void.any() else (mask, None)


def numbered_truth(folder: Path, num_frames: int) -> Truth:
    """Find masks named by the frame's number, %05d.png; frames without a file are not annotated."""
    paths = {number: mask_path(folder, number) for number in range(num_frames)}
    return Truth({number: (path,) for number, path in paths.items() if path.is_file()})


def _read_levels(path: Path) -> tuple[UInt8[np.ndarray, "h w"], bool]:
    """Read grey levels, or the indices of a palette image rather than its colours.

    Returns:
        The levels; of a colour image the brightest channel, so that only black is 0. And whether
        they are indices.
    """
    try:
        with Image.open(path) as image:
            indexed = image.mode == "P"
            levels = np.array(image.convert("L") if image.mode == "1" else image)
    except OSError:
        raise BrokenVideoError(f"mask {path.name} is not an image, or a damaged one") from None
    if levels.ndim == 3:
        levels = levels[..., :3].max(-1)
    return levels.astype(np.uint8), indexed
