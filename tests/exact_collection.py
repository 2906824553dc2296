"""A collection of analytic scenes whose flow and camera motion are exact, not measured."""

import hashlib
import io
import tarfile
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from selfseg import storage
from selfseg.data.format import schema
from selfseg.data.format.index import IndexEntry, Span, dump_index
from selfseg.data.format.manifest import (
    Manifest,
    ShardEntry,
    VideoEntry,
    background_url,
    commit_manifest,
    index_url,
    newest_id,
    shard_url,
)
from selfseg.data.format.settings import IngestSettings
from selfseg.data.reading.collection import Collection
from tests.synthetic import Scene

Sample = tuple[str, dict[str, bytes]]

FLOW_SHARE = 0.5
"""Rows and columns of the flow grid, in those of the frames."""


def write_collection(
    url: str,
    scenes: Mapping[str, Scene],
    *,
    gaps: tuple[int, ...] = (1, 2),
    shares: Sequence[float] = (0.2, 0.5, 0.3),
    with_flow: bool = True,
    with_masks: bool = False,
    with_backgrounds: bool = False,
    published: bool = True,
) -> Manifest:
    """Write `scenes` by name; shard i holds `shares[i]` of all frames, drawn from all videos.

    `published`: otherwise all but the manifest is written, which is returned.
    """
    used = gaps if with_flow else ()
    samples = [
        (key, parts if with_masks else {part: parts[part] for part in parts if part != schema.MASK})
        for name in sorted(scenes)
        for key, parts in _samples(name, scenes[name], used)
    ]
    order = np.random.default_rng(0).permutation(len(samples))
    bounds = np.rint(np.cumsum([0, *shares]) * len(samples)).astype(int)
    shards = [
        _write_shard(url, [samples[i] for i in sorted(order[first:last])])
        for first, last in pairwise(bounds)
    ]
    manifest = Manifest(
        settings=IngestSettings(gaps=gaps, flow="dis" if with_flow else "none"),
        shard_bytes=2**20,
        videos=tuple(
            VideoEntry(
                id=video_id(name),
                name=name,
                frames=len(scenes[name].frames),
                sha256=hashlib.sha256(scenes[name].frames.tobytes()).hexdigest(),
                masks_sha256=None,
                background=_write_background(url, scenes[name]) if with_backgrounds else None,
            )
            for name in sorted(scenes)
        ),
        skipped=(),
        shards=tuple(sorted(shards, key=lambda shard: shard.name)),
        parent=newest_id(url),
    )
    if published:
        commit_manifest(url, manifest, manifest.parent)
    return manifest


def damage(collection: Collection, key: str) -> ShardEntry:
    """Flip a bit of a sample's image; return the shard that it lies in."""
    ordinal = collection.ordinal(key)
    number = bisect_right(list(accumulate(collection.counts)), ordinal)
    shard = collection.manifest.shards[number]
    url = shard_url(collection.url, shard.name)
    content = bytearray(storage.read(url))
    content[collection.record(ordinal).parts[schema.IMAGE].offset] ^= 1
    if storage.is_remote(url):
        storage.write(url, bytes(content))
    else:
        Path(url).write_bytes(content)  # in place: who has it open finds it changed, too
    return shard


def video_id(name: str) -> str:
    return f"{name}-00000000"


def _samples(name: str, scene: Scene, gaps: tuple[int, ...]) -> list[Sample]:
    return [
        (schema.sample_key(video_id(name), frame), _parts(name, scene, frame, gaps))
        for frame in range(len(scene.frames))
    ]


def _parts(name: str, scene: Scene, frame: int, gaps: tuple[int, ...]) -> dict[str, bytes]:
    height, width = scene.frames.shape[1:3]
    held = [gap for gap in gaps if frame + gap < len(scene.frames)]
    parts = {
        schema.IMAGE: schema.encode_image(scene.frames[frame], 95),
        schema.MASK: schema.encode_mask(scene.masks[frame]),
    }
    for gap in held:
        there, back = scene.flow(frame, frame + gap), scene.flow(frame + gap, frame)
        parts[schema.forward_part(gap)] = schema.encode_flow(_on_flow_grid(there))
        parts[schema.backward_part(gap)] = schema.encode_flow(_on_flow_grid(back))
    meta = schema.Meta(
        video=name,
        source=f"{name}.mp4",
        frame=frame,
        time_s=frame / 10,
        height=height,
        width=width,
        source_height=height,
        source_width=width,
        flow_height=round(height * FLOW_SHARE) if gaps else 0,
        flow_width=round(width * FLOW_SHARE) if gaps else 0,
        pairs={gap: _camera(scene, gap) for gap in held},
    )
    parts[schema.META] = meta.model_dump_json().encode()
    return parts


def _on_flow_grid(flow: np.ndarray) -> np.ndarray:
    stride = round(1 / FLOW_SHARE)
    return np.ascontiguousarray(flow[::stride, ::stride]) * np.float32(FLOW_SHARE)


def _camera(scene: Scene, gap: int) -> schema.PairMeta:
    """The background pans: a constant, whichever the model."""
    x, y = (speed * gap * FLOW_SHARE for speed in scene.pan)
    rest = (0.0,) * 5
    return schema.PairMeta(
        homography=((1, 0, x), (0, 1, y), (0, 0, 1)),
        inlier_share=1,
        camera_forward=((x, *rest), (y, *rest)),
        camera_backward=((-x, *rest), (-y, *rest)),
    )


def _write_background(url: str, scene: Scene) -> str:
    """Write what is behind a disc that is nowhere in half of the frames."""
    data = schema.encode_lossless(np.median(scene.frames, axis=0).astype(np.uint8))
    sha256 = hashlib.sha256(data).hexdigest()
    storage.write(background_url(url, sha256), data)
    return sha256


def _write_shard(url: str, samples: list[Sample]) -> ShardEntry:
    buffer, entries = io.BytesIO(), []
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, parts in samples:
            spans = {}
            for part, data in sorted(parts.items()):
                info = tarfile.TarInfo(f"{key}.{part}")
                info.size = len(data)
                spans[part] = Span(buffer.tell() + tarfile.BLOCKSIZE, len(data), zlib.crc32(data))
                tar.addfile(info, io.BytesIO(data))
            entries.append(IndexEntry(key, spans))
    data, index = buffer.getvalue(), dump_index(entries)
    sha256 = hashlib.sha256(data).hexdigest()
    storage.write(shard_url(url, sha256[:16]), data)
    storage.write(index_url(url, sha256[:16]), index)
    return ShardEntry(
        name=sha256[:16],
        samples=len(samples),
        size=len(data),
        sha256=sha256,
        index_sha256=hashlib.sha256(index).hexdigest(),
    )
