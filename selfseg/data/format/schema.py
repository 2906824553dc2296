"""What one sample of a shard holds: part names, encodings, units.

A sample is one frame with the flow to its later neighbours, under the key
`{video_id}_{frame:08d}`:

    image.jpg             the frame, RGB
    forward_{gap}.png     flow from this frame to frame + gap, on this frame's grid
    backward_{gap}.png    flow from frame + gap to this frame, on the grid of frame + gap
    mask.png              optional ground truth at the source's size; for evaluation only
    meta.json             `Meta`

Flow is (x, y) in pixels of its own grid, stored as one 16-bit grey PNG that holds x above y.
Why half the frame's height, in 1/32 pixel, is the default: docs/ingest.md has what else was tried.
"""

from typing import Annotated

import cv2
import numpy as np
from annotated_types import Len
from jaxtyping import Bool, Float32, Shaped, UInt8

from selfseg.config import Config

IMAGE = "image.jpg"
MASK = "mask.png"
META = "meta.json"

FLOW_UNITS_PER_PIXEL = 32
FLOW_LIMIT_PX = 2**15 / FLOW_UNITS_PER_PIXEL
"""Larger displacements are clipped to this; in pixels of the stored grid."""

Triple = tuple[float, float, float]
Six = Annotated[tuple[float, ...], Len(6, 6)]


class PairMeta(Config):
    """What is known of the camera between a frame and the one `gap` later."""

    homography: tuple[Triple, Triple, Triple]
    """From this frame to the later one, in pixels of the flow grid; the last entry is 1."""

    inlier_share: float
    """Share of tracked corners that agree with `homography`; 0: it is a mere translation."""

    camera_forward: tuple[Six, Six]
    """Quadratic camera motion fitted to the forward flow; see `ops.camera`."""

    camera_backward: tuple[Six, Six]
    """The same for the backward flow."""


class Meta(Config):
    """What is known of a frame; sizes in pixels."""

    video: str
    """Id of the video."""
    source: str
    """Name of the file or folder the frame came from, without its path."""
    frame: int
    time_s: float | None
    """Since the start of the video; null for a folder of frames, which has no clock."""
    height: int
    width: int
    source_height: int
    source_width: int
    flow_height: int
    """Grid of every flow of this sample; 0 when it has none."""
    flow_width: int
    pairs: dict[int, PairMeta]
    """By gap; a gap that would lead past the last frame is absent."""


def sample_key(video_id: str, frame: int) -> str:
    """Name a sample; keys sort by video, then by frame."""
    return f"{video_id}_{frame:08d}"


def split_key(key: str) -> tuple[str, int]:
    """Return the video's id and the frame's number, the inverse of `sample_key`."""
    video_id, _, frame = key.rpartition("_")
    return video_id, int(frame)


def forward_part(gap: int) -> str:
    """Name the part with the flow from a frame to the one `gap` later."""
    return f"forward_{gap}.png"


def backward_part(gap: int) -> str:
    """Name the part with the flow back from the frame `gap` later."""
    return f"backward_{gap}.png"


def encode_image(image: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    """Compress an RGB image as JPEG of `quality` 1..100."""
    return _encode(".jpg", image[..., ::-1], cv2.IMWRITE_JPEG_QUALITY, quality)


def encode_lossless(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Compress an RGB image without loss, as PNG."""
    return _encode(".png", image[..., ::-1])


def decode_image(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Return an RGB image."""
    return _decode(data, cv2.IMREAD_COLOR_RGB)


def encode_flow(flow: Float32[np.ndarray, "h w 2"]) -> bytes:
    """Compress a flow in pixels, rounded to 1/32 pixel and clipped to +-1024 pixels."""
    units = np.rint(flow * np.float32(FLOW_UNITS_PER_PIXEL)) + np.float32(2**15)
    stacked = np.concatenate([units[..., 0], units[..., 1]]).clip(0, 2**16 - 1).astype(np.uint16)
    strategy = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
    return _encode(".png", stacked, cv2.IMWRITE_PNG_COMPRESSION, 1, *strategy)


def decode_flow(data: bytes) -> Float32[np.ndarray, "h w 2"]:
    """Return a flow in pixels, the inverse of `encode_flow` to within 1/64 pixel."""
    stacked = _decode(data, cv2.IMREAD_UNCHANGED)
    height = len(stacked) // 2
    units = np.stack([stacked[:height], stacked[height:]], axis=-1).astype(np.float32)
    return (units - np.float32(2**15)) / np.float32(FLOW_UNITS_PER_PIXEL)


def encode_mask(mask: Bool[np.ndarray, "h w"]) -> bytes:
    """Compress a mask as a grey PNG of 0 and 255."""
    return _encode(".png", mask.astype(np.uint8) * np.uint8(255))


def decode_mask(data: bytes) -> Bool[np.ndarray, "h w"]:
    """Return a mask: true where the PNG is not 0."""
    return decode_grey(data) > 0


def decode_grey(data: bytes) -> UInt8[np.ndarray, "h w"]:
    """Return an image's grey levels, or a mask's labels."""
    return _decode(data, cv2.IMREAD_GRAYSCALE)


def _encode(extension: str, array: Shaped[np.ndarray, "..."], *options: int) -> bytes:
    done, data = cv2.imencode(extension, array, options)
    assert done
    return data.tobytes()


def _decode(data: bytes, flag: int) -> Shaped[np.ndarray, "..."]:
    """Decode an image file.

    Raises:
        ValueError: `data` is not an image OpenCV reads.
    """
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    if array is None:
        raise ValueError("not an image, or a damaged one")
    return array
