"""What a collection holds, for a person to read: its states, its videos, what was left out."""

import hashlib
from collections import Counter
from collections.abc import Iterable

from selfseg import storage
from selfseg.config import Config
from selfseg.data.format.damage import DamagedObject
from selfseg.data.format.holdings import several_at_once
from selfseg.data.format.index import parse_index
from selfseg.data.format.manifest import (
    Manifest,
    ShardEntry,
    SkippedEntry,
    index_url,
    lineage,
    load_manifest,
    newest_id,
    resolve,
)
from selfseg.data.format.schema import split_key
from selfseg.data.format.settings import IngestSettings


class StateSummary(Config):
    """One state of a collection."""

    id: str
    parent: str | None
    newest: bool
    videos: int
    skipped: int
    frames: int
    shards: int
    size: int
    """Bytes of all shards."""


class VideoSummary(Config):
    """One video of the described state."""

    id: str
    name: str
    frames: int
    masks: bool
    """Whether it came with ground truth."""
    background: bool
    size: int | None
    """Bytes of all its samples' parts; null: not asked for."""


class Description(Config):
    """One state of a collection, and those it grew from."""

    url: str
    states: tuple[StateSummary, ...]
    """The described one first, then its parent, and so on."""
    settings: IngestSettings
    shard_bytes: int
    """Size that shards were aimed at."""
    videos: tuple[VideoSummary, ...]
    skipped: tuple[SkippedEntry, ...]


def describe(url: str, *, sizes: bool) -> Description:
    """Describe the state of a collection that `url` names.

    Args:
        url: as everywhere, URL or URL@ID.
        sizes: whether the bytes of each video are added up, which takes reading every index.

    Raises:
        UserError: there is no such collection, or it is damaged.
    """
    place, manifest_id = resolve(url)
    newest, described = newest_id(place), load_manifest(place, manifest_id)
    of_videos = _sizes(place, described.shards) if sizes else None
    return Description(
        url=place,
        states=tuple(
            _state(i, state, newest=i == newest) for i, state in lineage(place, manifest_id)
        ),
        settings=described.settings,
        shard_bytes=described.shard_bytes,
        videos=tuple(
            VideoSummary(
                id=video.id,
                name=video.name,
                frames=video.frames,
                masks=video.masks_sha256 is not None,
                background=video.background is not None,
                size=None if of_videos is None else of_videos[video.id],
            )
            for video in described.videos
        ),
        skipped=described.skipped,
    )


def _state(manifest_id: str, manifest: Manifest, *, newest: bool) -> StateSummary:
    return StateSummary(
        id=manifest_id,
        parent=manifest.parent,
        newest=newest,
        videos=len(manifest.videos),
        skipped=len(manifest.skipped),
        frames=manifest.frames,
        shards=len(manifest.shards),
        size=manifest.size,
    )


def _sizes(collection: str, shards: Iterable[ShardEntry]) -> Counter[str]:
    """Add up the bytes of each video's parts, by its id."""

    def of_shard(shard: ShardEntry) -> Counter[str]:
        found: Counter[str] = Counter()
        url = index_url(collection, shard.name)
        data = storage.read(url)
        if hashlib.sha256(data).hexdigest() != shard.index_sha256:
            raise DamagedObject(
                f"{url}: damaged: its sha256 differs; "
                f"mend it with tools/collection.py verify {collection} --repair"
            )
        for entry in parse_index(data):
            found[split_key(entry.key)[0]] += sum(span.size for span in entry.parts.values())
        return found

    together: Counter[str] = Counter()
    for _, found in several_at_once(of_shard, shards):
        together += found
    return together
