"""What a camera at rest sees behind all that moves: the median of a video's frames."""

import numpy as np
from jaxtyping import UInt8

MOST_FRAMES = 100
"""More change a median little, and all of them are held."""


class MedianImage:
    """The median of frames spread evenly over a video whose length nobody needs to know.

    Each of the colours by itself. What covers a place in fewer than half of the frames is gone.
    Holds at most `MOST_FRAMES`, at the end at least half as many, unless the video is shorter.
    """

    def __init__(self) -> None:
        self._kept: list[UInt8[np.ndarray, "h w 3"]] = []
        self._stride, self._count = 1, 0

    def add(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Show the next frame; it is not copied."""
        if self._count % self._stride == 0:
            if len(self._kept) == MOST_FRAMES:
                self._kept = self._kept[::2]
                self._stride *= 2
            if self._count % self._stride == 0:
                self._kept.append(frame)
        self._count += 1

    def result(self) -> UInt8[np.ndarray, "h w 3"]:
        """Return the median of the frames so far, at least one."""
        rows = zip(*self._kept, strict=True)  # row by row, for the median takes copies
        return np.rint([np.median(row, axis=0) for row in rows]).astype(np.uint8)
