"""Frames of a video file or of a folder of images, one at a time, whatever the length."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import decord
import numpy as np
from jaxtyping import UInt8

from selfseg.errors import UsageError, UserError

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".ogv", ".ts", ".webm", ".wmv"),
}

decord.logging.set_level(decord.logging.QUIET)


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
    """A video that can be read; `num_frames` is what it announces.

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
    reader = _open_file(path)
    first = _next(reader)
    if first is None:
        raise BrokenVideoError("a video without frames")
    height, width = first.shape[:2]
    return Video(path, len(reader), height, width)


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


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def _folder_frames(paths: tuple[Path, ...]) -> Iterator[Frame]:
    for number, path in enumerate(paths):
        yield Frame(number, None, _read_image(path))


def _file_frames(path: Path) -> Iterator[Frame]:
    reader = _open_file(path)
    for number in range(len(reader)):
        image = _next(reader)
        if image is None:  # some containers announce more frames than they hold
            return
        yield Frame(number, float(reader.get_frame_timestamp(number)[0]), image)


def _read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise BrokenVideoError(f"{path.name} is not an image, or a damaged one")
    return image


def _open_file(path: Path) -> decord.VideoReader:
    with _quiet_stderr():
        try:
            return decord.VideoReader(str(path), num_threads=1)
        except (RuntimeError, decord.DECORDError):
            raise BrokenVideoError("not a video, or a damaged one") from None


def _next(reader: decord.VideoReader) -> UInt8[np.ndarray, "h w 3"] | None:
    try:
        return reader.next().asnumpy()
    except StopIteration:
        return None
    except decord.DECORDError:
        # Which frame it is would not repeat: decord decodes ahead, and notices at any time.
        raise BrokenVideoError("damaged: a frame cannot be decoded") from None


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep the line off the terminal that decord's C++ writes about a file it cannot open."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
