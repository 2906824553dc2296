"""Frames of a video file or of a folder of images, one at a time, whatever the length."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from selfseg.data.ingest.decoding import (
    BrokenVideoError,
    Frame,
    announced_frames,
    grab_all,
    known_name,
    opened,
)
from selfseg.errors import UsageError

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
    *(".mts", ".ogv", ".ts", ".webm", ".wmv"),
}


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
        if self.frame_paths:
            return self.alike(folder_frames(self.frame_paths))
        return self.alike(grabbed.frame() for grabbed in grab_all(self.path))

    def alike(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Hand on some of the video's frames.

        Raises:
            BrokenVideoError: at one that differs in size from the first.
        """
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
    with opened(path) as capture:
        found, first = capture.read()
        if not found:
            raise BrokenVideoError("a video without frames, or a damaged one")
        height, width = first.shape[:2]
        return Video(path, announced_frames(capture), height, width)


def folder_frames(paths: Sequence[Path], start: int = 0) -> Iterator[Frame]:
    """Read a folder's images from number `start` on.

    Raises:
        BrokenVideoError: at one that cannot be read.
    """
    for number, path in enumerate(paths[start:], start):
        yield Frame(number, None, _read_image(path))


def frame_paths(folder: Path) -> tuple[Path, ...]:
    """List the images of a folder; numbers in names count as numbers: 2.png before 10.png."""
    images = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    return tuple(sorted((p for p in images if not p.name.startswith(".")), key=_natural))


def video_paths(path: Path) -> list[Path]:
    """Say which videos an argument stands for.

    A file, or a folder of frames: itself. Another folder: the video files and folders of frames
    directly inside. A folder that holds video files is no folder of frames.

    Raises:
        UsageError: nothing there, or a folder that holds neither.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    if path.is_file() or _holds_frames(path):
        return [path]
    inside = [
        child
        for child in sorted(path.iterdir(), key=_natural)
        if _is_video(child) or (child.is_dir() and _holds_frames(child))
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


def passed_over(path: Path, taken: Iterable[Path]) -> list[Path]:
    """Return what lies directly in a folder beside what was taken of it, but for hidden files.

    A folder that was taken as a whole leaves nothing.
    """
    known = set(taken)
    if path in known or not path.is_dir():
        return []
    beside = (child for child in path.iterdir() if child not in known)
    return sorted((child for child in beside if not child.name.startswith(".")), key=_natural)


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _holds_frames(folder: Path) -> bool:
    return bool(frame_paths(folder)) and not any(map(_is_video, folder.iterdir()))


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def _read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    image = cv2.imread(known_name(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise BrokenVideoError(f"{path.name} is not an image, or a damaged one")
    return image
