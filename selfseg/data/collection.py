"""A collection opened for reading: any sample by its ordinal or its key, part by part.

Ordinals count samples shard by shard, in the manifest's order. Shards of a local collection are
read in place; those of a remote one are fetched whole on first use, into `selfseg.data.cache`.
"""

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import Bool, Int64

from selfseg import storage
from selfseg.data import cache
from selfseg.data.damage import DamagedObject, DamagedShard, reading
from selfseg.data.index import IndexEntry, Span, parse_index
from selfseg.data.manifest import (
    Manifest,
    ShardEntry,
    background_url,
    index_url,
    load_manifest,
    resolve,
    shard_url,
)
from selfseg.data.schema import META, Meta, split_key
from selfseg.errors import UserError

ABSENT = -1


@dataclass(frozen=True, slots=True)
class Record:
    """One sample.

    key: see `selfseg.data.schema`
    parts: where each of its parts lies in its shard, by name
    """

    key: str
    parts: Mapping[str, Span]
    _source: Callable[[str, Span], bytes]

    def read(self, part: str) -> bytes:
        """Return a part's bytes, verified.

        Raises:
            UserError: the sample has no such part, or the shard is damaged or gone.
        """
        if part not in self.parts:
            raise UserError(f"{self.key}: the collection holds no {part} of it; ingest it again")
        return self._source(part, self.parts[part])

    def meta(self) -> Meta:
        """Read what is known of the frame."""
        return Meta.model_validate_json(self.read(META))


class Collection:
    """Random access to one state of a collection; safe to hand to other processes.

    manifest: the state that was opened
    manifest_id: its id
    counts: samples per shard
    """

    def __init__(self, url: str, manifest: Manifest, manifest_id: str) -> None:
        """Read the indexes of `manifest` at `url`."""
        # Not the manifest's own: a setting that came later would change it.
        self.url, self.manifest, self.manifest_id = url, manifest, manifest_id
        self.counts = tuple(shard.samples for shard in manifest.shards)
        self._starts = np.concatenate([[0], np.cumsum(self.counts, dtype=np.int64)])
        with ThreadPoolExecutor(8) as pool:
            shards = list(pool.map(self._index, manifest.shards))
        entries = [entry for shard in shards for entry in shard]
        # Rows of numbers, not objects: a process per worker and loader holds them all.
        self._parts = tuple(sorted({part for entry in entries for part in entry.parts}))
        self._spans = _table(entries, self._parts)
        self._keys = np.array([entry.key.encode() for entry in entries], dtype=np.bytes_)
        self._by_key = np.argsort(self._keys, kind="stable")
        self._require_each_once()
        self._backgrounds = {video.id: video.background for video in manifest.videos}

    @classmethod
    def open(cls, url: str, manifest_id: str | None = None) -> "Collection":
        """Open the collection at `url`, in the state that a manifest's id says.

        Without an id, `url` may say it, see `resolve`; else the newest state is opened.

        Raises:
            UserError: there is no collection, no such manifest, or it is damaged.
        """
        place, found = (url, manifest_id) if manifest_id else resolve(url)
        return cls(place, load_manifest(place, found), found)

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, ordinal: int) -> str:
        """Return a sample's key."""
        return self._keys[ordinal].decode()

    def ordinal(self, key: str) -> int:
        """Return a sample's ordinal.

        Raises:
            UserError: the collection has no such sample.
        """
        wanted = np.bytes_(key.encode())
        place = int(np.searchsorted(self._keys, wanted, sorter=self._by_key))
        if place == len(self) or self._keys[self._by_key[place]] != wanted:
            raise UserError(f"{self.url}: holds no sample {key}; ingest its video again")
        return int(self._by_key[place])

    def holds(self, part: str) -> Bool[np.ndarray, " samples"]:
        """Tell which samples have a part of this name."""
        if part not in self._parts:
            return np.zeros(len(self), dtype=np.bool_)
        return self._spans[:, self._parts.index(part), 0] != ABSENT

    def record(self, ordinal: int) -> Record:
        """Open one sample."""
        rows = zip(self._parts, self._spans[ordinal].tolist(), strict=True)
        spans = {part: Span(*row) for part, row in rows if row[0] != ABSENT}
        return Record(self.key(ordinal), spans, partial(self._read, ordinal))

    def background(self, ordinal: int) -> bytes:
        """Return the image of a sample's scene without what moves, verified.

        Raises:
            UserError: it was not looked for at ingest, or it is damaged or gone.
        """
        video_id, _ = split_key(self.key(ordinal))
        sha256 = self._backgrounds[video_id]
        if sha256 is None:
            raise UserError(
                f"{self.url}: holds no backgrounds, which this method needs; ingest videos from a "
                "camera at rest again with --background median"
            )
        return _verified(background_url(self.url, sha256), sha256)

    def of_videos(self, video_ids: Container[str]) -> Bool[np.ndarray, " samples"]:
        """Tell which samples are frames of these videos."""
        owners = (split_key(key.decode())[0] for key in self._keys)
        return np.fromiter((owner in video_ids for owner in owners), np.bool_, len(self))

    @cached_property
    def videos(self) -> dict[str, list[int]]:
        """Ordinals of each video's frames, in order; a name used twice becomes the video's id."""
        uses = Counter(video.name for video in self.manifest.videos)
        names = {v.id: v.name if uses[v.name] == 1 else v.id for v in self.manifest.videos}
        videos: dict[str, list[int]] = {name: [] for name in names.values()}
        for ordinal in self._by_key.tolist():
            video_id, _ = split_key(self.key(ordinal))
            videos[names[video_id]].append(ordinal)
        return videos

    def _read(self, ordinal: int, part: str, span: Span) -> bytes:
        shard = int(np.searchsorted(self._starts, ordinal, side="right")) - 1
        entry = self.manifest.shards[shard]
        url = shard_url(self.url, entry.name)
        with reading(entry, url, what=f"{self.key(ordinal)}.{part}"):
            place = _local(url, entry.sha256)
            data = storage.read_range(place, span.offset, span.size)
        if zlib.crc32(data) != span.crc32:
            raise DamagedShard.of(
                entry,
                f"{place}: damaged at {self.key(ordinal)}.{part}: its checksum differs; "
                "delete the file and fetch or ingest it again",
            )
        return data

    def _require_each_once(self) -> None:
        rising = self._keys[self._by_key]
        for key in rising[1:][rising[1:] == rising[:-1]]:
            raise UserError(
                f"{self.url}: damaged: sample {key.decode()} is in its shards twice; ingest again"
            )

    def _index(self, shard: ShardEntry) -> list[IndexEntry]:
        return parse_index(_verified(index_url(self.url, shard.name), shard.index_sha256))


def _verified(url: str, sha256: str) -> bytes:
    """Read an object that must have this content."""
    data = storage.read(_local(url, sha256))
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedObject(
            f"{url}: damaged: its content does not match the manifest; ingest again"
        )
    return data


def _local(url: str, sha256: str) -> str:
    return str(cache.fetch(url, sha256)) if storage.is_remote(url) else url


def _table(
    entries: list[IndexEntry], parts: tuple[str, ...]
) -> Int64[np.ndarray, "samples parts 3"]:
    """Tabulate offset, size and CRC-32 of each part, ABSENT where a sample has none."""
    absent = Span(ABSENT, 0, 0)
    spans = [entry.parts.get(part, absent) for entry in entries for part in parts]
    flat = [number for span in spans for number in (span.offset, span.size, span.crc32)]
    return np.array(flat, dtype=np.int64).reshape(len(entries), len(parts), 3)
