"""What prediction leaves behind: masks, overlays, an overlay video, and a line for each frame."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from selfseg import storage
from selfseg.config import Config
from selfseg.data.schema import encode_image, encode_mask
from selfseg.errors import UserError
from selfseg.evaluation.protocols import binary_mask
from selfseg.ops.colours import overlay
from selfseg.ops.masks import bounding_box
from selfseg.prediction.sources import SourceFrame

LINES = "predictions.jsonl"

VIDEO = "overlay.webm"
"""VP8 in WebM: every browser plays it, and OpenCV's wheels can write it."""

VIDEO_HEIGHT = 480
"""Taller frames are shrunk: the video is to be looked at, and encoding takes 60 ms a frame."""

FALLBACK_RATE = 24.0
"""Frames per second where a source has no clock."""

OVERLAY_QUALITY = 88


class FramePrediction(Config):
    """One line of predictions.jsonl."""

    source: str
    frame: str
    """Its name among the source's frames."""
    number: int
    time_s: float | None
    foreground_share: float
    """Area of the mask over the image's, [0, 1]."""
    box: tuple[int, int, int, int] | None
    """Around the mask: left, top, width, height; pixels of the source. Null: an empty mask."""
    confidence: float
    """Mean foreground probability within the mask, [0.5, 1]; 0: an empty mask."""
    mask: str
    """PNG, 0 and 255, of the source's size; relative to this file."""
    overlay: str
    """JPEG."""


def claim(output: str) -> None:
    """See that an output folder is empty or holds earlier predictions, which are deleted.

    Raises:
        UserError: it holds something else, or cannot be written.
    """
    present = storage.listing(output)
    if present and LINES not in present:
        raise UserError(
            f"{output}: holds {present[0]}, and no {LINES}; --output takes an empty or a new folder"
        )
    lines = storage.join(output, LINES)
    for line in storage.read(lines).splitlines() if present else []:
        earlier = FramePrediction.model_validate_json(line)
        for name in (earlier.mask, earlier.overlay, f"{earlier.source}/{VIDEO}"):
            storage.delete(storage.join(output, name))
    # There from the start, so that a run that was interrupted can be repeated.
    storage.write(lines, b"")


def write_frame(
    output: str, source: str, frame: SourceFrame, mask: Float[np.ndarray, "rows columns"]
) -> tuple[FramePrediction, UInt8[np.ndarray, "h w 3"]]:
    """Write a frame's mask and overlay; return its line and the overlay.

    Args:
        output: folder or s3:// URL.
        source: folder below it.
        frame: what was segmented.
        mask: foreground probability, [0, 1], of any size.
    """
    found = binary_mask(mask, frame.height, frame.width)
    shown = overlay(frame.original, binary_mask(mask, *frame.original.shape[:2]))
    line = FramePrediction(
        source=source,
        frame=frame.name,
        number=frame.number,
        time_s=None if frame.time_s is None else round(frame.time_s, 4),
        foreground_share=round(float(found.mean()), 5),
        box=bounding_box(found),
        confidence=_confidence(mask),
        mask=f"{source}/masks/{frame.name}.png",
        overlay=f"{source}/overlays/{frame.name}.jpg",
    )
    storage.write(storage.join(output, line.mask), encode_mask(found))
    storage.write(storage.join(output, line.overlay), encode_image(shown, OVERLAY_QUALITY))
    return line, shown


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


def _confidence(mask: Float[np.ndarray, "rows columns"]) -> float:
    inside = mask[mask > 0.5]
    return round(float(inside.mean()), 4) if inside.size else 0.0


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
