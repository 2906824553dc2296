"""One video into samples: frames, flow both ways for every gap, and the camera's motion."""

from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from selfseg.data.format import schema
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.backgrounds import MedianImage
from selfseg.data.ingest.decoding import BrokenVideoError, Frame
from selfseg.data.ingest.dis_matching import DisMatcher
from selfseg.data.ingest.motion import Matchable, Matcher, Motion, matchable, measure, resize
from selfseg.data.ingest.stretches import Stretch, stretch_frames
from selfseg.data.ingest.videos import Video

BRIGHT = 127
"""Grey level above which a mask with smoothed edges is foreground."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows and columns of the grids of one video."""

    image: tuple[int, int]
    matching: tuple[int, int]
    flow: tuple[int, int]


@dataclass(frozen=True, slots=True)
class MovingFrame:
    """One frame with its motion by gap; gaps that lead past the last frame are missing.

    image: as it is stored; original: as it was read
    """

    number: int
    time_s: float | None
    image: UInt8[np.ndarray, "h w 3"]
    original: UInt8[np.ndarray, "source_h source_w 3"]
    motions: dict[int, Motion]


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: its key, and the bytes of its parts by name; see `selfseg.data.format.schema`."""

    key: str
    parts: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class _Held:
    """A frame in the window: everything its pairs need."""

    frame: Frame
    image: UInt8[np.ndarray, "h w 3"]
    matchable: Matchable | None


def grid_sizes(settings: IngestSettings, height: int, width: int) -> Sizes:
    """Say what the grids of a video of `height` x `width` pixels are."""

    def grid(rows: float) -> tuple[int, int]:
        return max(2, round(rows)), max(2, 2 * round(rows * width / height / 2))

    kept = settings.height * settings.flow_scale
    measured = max(kept, min(float(height), settings.height * settings.matching_scale))
    return Sizes(grid(float(settings.height)), grid(measured), grid(kept))


def moving_frames(
    video: Video,
    settings: IngestSettings,
    wanted: Container[int] | None = None,
    frames: Iterable[Frame] | None = None,
) -> Iterator[MovingFrame]:
    """Yield a video's frames with their motion, holding no more than the largest gap + 1.

    Flow depends in its last digits on OpenCV's number of threads; call `cv2.setNumThreads(1)`
    first where results must repeat. RAFT's depends on PyTorch's, and on the device.

    Args:
        video: what to read.
        settings: what to compute.
        wanted: frames whose motion is measured, to others and back to them; None: of all.
        frames: neighbouring frames of the video; None: all.

    Raises:
        BrokenVideoError: at the frame that cannot be read.
        UserError: RAFT's weights are out of reach, or another network's.
    """
    sizes = grid_sizes(settings, video.height, video.width)
    matcher = _matcher(settings)
    window: deque[_Held] = deque()
    for frame in video.frames() if frames is None else frames:
        near = {
            frame.number,
            *(frame.number + way * gap for gap in settings.gaps for way in (1, -1)),
        }
        moves = wanted is None or any(number in wanted for number in near)
        window.append(_hold(frame, sizes, matcher if moves else None))
        if len(window) > max(settings.gaps):
            yield _moving(window, sizes, settings.gaps, wanted, matcher)
            window.popleft()
    while window:
        yield _moving(window, sizes, settings.gaps, wanted, matcher)
        window.popleft()


def samples(
    video: Video,
    video_id: str,
    settings: IngestSettings,
    masks: Path | None,
    scene: MedianImage | None = None,
    *,
    stretch: Stretch | None = None,
    jump: bool = True,
) -> Iterator[Sample]:
    """Turn a video into samples, one after another.

    Args:
        video: what to read.
        video_id: prefix of the keys.
        settings: what to compute and how to store it.
        masks: folder of the video's ground truth, %05d.png; or the file of a single image's.
            Frames without a file have none.
        scene: is shown every frame as it is stored.
        stretch: of the video; None: all of it.
        jump: how to get to the stretch; see `stretch_frames`.

    Raises:
        BrokenVideoError: a frame or a mask that cannot be read, or of another size.
        StrayedError: the jump led elsewhere; samples may have come before that.
    """
    sizes = grid_sizes(settings, video.height, video.width)
    frames, count = None, None
    if stretch:
        frames = stretch_frames(video, stretch, max(settings.gaps), jump=jump)
        count = stretch.stop - stretch.start
    for moving in islice(moving_frames(video, settings, frames=frames), count):
        if scene:
            scene.add(moving.image)
        meta = _meta(video, video_id, moving, sizes)
        parts = {
            schema.IMAGE: schema.encode_image(moving.image, settings.jpeg_quality),
            schema.META: meta.model_dump_json().encode(),
        }
        for gap, motion in moving.motions.items():
            parts[schema.forward_part(gap)] = schema.encode_flow(motion.forward)
            parts[schema.backward_part(gap)] = schema.encode_flow(motion.backward)
        mask = masks and read_mask(masks, moving.number, (video.height, video.width))
        if mask:
            parts[schema.MASK] = mask
        yield Sample(schema.sample_key(video_id, moving.number), parts)


def mask_path(masks: Path, frame: int) -> Path:
    """Say where a frame's ground truth lies: in a folder, as DAVIS lays it out; a file is it."""
    return masks if masks.is_file() else masks / f"{frame:05d}.png"


def read_mask(masks: Path, frame: int, size: tuple[int, int]) -> bytes | None:
    """Return a frame's mask as its file holds it; None where there is no file.

    A folder's masks are labels; that of a single image has smoothed edges, and the brighter half
    of its grey levels is taken.

    Raises:
        BrokenVideoError: the file is no image, or not of the frame's `size` (rows, columns).
    """
    path = mask_path(masks, frame)
    if not path.is_file():
        return None
    data = path.read_bytes()
    try:
        levels = schema.decode_grey(data)
    except ValueError:
        raise BrokenVideoError(f"mask {path.name} is not an image, or a damaged one") from None
    height, width = levels.shape
    if (height, width) != size:
        raise BrokenVideoError(
            f"mask {path.name} is {width}x{height}, its frame {size[1]}x{size[0]}; "
            "masks must have the size of the video"
        )
    return schema.encode_mask(levels > BRIGHT) if path == masks else data


def _matcher(settings: IngestSettings) -> Matcher | None:
    match settings.flow:
        case "none":
            return None
        case "dis":
            return DisMatcher(settings.dis)
        case size:
            # torchvision takes two seconds and 160 MB, which no other process here should spend.
            from selfseg.data.ingest.raft_matching import RaftMatcher  # noqa: PLC0415

            return RaftMatcher(size, settings.flow_weights)


def _hold(frame: Frame, sizes: Sizes, matcher: Matcher | None) -> _Held:
    prepared = matchable(frame.image, sizes.matching, sizes.flow, matcher) if matcher else None
    return _Held(frame, resize(frame.image, sizes.image), prepared)


def _moving(
    window: Sequence[_Held],
    sizes: Sizes,
    gaps: Sequence[int],
    wanted: Container[int] | None,
    matcher: Matcher | None,
) -> MovingFrame:
    """Measure the motion of the window's first frame to the others."""
    first = window[0]
    frame = first.frame
    others: dict[int, Matchable] = {}
    for gap in gaps:
        other = window[gap].matchable if gap < len(window) else None
        asked = wanted is None or frame.number in wanted or frame.number + gap in wanted
        if asked and other:
            others[gap] = other
    motions: dict[int, Motion] = {}
    if matcher and first.matchable and others:
        measured = measure(first.matchable, list(others.values()), sizes.flow, matcher)
        motions = dict(zip(others, measured, strict=True))
    return MovingFrame(frame.number, frame.time_s, first.image, frame.image, motions)


def _meta(video: Video, video_id: str, moving: MovingFrame, sizes: Sizes) -> schema.Meta:
    flow_height, flow_width = sizes.flow if moving.motions else (0, 0)
    return schema.Meta(
        video=video_id,
        source=video.path.name,
        frame=moving.number,
        time_s=None if moving.time_s is None else round(moving.time_s, 6),
        height=sizes.image[0],
        width=sizes.image[1],
        source_height=video.height,
        source_width=video.width,
        flow_height=flow_height,
        flow_width=flow_width,
        pairs={gap: motion.camera for gap, motion in moving.motions.items()},
    )
