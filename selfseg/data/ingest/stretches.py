"""Long videos in stretches of frames that are found, and read, each by itself.

A jump in a file lands wherever its container and codec let it, and what is decoded from there may
be made of frames that were never read. So a survey decodes a long file once, cheaply, and marks the
frames at which stretches begin. A stretch that was jumped into must have both its marks as the
survey saw them; otherwise it is reached by decoding all that lies before.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

from selfseg.config import Config
from selfseg.data.ingest.decoding import BrokenVideoError, Frame, Grabbed, grab_all, grab_from
from selfseg.data.ingest.videos import Video, folder_frames

AHEAD_S = (1.0, 8.0, 64.0)
"""Jumps lead so far before the frame that is wanted, and if they miss it, farther. Behind a key
frame; with an uneven rate, OpenCV lands up to minutes off."""


class StrayedError(Exception):
    """What was decoded after a jump is not what the survey saw."""


class Mark(Config):
    """A frame that can be found again."""

    number: int
    time_s: float | None
    """None: it is not later than all before it, or there is no clock."""
    crc32: int | None
    """Of its pixels; of a folder's it is not needed."""


class Survey(Config):
    """What one look at a whole video says of it."""

    frames: int
    marks: tuple[Mark, ...]
    """The first frames of its stretches."""
    background: str | None
    """See `selfseg.data.format.manifest.VideoEntry`."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames `start` to `stop`, exclusive, of a video that was surveyed.

    begin: its first frame; end: the first of the next stretch; None: the video ends
    video_frames, background: see `Survey`
    """

    begin: Mark
    end: Mark | None
    video_frames: int
    background: str | None

    @property
    def start(self) -> int:
        """Number of its first frame."""
        return self.begin.number

    @property
    def stop(self) -> int:
        """Number of the first frame that is not in it."""
        return self.end.number if self.end else self.video_frames


def survey_frames(
    video: Video, every: int, show: Callable[[Frame], None] | None
) -> tuple[int, tuple[Mark, ...]]:
    """Count a video's frames, and mark the first of every so many.

    Args:
        video: what to look at.
        every: frames of a stretch.
        show: is shown each frame; None saves a folder from being read, and a file's frames from
            becoming images.

    Raises:
        BrokenVideoError: it cannot be read to its end.
    """
    if video.frame_paths:
        for frame in video.frames() if show else ():
            assert show
            show(frame)
        starts = range(0, video.num_frames, every)
        marks = (Mark(number=number, time_s=None, crc32=None) for number in starts)
        return video.num_frames, tuple(marks)
    count, latest_s, found = 0, -1.0, []
    for grabbed in grab_all(video.path):
        marks = grabbed.number % every == 0
        if marks or show:
            frame = grabbed.frame()
            if show:
                show(frame)
            if marks:
                found.append(_mark(frame, latest_s))
        latest_s = max(latest_s, grabbed.time_s)
        count += 1
    return count, tuple(found)


def stretches(survey: Survey) -> list[Stretch]:
    """Say where a video is cut."""
    ends = [*survey.marks[1:], None]
    return [
        Stretch(begin, end, survey.frames, survey.background)
        for begin, end in zip(survey.marks, ends, strict=True)
    ]


def stretch_frames(video: Video, stretch: Stretch, beyond: int, *, jump: bool) -> Iterator[Frame]:
    """Decode a stretch, and what lies `beyond` it, at least one frame, as far as the video goes.

    Args:
        video: as it was surveyed.
        stretch: of it.
        beyond: number of frames that are read after it.
        jump: whether not to decode what lies before.

    Raises:
        StrayedError: after a jump, something is not as it was. Frames came before that.
        BrokenVideoError: a frame cannot be read; or all is not as it was, without a jump.
    """
    wanted = min(stretch.stop + beyond, stretch.video_frames) - stretch.start
    if video.frame_paths:
        yield from video.alike(islice(folder_frames(video.frame_paths, stretch.start), wanted))
        return
    grabbed = _jumped(video, stretch.begin) if jump else _walked(video, stretch.start)
    frames = video.alike(one.frame() for one in islice(grabbed, wanted))
    reached = stretch.start
    for frame in frames:
        for mark in (stretch.begin, stretch.end):
            if mark and mark.number == frame.number and not _is(mark, frame):
                raise _strayed(jump)
        yield frame
        reached = frame.number + 1
    if reached < stretch.start + wanted:
        raise _strayed(jump)


def _walked(video: Video, start: int) -> Iterator[Grabbed]:
    return islice(grab_all(video.path), start, None)


def _jumped(video: Video, begin: Mark) -> Iterator[Grabbed]:
    """Decode from a mark on, by the shortest jump that does not miss it; nothing if all do."""
    if begin.number == 0:
        yield from grab_all(video.path)
    if begin.number == 0 or begin.time_s is None:
        return
    for ahead_s in AHEAD_S:
        grabbed = grab_from(video.path, begin.number, begin.time_s, ahead_s)
        first = next(grabbed, None)
        if first and _is(begin, first.frame()):
            yield from chain([first], grabbed)
            return


def _mark(frame: Frame, latest_s: float) -> Mark:
    assert frame.time_s is not None
    time_s = frame.time_s if frame.time_s > latest_s else None
    return Mark(number=frame.number, time_s=time_s, crc32=_crc32(frame))


def _is(mark: Mark, frame: Frame) -> bool:
    return mark.time_s in {None, frame.time_s} and mark.crc32 == _crc32(frame)


def _crc32(frame: Frame) -> int:
    return zlib.crc32(frame.image.data)


def _strayed(jump: bool) -> StrayedError | BrokenVideoError:
    if jump:
        return StrayedError()
    return BrokenVideoError("changes while it is read; leave it alone meanwhile")
