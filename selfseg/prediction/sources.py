"""Videos of any origin as frames with their motion, prepared as a collection's are.

Only as many frames are held as the longest gap needs, whatever a video's length.
"""

import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from jaxtyping import Bool, Float, UInt8

from selfseg import storage
from selfseg.data.format.schema import decode_image
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.decoding import BrokenVideoError
from selfseg.data.ingest.motion import Motion
from selfseg.data.ingest.samples import MovingFrame, moving_frames
from selfseg.data.ingest.videos import Video, open_video
from selfseg.data.reading.pairs import CameraModel, Pair, camera_fields
from selfseg.errors import UserError
from selfseg.prediction.truth import Truth

HOMOGRAPHY_GAP = 1
"""Background subtraction registers each frame to the next."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What is wanted of each frame: how it is prepared, and which motions go with it.

    whole: every frame is wanted, also of a source that is asked to show only some
    """

    ingest: IngestSettings
    gaps: tuple[int, ...]
    camera: CameraModel
    whole: bool = False


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """One frame and its motions.

    name: of its files among a source's, without suffix
    time_s: since the start; None where there is no clock
    image: RGB as prepared for a collection
    original: RGB as large as at hand; the source's own frame unless it was read from a collection
    height, width: of the source
    pairs: this frame's motion to others, forward and back in time; `image` is their first frame
    to_next: homography to the next frame in pixels of a grid of the size (rows, columns) beside
        it; None at the end, or where it is unknown
    truth: annotated mask; None where there is none
    void: pixels of it that do not count; None: all do
    """

    name: str
    number: int
    time_s: float | None
    image: UInt8[np.ndarray, "h w 3"]
    original: UInt8[np.ndarray, "rows columns 3"]
    height: int
    width: int
    pairs: tuple[Pair, ...]
    to_next: tuple[Float[np.ndarray, "3 3"], tuple[int, int]] | None
    truth: Bool[np.ndarray, "height width"] | None
    void: Bool[np.ndarray, "height width"] | None = None


class Source(Protocol):
    """One video to look at; small enough to send to another process."""

    @property
    def name(self) -> str:
        """What its outputs are called."""
        ...

    @property
    def still(self) -> bool:
        """Whether it is a single image, which has no motion."""
        ...

    @property
    def num_frames(self) -> int | None:
        """How many frames to expect, if that is known."""
        ...

    def frames(self, preparation: Preparation) -> Iterator[SourceFrame]:
        """Yield its frames in order.

        Raises:
            UserError: it cannot be read, or holds less than `preparation` asks for.
        """
        ...


class AnnotatedSource(Source, Protocol):
    """A video with ground truth."""

    @property
    def shown(self) -> frozenset[int] | None:
        """Numbers of the frames it is asked to show; None: all."""
        ...

    @property
    def num_frames(self) -> int:
        """How many frames it has."""
        ...

    def annotated(self) -> frozenset[int]:
        """Return the numbers of the frames that have a truth."""
        ...

    def only(self, numbers: frozenset[int]) -> Self:
        """Return the same video, of which only these frames are shown, with their motion."""
        ...


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A video file, a folder of frames or a single image.

    shown: numbers of the frames that are shown; None: all
    """

    path: Path
    name: str
    num_frames: int
    still: bool = False
    truth: Truth | None = None
    shown: frozenset[int] | None = None

    def annotated(self) -> frozenset[int]:
        """Return the numbers of the frames that have a file of their truth."""
        return frozenset(self.truth.files if self.truth else ())

    def only(self, numbers: frozenset[int]) -> Self:
        """Leave out all other frames, and the motion that only they need."""
        return replace(self, shown=numbers)

    def frames(self, preparation: Preparation) -> Iterator[SourceFrame]:
        """Decode, and measure motion on the way."""
        try:
            yield from self._frames(_open(self.path, still=self.still), preparation)
        except BrokenVideoError as error:
            raise UserError(f"{self.path}: {error}") from None

    def _frames(self, video: Video, preparation: Preparation) -> Iterator[SourceFrame]:
        settings = preparation.ingest.override({"gaps": preparation.gaps})
        earlier: deque[MovingFrame] = deque(maxlen=max(preparation.gaps))
        shown = None if preparation.whole else self.shown
        for moving in moving_frames(video, settings, shown):
            if shown is None or moving.number in shown:
                yield self._frame(video, moving, earlier, preparation)
            earlier.append(moving)

    def _frame(
        self,
        video: Video,
        moving: MovingFrame,
        earlier: Sequence[MovingFrame],
        preparation: Preparation,
    ) -> SourceFrame:
        name = self._frame_name(video, moving.number)
        read = self.truth and self.truth.read(moving.number, (video.height, video.width))
        truth, void = read or (None, None)
        return SourceFrame(
            name,
            moving.number,
            moving.time_s,
            moving.image,
            moving.original,
            video.height,
            video.width,
            _pairs(name, moving, earlier, preparation),
            _to_next(moving.motions.get(HOMOGRAPHY_GAP)),
            truth,
            void,
        )

    def _frame_name(self, video: Video, number: int) -> str:
        return video.frame_paths[number].stem if video.frame_paths else f"{number:05d}"


def local_source(
    path: Path, name: str, *, still: bool = False, truth: Truth | None = None
) -> LocalSource:
    """Look whether `path` can be shown, and take it for a source.

    Raises:
        UserError: nothing there, or nothing that shows.
    """
    try:
        return LocalSource(path, name, _open(path, still=still).num_frames, still, truth)
    except BrokenVideoError as error:
        raise UserError(f"{path}: {error}") from None


def _open(path: Path, *, still: bool) -> Video:
    return open_image(path) if still else open_video(path)


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A video, a folder of frames or an image in a bucket, fetched when it is its turn.

    url: of the object, or of the folder
    objects: names of a folder's frames; empty for a single object
    """

    url: str
    name: str
    still: bool = False
    objects: tuple[str, ...] = ()

    @property
    def num_frames(self) -> int | None:
        """A folder's frames; a video file is not looked into before it is fetched."""
        return len(self.objects) or (1 if self.still else None)

    def frames(self, preparation: Preparation) -> Iterator[SourceFrame]:
        """Fetch to a temporary folder, and read it there."""
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "frames"
            folder.mkdir()
            for name in self.objects:
                storage.download(storage.join(self.url, name), folder / name)
            if not self.objects:
                storage.download(self.url, folder / self.url.rpartition("/")[2])
            path = folder if self.objects else next(folder.iterdir())
            try:
                yield from local_source(path, self.name, still=self.still).frames(preparation)
            except UserError as error:
                reason = str(error).removeprefix(f"{path}: ")
                raise UserError(f"{self.url}: {reason}") from None


def open_image(path: Path) -> Video:
    """Take a single image for a video of one frame.

    Raises:
        BrokenVideoError: not an image.
    """
    try:
        height, width = decode_image(path.read_bytes()).shape[:2]
    except ValueError as error:
        raise BrokenVideoError(str(error)) from None
    return Video(path, 1, height, width, (path,))


def _pairs(
    key: str, moving: MovingFrame, earlier: Sequence[MovingFrame], preparation: Preparation
) -> tuple[Pair, ...]:
    """Lay out this frame's motion to later frames, then earlier frames' motion back to them."""
    pairs = []
    for motion in moving.motions.values():
        ahead, back = _camera(motion, preparation.camera)
        pairs.append(Pair(key, moving.image, motion.forward, motion.backward, ahead, back))
    for gap in preparation.gaps:
        motion = earlier[-gap].motions.get(gap) if gap <= len(earlier) else None
        if motion:
            ahead, back = _camera(motion, preparation.camera)
            pairs.append(Pair(key, moving.image, motion.backward, motion.forward, back, ahead))
    return tuple(pairs)


def _camera(
    motion: Motion, camera: CameraModel
) -> tuple[Float[np.ndarray, "h w 2"], Float[np.ndarray, "h w 2"]]:
    height, width = motion.forward.shape[:2]
    return camera_fields(motion.camera, camera, height, width)


def _to_next(motion: Motion | None) -> tuple[np.ndarray, tuple[int, int]] | None:
    if motion is None:
        return None
    height, width = motion.forward.shape[:2]
    return np.array(motion.camera.homography), (height, width)
