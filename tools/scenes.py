"""Synthetic scenes, drawn: a camera wanders over a photograph, jointed figures wander before it.

Drawn from names as `selfseg.data.reading.draws` does: the same settings, the same pixels anywhere.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from selfseg.data.reading.draws import permutation, uniforms
from selfseg.errors import UserError

Image = UInt8[np.ndarray, "h w 3"]
Labels = UInt8[np.ndarray, "h w"]
Path1D = Float64[np.ndarray, " t"]
Point = Float64[np.ndarray, " 2"]
Name = int | str

CANVAS = (3, 4)
"""Rows and columns of what the camera wanders over, in sides of a frame."""

ZOOM, ZOOM_CHANGE, TURN = 1.17, 0.2, 0.06
"""Side of what the camera sees, in sides of a frame; its change; its largest turn, radians."""

FIGURE = 0.46
"""Height of a figure, in sides of a frame."""

SUBPIXEL_BITS = 4
"""Precision of the figure's outlines."""


@dataclass(frozen=True, slots=True)
class Limb:
    """An arm or a leg: two segments; angles are from straight down, lengths in figure heights.

    rest: where it points; swing: how far it sways from there; bend: how far its lower half bends
    """

    upper: tuple[float, float]
    lower: tuple[float, float]
    rest: float
    swing: float
    bend: float


LEGS = 2 * (Limb(upper=(0.24, 0.11), lower=(0.24, 0.09), rest=0, swing=0.72, bend=0.42),)
ARMS = tuple(
    Limb(upper=(0.20, 0.08), lower=(0.18, 0.07), rest=side, swing=1.44, bend=0.63)
    for side in (0.5, -0.5)
)
TRUNK, HEAD = (0.33, 0.20), (0.12, 0.15)
"""Length and thickness of a segment."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stroke of a figure, in pixels; it points `angle` away from straight down."""

    start: Point
    end: Point
    thickness: float
    angle: float


@dataclass(frozen=True, slots=True)
class Settings:
    """What to make.

    photographs: to wander over and to coat figures with; empty: they are made up
    size: side of a frame, pixels
    """

    photographs: tuple[Path, ...]
    videos: int
    frames: int
    size: int
    objects: int
    moving_camera: bool
    seed: int


def wander(frames: int, pace: float, *names: Name) -> Path1D:
    """Stray smoothly within [-1, 1]: three sines, the slowest of `pace` cycles in 100 frames."""
    drawn = uniforms(6, *names, "wander")
    order = np.arange(1, 4)
    heights = (0.5 + drawn[:3]) / order
    cycles = np.outer(np.arange(frames) / 100, pace * order)
    waves = np.sin(2 * np.pi * (cycles + drawn[3:]))
    return waves @ heights / heights.sum()


def camera_path(settings: Settings, video: int) -> Float64[np.ndarray, "t 2 3"]:
    """Say, for each frame, how its pixels (x, y, 1) lie on the canvas; all of it is on there."""
    size, stream = settings.size, (settings.seed, video, "camera")
    frames = settings.frames if settings.moving_camera else 1
    scale = ZOOM * (1 + ZOOM_CHANGE * wander(frames, 0.5, *stream, "zoom"))
    turn = TURN * wander(frames, 0.7, *stream, "turn")
    half = size * scale / 2 * (np.cos(turn) + np.abs(np.sin(turn)))
    rows, columns = (side * size for side in CANVAS)
    x = columns / 2 + (columns / 2 - half - 1) * wander(frames, 0.5, *stream, "x")
    y = rows / 2 + (rows / 2 - half - 1) * wander(frames, 0.4, *stream, "y")
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    middle = (size - 1) / 2
    across = np.stack([cosine, -sine, x - middle * (cosine - sine)], -1)
    down = np.stack([sine, cosine, y - middle * (sine + cosine)], -1)
    path = np.stack([across, down], 1)
    return path if settings.moving_camera else np.repeat(path, settings.frames, axis=0)


def seen(canvas: Image, camera: Float64[np.ndarray, "2 3"], size: int) -> Image:
    """Show the part of the canvas that the camera looks at."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(canvas, camera, (size, size), flags=flags), np.uint8)


def figure_path(settings: Settings, video: int, figure: int) -> Iterator[list[Segment]]:
    """Yield a figure's segments, those behind first, frame by frame.

    From its leftmost to its rightmost place lie 0.6 of the frame, which is more than it is wide.
    """
    frames, stream = settings.frames, (settings.seed, video, "figure", figure)

    def stray(pace: float, *names: Name) -> Path1D:
        return wander(frames, pace, *stream, *names)

    x = stray(0.85, "x")
    x = 0.2 + 0.6 * (x - x.min()) / np.ptp(x)
    y = 0.5 + 0.2 * stray(0.6, "y")
    height = FIGURE * (1 + 0.15 * stray(0.4, "height"))
    lean = 0.25 * stray(0.8, "lean")
    limbs = len(LEGS + ARMS)
    swings = np.stack([stray(2, "swing", limb) for limb in range(limbs)])
    bends = np.stack([stray(2, "bend", limb) for limb in range(limbs)])
    for t in range(frames):
        place = np.array([x[t], y[t] + 0.05 * height[t]]) * settings.size
        yield pose(place, height[t] * settings.size, lean[t], swings[:, t], bends[:, t])


def pose(
    hip: Point,
    height: float,
    lean: float,
    swings: Float64[np.ndarray, " limbs"],
    bends: Float64[np.ndarray, " limbs"],
) -> list[Segment]:
    """Lay out the segments of a figure; `swings` and `bends` within [-1, 1], legs first."""

    def stroke(start: Point, shape: tuple[float, float], angle: float) -> Segment:
        length, thickness = (height * share for share in shape)
        end = start + length * np.array([math.sin(angle), math.cos(angle)])
        return Segment(start, end, thickness, angle)

    def limb(start: Point, kind: Limb, number: int, hangs: float) -> list[Segment]:
        angle = hangs + kind.rest + kind.swing * swings[number]
        upper = stroke(start, kind.upper, angle)
        return [upper, stroke(upper.end, kind.lower, angle + kind.bend * bends[number])]

    trunk = stroke(hip, TRUNK, lean + math.pi)
    body = [trunk, stroke(trunk.end, HEAD, lean + math.pi)]
    legs = [part for i, leg in enumerate(LEGS) for part in limb(hip, leg, i, lean)]
    arms = [part for i, arm in enumerate(ARMS, len(LEGS)) for part in limb(trunk.end, arm, i, 0)]
    return legs + body + arms


def paint(
    frame: Image, labels: Labels, figure: list[Segment], coat: Image, number: int
) -> tuple[Image, Labels]:
    """Draw a figure over a frame, and its number over the labels; each segment wears its coat."""
    size = len(frame)
    for part, segment in enumerate(figure):
        stroke = np.zeros((size, size), np.uint8)
        start, end = (
            (round(x * 2**SUBPIXEL_BITS), round(y * 2**SUBPIXEL_BITS))
            for x, y in (segment.start.tolist(), segment.end.tolist())
        )
        thickness = max(1, round(segment.thickness))
        cv2.line(stroke, start, end, 1, thickness, cv2.LINE_8, SUBPIXEL_BITS)
        # Round the coat, segments take their cloth from places apart, and turn it with them.
        bearing = 2 * math.pi * part / len(figure)
        cloth = len(coat) * (0.5 + 0.3 * np.array([math.cos(bearing), math.sin(bearing)]))
        cosine, sine = math.cos(segment.angle), math.sin(segment.angle)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        worn = np.c_[turn, segment.start - turn @ cloth]
        cover = cv2.warpAffine(coat, worn, (size, size), borderMode=cv2.BORDER_REFLECT)
        frame = np.where(stroke[..., None] > 0, np.asarray(cover, np.uint8), frame)
        labels = np.where(stroke > 0, np.uint8(number), labels)
    return frame, labels


def scene(settings: Settings, video: int) -> Iterator[tuple[Image, Labels]]:
    """Yield a video's frames, RGB, with the number of the figure that each pixel belongs to."""
    size, objects = settings.size, settings.objects
    canvas = photograph(settings, video, CANVAS[0] * size, CANVAS[1] * size)
    first = settings.videos + video * objects
    coats = [photograph(settings, first + k, 2 * size, 2 * size) for k in range(objects)]
    figures = zip(*(figure_path(settings, video, k) for k in range(objects)), strict=True)
    for camera, poses in zip(camera_path(settings, video), figures, strict=True):
        frame, labels = seen(canvas, camera, size), np.zeros((size, size), np.uint8)
        for number, (segments, coat) in enumerate(zip(poses, coats, strict=True), 1):
            frame, labels = paint(frame, labels, segments, coat, number)
        yield frame, labels


def photograph(settings: Settings, number: int, height: int, width: int) -> Image:
    """Return one of the photographs, to fill a picture; no coat is a background, too.

    The first `videos` numbers are backgrounds, each of its own. Those after them are coats, which
    share what is left.

    Raises:
        UserError: it is not an image.
    """
    photographs, backgrounds = settings.photographs, settings.videos
    if not photographs:
        return made_up(height, width, settings.seed, "photograph", number)
    order = permutation(len(photographs), settings.seed, "photographs")
    left = len(photographs) - backgrounds
    place = number if number < backgrounds else backgrounds + (number - backgrounds) % left
    path = photographs[order[place]]
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise UserError(f"{path}: not an image, or a damaged one; take it out of --photographs")
    return filling(np.asarray(image, np.uint8), height, width)


def filling(image: Image, height: int, width: int) -> Image:
    """Resize an image and cut its middle out, so that it fills a picture and keeps its aspect."""
    rows, columns = image.shape[:2]
    scale = max(height / rows, width / columns)
    whole = (max(width, round(scale * columns)), max(height, round(scale * rows)))
    resized = cv2.resize(
        image, whole, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    top, left = (whole[1] - height) // 2, (whole[0] - width) // 2
    return np.asarray(resized[top : top + height, left : left + width], np.uint8)


def made_up(height: int, width: int, *names: Name) -> Image:
    """Make up a picture: noise whose amplitude falls with frequency, as in photographs, and shapes.

    Source of the spectrum: D. Field, 1987, "Relations between the statistics of natural images".
    """
    white = uniforms(3 * height * width, *names, "noise").reshape(height, width, 3) - 0.5
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    slow = np.maximum(np.hypot(rows, columns), 1 / width)
    spectrum = np.fft.rfft2(white, axes=(0, 1)) / slow[..., None]
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (height, width), axes=(0, 1))
    grey, tints = noise.mean(-1, keepdims=True), noise - noise.mean(-1, keepdims=True)
    picture = uniforms(3, *names, "light") * 120 + 60 + (30 * grey + 10 * tints) / noise.std()
    for shape in range(40):
        x, y, wide, high, turn, *colour = uniforms(8, *names, "shape", shape).tolist()
        at = (round(x * width), round(y * height))
        axes = (round((0.01 + 0.06 * wide) * width), round((0.01 + 0.06 * high) * width))
        outline = np.zeros((height, width), np.uint8)
        cv2.ellipse(outline, at, axes, 180 * turn, 0, 360, 1, cv2.FILLED)
        picture[outline > 0] *= 0.4
        picture[outline > 0] += 0.6 * 255 * np.array(colour)
    return picture.clip(0, 255).astype(np.uint8)
