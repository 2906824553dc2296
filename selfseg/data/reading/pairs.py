"""A frame and its motion: read from a collection, laid on one pixel grid, stacked to a batch.

The same pair can be read in two directions. Forward, its first frame is the record's own. In
reverse, it is the frame `gap` later: the two flows and the two camera parts change places, and
the image is taken from the later frame's record. So the last frames of a video, which have no
later neighbour, still are first frames of reversed pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from selfseg.data.format.schema import (
    IMAGE,
    MASK,
    PairMeta,
    backward_part,
    decode_flow,
    decode_image,
    decode_mask,
    forward_part,
    sample_key,
    split_key,
)
from selfseg.data.reading.collection import Collection, Record
from selfseg.ops.camera import homography_flow, quadratic_flow

CameraModel = Literal["quadratic", "homography", "none"]
FlowField = Float32[np.ndarray, "h w 2"]


@dataclass(frozen=True, slots=True)
class PairAddress:
    """Where a pair is found: the record of its earlier frame, its gap, and the direction."""

    ordinal: int
    gap: int
    reverse: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """One frame and its motion; `FramePairs` says what each part means.

    image: RGB, 0 ... 255; its grid may be another than that of the motion
    flow, flow_back, camera, camera_back: (x, y), pixels of their own grid
    truth: the frame's annotated mask, [0, 1], on a grid of its own; None unless it is asked for
    background: the video's scene without what moves; RGB, 0 ... 255, on the image's grid; None
        unless it is asked for
    """

    key: str
    image: UInt8[np.ndarray, "height width 3"]
    flow: FlowField
    flow_back: FlowField
    camera: FlowField
    camera_back: FlowField
    truth: Float32[np.ndarray, "rows columns 1"] | None = None
    background: UInt8[np.ndarray, "height width 3"] | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """A batch that no tensors are made of yet; `FramePairs` says what each part means.

    It has nothing of torch, which loader processes do without.
    """

    image: Float32[np.ndarray, "b 3 h w"]
    flow: Float32[np.ndarray, "b 2 h w"]
    flow_back: Float32[np.ndarray, "b 2 h w"]
    camera: Float32[np.ndarray, "b 2 h w"]
    camera_back: Float32[np.ndarray, "b 2 h w"]
    keys: tuple[str, ...]
    truth: Float32[np.ndarray, "b 1 h w"] | None = None
    background: Float32[np.ndarray, "b 3 h w"] | None = None


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of the frame that is looked at, in shares of the frame's sides, maybe mirrored."""

    top: float = 0.0
    left: float = 0.0
    side: float = 1.0
    flip: bool = False

    def window(self, rows: int, columns: int) -> tuple[slice, slice]:
        """Return the crop of an array of this size, to the nearest whole pixel, at least one."""
        top = min(rows - 1, round(self.top * rows))
        left = min(columns - 1, round(self.left * columns))
        bottom = max(top + 1, round((self.top + self.side) * rows))
        right = max(left + 1, round((self.left + self.side) * columns))
        return slice(top, bottom), slice(left, right)


WHOLE_FRAME = Crop()


def gaps_of(record: Record, gaps: Sequence[int]) -> list[int]:
    """Return those of `gaps` that the record holds the flows of."""
    return [gap for gap in gaps if forward_part(gap) in record.parts]


def pairs_from(collection: Collection, ordinal: int, gaps: Sequence[int]) -> list[PairAddress]:
    """Find all pairs whose first frame is this one, forward ones first."""
    record = collection.record(ordinal)
    addresses = [PairAddress(ordinal, gap, False) for gap in gaps_of(record, gaps)]
    video_id, frame = split_key(record.key)
    for gap in gaps:
        if gap <= frame:
            earlier = collection.ordinal(sample_key(video_id, frame - gap))
            if gaps_of(collection.record(earlier), [gap]):
                addresses.append(PairAddress(earlier, gap, True))
    return addresses


def read_truth(record: Record) -> Float32[np.ndarray, "rows columns 1"]:
    """Read the annotated mask of a record that has one."""
    return record.decoded(MASK, decode_mask).astype(np.float32)[..., None]


def read_background(collection: Collection, ordinal: int) -> UInt8[np.ndarray, "height width 3"]:
    """Read and decode the background of a record's video."""
    return decode_image(collection.background(ordinal))


def read_pair(collection: Collection, address: PairAddress, camera: CameraModel) -> Pair:
    """Read and decode one pair; nothing but its own parts is read, and no annotation."""
    gap, record = address.gap, collection.record(address.ordinal)
    forward = record.decoded(forward_part(gap), decode_flow)
    backward = record.decoded(backward_part(gap), decode_flow)
    moved, moved_back = camera_fields(record.meta().pairs[gap], camera, *forward.shape[:2])
    if not address.reverse:
        image = record.decoded(IMAGE, decode_image)
        return Pair(record.key, image, forward, backward, moved, moved_back)
    video_id, frame = split_key(record.key)
    # It may lie in a shard of which nothing else is read now.
    later = collection.record(collection.ordinal(sample_key(video_id, frame + gap)), whole=False)
    return Pair(later.key, later.decoded(IMAGE, decode_image), backward, forward, moved_back, moved)


def still_pair(key: str, image: UInt8[np.ndarray, "height width 3"]) -> Pair:
    """Take an image for a frame in which nothing moves."""
    rest = np.zeros((1, 1, 2), np.float32)  # a grid of its own: as small as it can be
    return Pair(key, image, rest, rest, rest, rest)


def read_still(collection: Collection, ordinal: int) -> Pair:
    """Read and decode a frame's image alone; its motion, if there is any, is not looked at."""
    record = collection.record(ordinal)
    return still_pair(record.key, record.decoded(IMAGE, decode_image))


def camera_fields(
    pair: PairMeta, camera: CameraModel, height: int, width: int
) -> tuple[FlowField, FlowField]:
    """Return the camera's part of the forward and of the backward flow, pixels of the flow grid.

    `height` and `width` must be the grid the models were fitted on.
    """
    match camera:
        case "quadratic":
            models = (np.array(pair.camera_forward), np.array(pair.camera_backward))
            forward, backward = (quadratic_flow(model, height, width) for model in models)
        case "homography":
            matrix = np.array(pair.homography)
            forward = homography_flow(matrix, height, width)
            backward = homography_flow(np.linalg.inv(matrix), height, width)
        case "none":
            forward = backward = np.zeros((height, width, 2), np.float32)
    return forward, backward


def on_grid(pair: Pair, height: int, width: int, view: Crop = WHOLE_FRAME) -> Pair:
    """Crop, mirror and resize all parts of a pair alike, to a grid of `height` x `width`.

    A crop of h0 x w0 pixels makes flow values height / h0 and width / w0 as large; a mirrored
    flow points the other way in x.
    """
    return Pair(
        pair.key,
        _seen(pair.image, view, height, width),
        _seen_flow(pair.flow, view, height, width),
        _seen_flow(pair.flow_back, view, height, width),
        _seen_flow(pair.camera, view, height, width),
        _seen_flow(pair.camera_back, view, height, width),
        None if pair.truth is None else _seen(pair.truth, view, height, width),
        None if pair.background is None else _seen(pair.background, view, height, width),
    )


def stacked(pairs: Sequence[Pair]) -> Stack:
    """Stack pairs on one grid; all or none know their truth, or their background."""
    truths = [pair.truth for pair in pairs if pair.truth is not None]
    backgrounds = [pair.background for pair in pairs if pair.background is not None]
    return Stack(
        image=_unit([pair.image for pair in pairs]),
        flow=_planes([pair.flow for pair in pairs]),
        flow_back=_planes([pair.flow_back for pair in pairs]),
        camera=_planes([pair.camera for pair in pairs]),
        camera_back=_planes([pair.camera_back for pair in pairs]),
        keys=tuple(pair.key for pair in pairs),
        truth=_planes(truths) if truths else None,
        background=_unit(backgrounds) if backgrounds else None,
    )


def _seen(
    array: Shaped[np.ndarray, "rows columns channels"], view: Crop, height: int, width: int
) -> Shaped[np.ndarray, "{height} {width} channels"]:
    """Return the view of an array (h, w, c) on the grid."""
    crop = array[view.window(*array.shape[:2])]
    shrinks = crop.shape[0] >= height and crop.shape[1] >= width
    # INTER_AREA averages all it covers when shrinking, but copies nearest pixels when enlarging.
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(crop, (width, height), interpolation=interpolation)
    mirrored = cv2.flip(resized, 1) if view.flip else resized
    return mirrored.reshape(height, width, -1)  # OpenCV drops an only channel


def _seen_flow(
    flow: Float32[np.ndarray, "rows columns 2"], view: Crop, height: int, width: int
) -> Float32[np.ndarray, "{height} {width} 2"]:
    """Return the view of a flow on the grid, in pixels of the grid."""
    rows, columns = view.window(*flow.shape[:2])
    mirror = -1 if view.flip else 1
    scale = (mirror * width / (columns.stop - columns.start), height / (rows.stop - rows.start))
    return cv2.transform(_seen(flow, view, height, width), np.diag(scale))


def _unit(
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
) -> Float32[np.ndarray, "b 3 h w"]:
    """Return images as planes of [0, 1]."""
    planes = _planes(images)
    planes *= np.float32(1 / 255)
    return planes


def _planes(arrays: Sequence[Shaped[np.ndarray, "h w c"]]) -> Float32[np.ndarray, "b c h w"]:
    """Return (b, c, h, w) float32 of arrays (h, w, c)."""
    height, width, channels = arrays[0].shape
    planes = np.empty((len(arrays), channels, height, width), np.float32)
    for plane, array in zip(planes, arrays, strict=True):
        plane[...] = array.transpose(2, 0, 1)
    return planes
