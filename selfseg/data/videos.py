"""Frames of a video file or of a folder of images, one at a time, whatever the length.

Files are decoded by OpenCV's FFmpeg, frame by frame as they are asked for. decord decodes ahead
without a bound when its frames are used slowly: 600 MB after 250 of 795 frames of 768x576.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from selfseg.errors import UsageError, UserError

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".ogv", ".ts", ".webm", ".wmv"),
}

TOLERATED_LOSS = 0.02
"""Some containers only estimate their number of frames; a video that ends earlier is damaged."""

TELETYPE = cv2.VideoWriter.fourcc(*"ansi")
"""What FFmpeg calls a text file, which it would play as a terminal does."""

# Problems come back as errors; FFmpeg reads this when the first file is opened.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


class BrokenVideoError(UserError):
    """This video cannot be read to its end; the reason names neither it nor its folder."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    image: RGB
    time_s: since the start of the video; None in a folder, which has no clock
    """

    number: int
    time_s: float | None
    image: UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True, slots=True)
class Video:
    """A video that can be read; `num_frames` is what it announces, about right; 0: unknown.

    frame_paths: the frames of a folder in order; empty for a video file
    """

    path: Path
    num_frames: int
    height: int
    width: int
    frame_paths: tuple[Path, ...] = ()

    def frames(self) -> Iterator[Frame]:
        """Decode frame after frame; only the current one is held.

        Raises:
            BrokenVideoError: at the frame that cannot be read, or differs in size from the first.
        """
        frames = _folder_frames(self.frame_paths) if self.frame_paths else _file_frames(self.path)
        for frame in frames:
            height, width = frame.image.shape[:2]
            if (height, width) != (self.height, self.width):
                raise BrokenVideoError(
                    f"frame {frame.number} is {width}x{height}, the first "
                    f"{self.width}x{self.height}; a video's frames must agree"
                )
            yield frame


def open_video(path: Path) -> Video:
    """Look at a video file, or a folder of frames, without decoding more than its first frame.

    A single image is a video of one frame.

    Raises:
        UsageError: nothing there.
        BrokenVideoError: not a video, or one without frames.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if path.is_dir():
        paths = frame_paths(path)
        if not paths:
            raise BrokenVideoError("a folder without frames; it should hold images")
        height, width = _read_image(paths[0]).shape[:2]
        return Video(path, len(paths), height, width, paths)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        height, width = _read_image(path).shape[:2]
        return Video(path, 1, height, width, (path,))
    with _opened(path) as capture:
        found, first = capture.read()
        if not found:
            raise BrokenVideoError("a video without frames, or a damaged one")
        height, width = first.shape[:2]
        return Video(path, _announced(capture), height, width)


def frame_paths(folder: Path) -> tuple[Path, ...]:
    """List the images of a folder; numbers in names count as numbers: 2.png before 10.png."""
    images = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    return tuple(sorted((p for p in images if not p.name.startswith(".")), key=_natural))


def video_paths(path: Path) -> list[Path]:
    """Say which videos an argument stands for.

    A file, or a folder of frames: itself. Another folder: the video files and folders of frames
    directly inside.

    Raises:
        UsageError: nothing there, or a folder that holds neither.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if path.is_file() or frame_paths(path):
        return [path]
    inside = [
        child
        for child in sorted(path.iterdir(), key=_natural)
        if (child.is_dir() and frame_paths(child))
        or (child.is_file() and child.suffix.lower() in VIDEO_SUFFIXES)
    ]
    if not inside:
        raise UsageError(f"{path}: holds neither frames nor videos; name a folder that does")
    return inside


def still_paths(path: Path) -> list[Path]:
    """Say which single images an argument stands for: itself, or those directly inside.

    Raises:
        UsageError: nothing there, another file, or a folder without images.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if path.is_file():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise UsageError(f"{path}: not an image; leave --stills out to ingest videos")
        return [path]
    inside = frame_paths(path)
    if not inside:
        raise UsageError(f"{path}: holds no images; name a folder that does")
    return list(inside)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def _folder_frames(paths: tuple[Path, ...]) -> Iterator[Frame]:
    for number, path in enumerate(paths):
        yield Frame(number, None, _read_image(path))


def _file_frames(path: Path) -> Iterator[Frame]:
    with _opened(path) as capture:
        announced, number = _announced(capture), 0
        while capture.grab():
            time_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            _, image = capture.retrieve()
            yield Frame(
                number, time_s, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
            )
            number += 1
    # FFmpeg gives up where it can make nothing of the data, and calls it the end.
    if number < announced * (1 - TOLERATED_LOSS) - 1:
        raise BrokenVideoError(f"damaged: only {number} of {announced} frames can be decoded")


def _read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise BrokenVideoError(f"{path.name} is not an image, or a damaged one")
    return image


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        one_thread = [cv2.CAP_PROP_N_THREADS, 1]
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, one_thread)
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened() or round(capture.get(cv2.CAP_PROP_FOURCC)) == TELETYPE:
            raise BrokenVideoError("not a video, or a damaged one")
        yield capture
    finally:
        capture.release()


def _announced(capture: cv2.VideoCapture) -> int:
    """Return how many frames the container says it holds; 0: it does not say."""
    return max(0, round(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
