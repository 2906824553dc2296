"""What is known of one sample of a collection, in words and as a picture."""

from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from selfseg import storage
from selfseg.data.format.schema import (
    IMAGE,
    MASK,
    META,
    Meta,
    decode_flow,
    decode_image,
    decode_mask,
    encode_lossless,
    forward_part,
)
from selfseg.data.reading.collection import Collection, Record
from selfseg.data.reading.lookup import find_sample
from selfseg.errors import UsageError
from selfseg.ops.camera import quadratic_flow
from selfseg.ops.colours import flow_image, overlay

Picture = UInt8[np.ndarray, "h w 3"]
Motion = tuple[Float[np.ndarray, "rows columns 2"], Float[np.ndarray, "rows columns 2"]]

COLUMNS = 2
CAPTION_ROWS = 18
"""Height of the white strip above a picture that says what it is, pixels."""


def show_sample(url: str, wanted: str, *, gap: int | None, output: str | None) -> Iterator[str]:
    """Draw a sample and yield, line by line, what is known of it.

    Args:
        url: of the collection, as everywhere.
        wanted: the sample's key, or VIDEO/FRAME.
        gap: frames between the two ends of the flow that is drawn; None: the smallest there is.
        output: URL of the picture, a PNG; None: named by the key, in the current folder.

    Raises:
        UsageError: no such sample, or it has no such flow.
        UserError: the collection is damaged, or the picture cannot be written.
    """
    collection = Collection.open(url, fetch=False)
    record = collection.record(find_sample(collection, wanted))
    output = output or f"{record.key}.png"
    if not output.endswith(".png"):
        raise UsageError(f"--output {output}: the picture is a PNG; give a name that ends in .png")
    parts = {part: record.read(part) for part in record.parts}
    meta = Meta.model_validate_json(parts[META])
    drawn = _drawn_gap(record.key, meta, gap)
    motion = None if drawn is None else _motion(parts, meta, drawn)
    yield from _words(record, meta)
    yield f"shard   {collection.place(record.ordinal)[0].url}"
    yield f"parts   {len(parts)}, all intact:"
    for part, span in sorted(record.parts.items()):
        yield f"  {part:16} {span.size:>9,} bytes  crc32 {span.crc32:08x}"
    for number, pair in sorted(meta.pairs.items()):
        yield f"gap {number:<4}homography: {_agreement(pair.inlier_share)}"
    if motion:
        total, own = (float(np.median(np.linalg.norm(field, axis=-1))) for field in motion)
        yield f"motion  over {drawn}: median {total:.2f} px, {own:.2f} px without the camera's"
    storage.write(output, encode_lossless(_sheet(_pictures(parts, motion, drawn))))
    yield f"drawn   {output}"


def _drawn_gap(key: str, meta: Meta, gap: int | None) -> int | None:
    """Choose the flow that is drawn; None: the sample has none."""
    if gap is None:
        return min(meta.pairs, default=None)
    if gap not in meta.pairs:
        held = ", ".join(map(str, sorted(meta.pairs))) or "none"
        raise UsageError(f"--gap {gap}: {key} has no flow over {gap} frames; it has over: {held}")
    return gap


def _motion(parts: Mapping[str, bytes], meta: Meta, gap: int) -> Motion:
    """Return the flow to a later frame, and what is left of it without the camera's share."""
    flow = decode_flow(parts[forward_part(gap)])
    camera = quadratic_flow(np.array(meta.pairs[gap].camera_forward), *flow.shape[:2])
    return flow, flow - camera


def _words(record: Record, meta: Meta) -> Iterator[str]:
    when = "" if meta.time_s is None else f", at {meta.time_s:.3f} s"
    yield f"key     {record.key}"
    yield f"video   {meta.video}, from {meta.source}"
    yield f"frame   {meta.frame}{when}"
    flow = f"; flow {meta.flow_width}x{meta.flow_height}" if meta.pairs else "; no flow"
    source = f"{meta.source_width}x{meta.source_height}"
    yield f"size    {meta.width}x{meta.height}, of {source} in the source{flow}"


def _agreement(inlier_share: float) -> str:
    if inlier_share == 0:
        return "none was found, a translation takes its place"
    return f"{100 * inlier_share:.0f} % of the tracked corners agree"


def _pictures(
    parts: Mapping[str, bytes], motion: Motion | None, gap: int | None
) -> dict[str, Picture]:
    """Name every picture there is, all of the frame's stored size."""
    image = decode_image(parts[IMAGE])
    height, width = image.shape[:2]
    pictures = {"frame": image}
    for name, flow in zip((f"flow over {gap}", "own motion"), motion or (), strict=False):
        pictures[name] = cv2.resize(flow_image(flow), (width, height))
    if MASK in parts:
        mask = decode_mask(parts[MASK]).astype(np.uint8)
        shrunk = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
        pictures["mask"] = overlay(image, shrunk > 0)
    return pictures


def _sheet(pictures: Mapping[str, Picture]) -> Picture:
    """Lay pictures of one size out in rows, each below its name."""
    tiles = [_captioned(name, picture) for name, picture in pictures.items()]
    columns = min(COLUMNS, len(tiles))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    return np.concatenate([_row(tiles[n : n + columns]) for n in range(0, len(tiles), columns)])


def _row(tiles: Sequence[Picture]) -> Picture:
    return np.concatenate(tiles, axis=1)


def _captioned(name: str, picture: Picture) -> Picture:
    strip = np.full((CAPTION_ROWS, *picture.shape[1:]), 255, np.uint8)
    cv2.putText(strip, name, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([strip, picture])
