"""A collection opened for reading: any sample by its ordinal or its key, part by part.

Ordinals count samples shard by shard, in the manifest's order. Which samples there are is read at
once, from the catalogue; where their parts lie, from a shard's index when it is first used. Shards
of a local collection are read in place; those of a remote one are fetched whole on first use, into
`selfseg.data.reading.cache`.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import accumulate
from typing import TypeVar

import numpy as np
from isal import isal_zlib
from jaxtyping import Bool

from selfseg import storage
from selfseg.data.format.catalogue import Catalogue, Row, Stretch, stretches
from selfseg.data.format.damage import DamagedObject, of_shard
from selfseg.data.format.index import Span
from selfseg.data.format.manifest import (
    Manifest,
    background_url,
    load_manifest,
    resolve,
    shard_url,
)
from selfseg.data.format.schema import META, Meta, split_key
from selfseg.data.reading.objects import told_by_catalogues, verified
from selfseg.data.reading.opening import OpenShards
from selfseg.data.reading.shards import Shard
from selfseg.errors import UserError

Decoded = TypeVar("Decoded")


class Record:
    """One sample.

    ordinal: its place in the collection
    """

    __slots__ = ("_collection", "_whole", "ordinal")

    def __init__(self, collection: "Collection", ordinal: int, *, whole: bool) -> None:
        """Take a sample; its shard is opened when something of it is asked for."""
        self._collection, self.ordinal, self._whole = collection, ordinal, whole

    @property
    def key(self) -> str:
        """Its name; see `selfseg.data.format.schema`."""
        return self._collection.key(self.ordinal)

    @property
    def parts(self) -> dict[str, Span]:
        """Where each of its parts lies in its shard, by name."""
        shard, row = self._collection.place(self.ordinal, whole=self._whole)
        return shard.parts(row)

    def read(self, part: str) -> bytes:
        """Return a part's bytes, verified.

        Raises:
            UserError: the sample has no such part.
            DamagedShard: the shard is damaged or gone.
        """
        shard, row = self._collection.place(self.ordinal, whole=self._whole)
        try:
            return self._bytes(shard, row, part)
        except (DamagedObject, storage.StorageError) as error:
            if not self._collection.renews(self.ordinal, shard):
                raise self._collection.damage(self.ordinal, error) from None
        shard, row = self._collection.place(self.ordinal, whole=self._whole)
        try:
            return self._bytes(shard, row, part)
        except (DamagedObject, storage.StorageError) as error:
            raise self._collection.damage(self.ordinal, error) from None

    def decoded(self, part: str, decode: Callable[[bytes], Decoded]) -> Decoded:
        """Return what `decode` makes of a part's bytes.

        Raises:
            UserError: the sample has no such part.
            DamagedShard: as `read`, or `decode` raised a ValueError.
        """
        data = self.read(part)
        try:
            return decode(data)
        except ValueError as error:
            shard, _ = self._collection.place(self.ordinal, whole=self._whole)
            reason = str(error).splitlines()[0]
            raise self._collection.damage(
                self.ordinal, self._damaged(shard, part, reason)
            ) from None

    def _damaged(self, shard: Shard, part: str, how: str) -> DamagedObject:
        return DamagedObject(
            f"{shard.url}: damaged at {self.key}.{part}: {how}; "
            "delete the file and fetch or ingest it again"
        )

    def _bytes(self, shard: Shard, row: int, part: str) -> bytes:
        span = shard.span(row, part)
        if span is None:
            raise UserError(f"{self.key}: the collection holds no {part} of it; ingest it again")
        data = shard.read(span)
        if self._collection.verifies and isal_zlib.crc32(data) != span.crc32:
            raise self._damaged(shard, part, "its checksum differs")
        return data

    def meta(self) -> Meta:
        """Read what is known of the frame."""
        return self.decoded(META, Meta.model_validate_json)


class Collection:
    """Random access to one state of a collection; safe to hand to other processes.

    url: where it lies
    manifest: the state that was opened
    manifest_id: its id
    counts: samples per shard
    verifies: whether every part that is read is compared with its checksum
    """

    def __init__(
        self,
        url: str,
        manifest: Manifest,
        manifest_id: str,
        *,
        verify: bool = True,
        fetch: bool = True,
    ) -> None:
        """Read which samples `manifest` at `url` names; see `open`."""
        # Not the manifest's own: a setting that came later would change it.
        self.url, self.manifest, self.manifest_id = url, manifest, manifest_id
        self.counts = tuple(shard.samples for shard in manifest.shards)
        self.verifies = verify
        self._shards = OpenShards(url, manifest.shards, fetch=fetch)
        self._ends = list(accumulate(self.counts))
        self._catalogue = Catalogue(self._held())
        if key := self._catalogue.repeated:
            raise UserError(f"{url}: damaged: sample {key} is in its shards twice; ingest again")
        self._backgrounds = {video.id: video.background for video in manifest.videos}

    @classmethod
    def open(
        cls, url: str, manifest_id: str | None = None, *, verify: bool = True, fetch: bool = True
    ) -> "Collection":
        """Open the collection at `url`, in the state that a manifest's id says.

        Without an id, `url` may say it, see `resolve`; else the newest state is opened.

        Args:
            url: of the collection.
            manifest_id: of the state.
            verify: compare every part that is read with its checksum.
            fetch: fetch remote shards whole; otherwise each part is read where it lies, which
                suits who looks at a few samples.

        Raises:
            UserError: there is no collection, no such manifest, or it is damaged.
        """
        place, found = (url, manifest_id) if manifest_id else resolve(url)
        return cls(place, load_manifest(place, found), found, verify=verify, fetch=fetch)

    def __len__(self) -> int:
        return len(self._catalogue)

    def key(self, ordinal: int) -> str:
        """Return a sample's key."""
        return self._catalogue.key(ordinal)

    def ordinal(self, key: str) -> int:
        """Return a sample's ordinal.

        Raises:
            UserError: the collection has no such sample.
        """
        video_id, _, frame = key.rpartition("_")
        found = self._catalogue.find(video_id, int(frame)) if frame.isdecimal() else None
        if found is None or self.key(found) != key:
            raise UserError(f"{self.url}: holds no sample {key}; ingest its video again")
        return found

    def holds(self, part: str) -> Bool[np.ndarray, " samples"]:
        """Tell which samples have a part of this name."""
        return self._catalogue.holds(part)

    def record(self, ordinal: int, *, whole: bool = True) -> Record:
        """Open one sample.

        Args:
            ordinal: of the sample.
            whole: fetch its shard whole if it is remote, for others of it will be read as well;
                otherwise only if it is not here already, what is asked for is read where it lies.
        """
        return Record(self, ordinal, whole=whole)

    def place(self, ordinal: int, *, whole: bool = True) -> tuple[Shard, int]:
        """Return the shard that holds a sample, open, and the sample's row in it; see `record`.

        Raises:
            DamagedShard: the shard, or its index, is damaged or gone.
        """
        number = bisect_right(self._ends, ordinal)
        try:
            shard = self._shards.open(number, whole=whole)
        except (DamagedObject, storage.StorageError) as error:
            raise self.damage(ordinal, error) from None
        return shard, ordinal - (self._ends[number] - self.counts[number])

    def renews(self, ordinal: int, shard: Shard) -> bool:
        """Close a sample's shard if another copy may be sound; see `OpenShards.renews`."""
        return self._shards.renews(bisect_right(self._ends, ordinal), shard)

    def damage(self, ordinal: int, error: UserError) -> UserError:
        """Return what is wrong with a sample's shard, as told by what could not be read of it."""
        shard = self.manifest.shards[bisect_right(self._ends, ordinal)]
        return of_shard(shard, shard_url(self.url, shard.name), error, what=self.key(ordinal))

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
        return verified(background_url(self.url, sha256), sha256)

    def of_videos(self, video_ids: Container[str]) -> Bool[np.ndarray, " samples"]:
        """Tell which samples are frames of these videos."""
        return self._catalogue.of_videos(video_ids)

    @cached_property
    def videos(self) -> dict[str, list[int]]:
        """Ordinals of each video's frames, in order; a name used twice becomes the video's id."""
        uses = Counter(video.name for video in self.manifest.videos)
        return {
            video.name if uses[video.name] == 1 else video.id: self._catalogue.frames_of(
                video.id
            ).tolist()
            for video in self.manifest.videos
        }

    def _held(self) -> list[list[Row] | list[Stretch]]:
        """Return what each shard holds: as a catalogue tells, or else its index."""
        told: dict[str, list[Row] | list[Stretch]] = {}
        told |= told_by_catalogues(self.url, self.manifest.catalogues)
        names = [shard.name for shard in self.manifest.shards]
        untold = [number for number, name in enumerate(names) if name not in told]
        with ThreadPoolExecutor(8) as pool:
            for number, entries in zip(untold, pool.map(self._shards.index, untold), strict=True):
                told[names[number]] = stretches(entries)
        return [told[name] for name in names]
