"""Frames of a video file as OpenCV's FFmpeg decodes them, and whether they are all there.

Frame by frame as they are asked for. decord decodes ahead without a bound when its frames are used
slowly: 600 MB after 250 of 795 frames of 768x576.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from selfseg.errors import UserError

TOLERATED_LOSS = 0.02
"""Some containers only estimate their number of frames; a video that ends earlier is damaged."""

TELETYPE = cv2.VideoWriter.fourcc(*"ansi")
"""What FFmpeg calls a text file, which it would play as a terminal does."""

OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
"""The variable that FFmpeg's options are read from whenever a file is opened."""

UNTRIMMED = "ignore_editlist;1"

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
class Grabbed:
    """A decoded frame of a file, which can become an image as long as the next is not asked for.

    number, time_s: see `Frame`
    """

    number: int
    time_s: float
    capture: cv2.VideoCapture

    def frame(self) -> Frame:
        """Convert it to RGB."""
        found, image = self.capture.retrieve()
        if not found:
            raise BrokenVideoError(f"damaged: frame {self.number} cannot be decoded")
        rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
        return Frame(self.number, self.time_s, rgb)


def grab_all(path: Path) -> Iterator[Grabbed]:
    """Decode a file from its first frame to its last.

    Raises:
        BrokenVideoError: at its end, if that is not where it should be.
    """
    number = 0
    with opened(path) as capture:
        announced, rate = announced_frames(capture), capture.get(cv2.CAP_PROP_FPS)
        while capture.grab():
            yield Grabbed(number, _time_s(capture), capture)
            number += 1
    # FFmpeg gives up where it can make nothing of the data, and calls it the end.
    if number < _at_least(announced):
        _require_end(path, announced, rate, number)


def grab_from(path: Path, number: int, time_s: float, ahead_s: float) -> Iterator[Grabbed]:
    """Decode a file from its frame `number` on, which is the one of `time_s`.

    Nothing comes if a jump to `ahead_s` before it leads past it, as a jump may: see
    `selfseg.data.ingest.stretches`.
    """
    with opened(path) as capture:
        capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * max(0.0, time_s - ahead_s))
        found = capture.grab()
        while found and _time_s(capture) < time_s:
            found = capture.grab()
        if found and _time_s(capture) > time_s:
            return
        while found:
            yield Grabbed(number, _time_s(capture), capture)
            number += 1
            found = capture.grab()


def announced_frames(capture: cv2.VideoCapture) -> int:
    """Return how many frames the container says it holds; 0: it does not say."""
    return max(0, round(capture.get(cv2.CAP_PROP_FRAME_COUNT)))


@contextmanager
def opened(path: Path, options: str = "", *more: tuple[int, int]) -> Iterator[cv2.VideoCapture]:
    """Open a file, with `options` for FFmpeg and `more` properties for OpenCV.

    Raises:
        BrokenVideoError: not a video, or one that would be shown askew.
    """
    name = known_name(path)
    properties = ((cv2.CAP_PROP_N_THREADS, 1), *more)
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        with _told(options):
            capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, [*chain.from_iterable(properties)])
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened() or round(capture.get(cv2.CAP_PROP_FOURCC)) == TELETYPE:
            raise BrokenVideoError("not a video, or a damaged one")
        turn = round(capture.get(cv2.CAP_PROP_ORIENTATION_META))
        if turn % 90:
            raise BrokenVideoError(f"turned by {turn} degrees; only quarter turns are followed")
        yield capture
    finally:
        capture.release()


def known_name(path: Path) -> str:
    """Return a name that OpenCV takes; another kind would end its process.

    Raises:
        BrokenVideoError: it has none.
    """
    try:
        # FFmpeg takes what precedes a colon for a protocol, unless a slash comes first.
        return str(path.absolute()).encode().decode()
    except UnicodeEncodeError:
        raise BrokenVideoError("its path is not UTF-8; rename it") from None


def _time_s(capture: cv2.VideoCapture) -> float:
    return capture.get(cv2.CAP_PROP_POS_MSEC) / 1000


def _at_least(frames: int) -> float:
    """Say how many of so many frames an undamaged video has."""
    return frames * (1 - TOLERATED_LOSS) - 1


def _require_end(path: Path, announced: int, rate: float, shown: int) -> None:
    """See whether a file that shows fewer frames than it announces is all there nevertheless.

    Some containers tell their duration alone, from which FFmpeg takes the frames of a steady
    `rate`: there, the last packet's time counts. And an edit list, a telephone's way to trim,
    hides frames that are there: they count.

    Raises:
        BrokenVideoError: it is not.
    """
    packets, end_s, decoded = 0, 0.0, 0
    with opened(path, UNTRIMMED, (cv2.CAP_PROP_FORMAT, -1)) as capture:  # -1: packets
        while capture.grab():
            packets, end_s = packets + 1, max(end_s, _time_s(capture))
    with opened(path, UNTRIMMED) as capture:
        while capture.grab():
            decoded += 1
    if packets == decoded == 1:
        raise BrokenVideoError("one picture, as sounds have for a cover, and no video")
    complete = max(packets, end_s * rate + 1) >= _at_least(announced)
    if not complete or decoded < _at_least(packets):
        held = packets if complete else announced
        raise BrokenVideoError(f"damaged: only {shown} of {held} frames can be decoded")


@contextmanager
def _told(options: str) -> Iterator[None]:
    """Have FFmpeg read `options` beside what the user tells it."""
    users = os.environ.get(OPTIONS)
    told = "|".join(filter(None, (users, options)))
    if told:
        os.environ[OPTIONS] = told
    try:
        yield
    finally:
        if users is None:
            os.environ.pop(OPTIONS, None)
        else:
            os.environ[OPTIONS] = users
