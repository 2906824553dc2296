"""A video of overlays: what one looks at first."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from selfseg import storage

VIDEO = "overlay.webm"
"""VP8 in WebM: every browser plays it, and OpenCV's wheels can write it."""

VIDEO_HEIGHT = 480
"""Taller frames are shrunk: the video is to be looked at, and encoding takes 60 ms a frame."""

FALLBACK_RATE = 24.0
"""Frames per second where a source has no clock."""


@contextlib.contextmanager
def overlay_video(url: str) -> Iterator["OverlayVideo"]:
    """Write a video to `url`; it appears there when complete, and not at all if nothing is added.

    Yields:
        What takes the frames.
    """
    with tempfile.TemporaryDirectory() as scratch:
        video = OverlayVideo(Path(scratch) / VIDEO)
        try:
            yield video
        finally:
            video.close()
        if video.path.exists():
            storage.upload(video.path, url)


class OverlayVideo:
    """A video that is being written; its rate is known when the second frame arrives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first: tuple[UInt8[np.ndarray, "h w 3"], float | None] | None = None
        self._writer: cv2.VideoWriter | None = None

    def add(self, image: UInt8[np.ndarray, "h w 3"], time_s: float | None) -> None:
        """Append an RGB frame, shown at `time_s`; None: there is no clock."""
        if self._writer is not None:
            self._write(image)
        elif self._first is None:
            self._first = (image, time_s)
        else:
            first, begin_s = self._first
            self._open(first, _rate(begin_s, time_s))
            self._write(image)

    def close(self) -> None:
        """Finish the file."""
        if self._writer is None and self._first is not None:
            self._open(self._first[0], FALLBACK_RATE)
        if self._writer is not None:
            self._writer.release()

    def _open(self, first: UInt8[np.ndarray, "h w 3"], rate: float) -> None:
        shrink = min(1.0, VIDEO_HEIGHT / first.shape[0])
        # Colour is stored for blocks of 2 x 2.
        self._size = (
            max(2, 2 * round(first.shape[1] * shrink / 2)),
            max(2, 2 * round(first.shape[0] * shrink / 2)),
        )
        with _quiet_stderr():
            self._writer = cv2.VideoWriter(
                str(self.path), cv2.VideoWriter.fourcc(*"VP80"), rate, self._size
            )
        assert self._writer.isOpened()
        self._write(first)

    def _write(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        assert self._writer is not None
        resized = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(resized, cv2.COLOR_RGB2BGR))


def _rate(begin_s: float | None, then_s: float | None) -> float:
    """Return frames per second from the times of two neighbours."""
    if begin_s is None or then_s is None or then_s <= begin_s:
        return FALLBACK_RATE
    return 1 / (then_s - begin_s)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep off the terminal what OpenCV says of WebM, which knows no four-letter codes."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
