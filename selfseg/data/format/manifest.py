"""What a collection holds: an immutable manifest, and the pointer to the newest one.

Under the collection's URL:

    LATEST                     id of the newest manifest
    manifest-<id>.json         `Manifest`; the id is the SHA-256 of the file
    shards/<name>.tar          plain WebDataset tars; the name is the head of their SHA-256
    shards/<name>.idx          see `selfseg.data.format.index`
    catalogues/<sha256>.json   see `selfseg.data.format.catalogue`
    backgrounds/<sha256>.png   scenes without what moves, of videos from a camera at rest

A collection grows by a manifest whose parent is the one before: what that names stays where it is.
Readers say which state they mean, by `URL@<head of a manifest's id>`, or take the newest.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from selfseg import storage
from selfseg.config import Config
from selfseg.data.format.settings import IngestSettings
from selfseg.errors import UsageError, UserError

LATEST = "LATEST"
NAMED_MANIFEST = "manifest-{}.json"
SHARD, INDEX = "shards/{}.tar", "shards/{}.idx"
CATALOGUE, BACKGROUND = "catalogues/{}.json", "backgrounds/{}.png"
"""Names of a collection's objects, relative to its URL."""

MANIFEST = re.compile(r"manifest-([0-9a-f]{64})\.json")

WITH_HEAD = re.compile(r"(.+)@([0-9a-f]{1,64})/?")
"""A collection's URL and the head of a manifest's id."""

HEAD_DIGITS = 8
"""Digits of an id that name it at least; fewer may be too few once the collection has grown."""

SHOWN_DIGITS = 16
"""Digits of an id by which we name it ourselves."""


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _leads_nowhere(name: str) -> str:
    """Refuse a name that would lead out of the folder that it is joined to."""
    if not name or name in {".", ".."} or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is a path, not a name")
    return name


Name = Annotated[str, AfterValidator(_leads_nowhere)]
"""URLs and paths are made of it; whoever may write to a bucket may have chosen it."""


class VideoEntry(Config):
    """One ingested video."""

    id: Name
    """Prefix of its samples' keys: a slug of its name and the head of its content's SHA-256."""
    name: Name
    """Name of its file without suffix, or of its folder; the name its masks are found by."""
    frames: int
    sha256: str
    """Of the file, or of the frames of the folder in order."""
    masks_sha256: str | None
    """Of its ground-truth masks in order; none were given: null."""
    background: Sha256 | None = None
    """SHA-256, and name, of the image of its scene without what moves; not looked for: null."""


class SkippedEntry(Config):
    """One video that could not be ingested."""

    name: str
    sha256: str
    masks_sha256: str | None
    reason: str


class ShardEntry(Config):
    """One shard."""

    name: Name
    samples: int
    size: int
    """Bytes of the tar."""
    sha256: Sha256
    """Of the tar."""
    index_sha256: Sha256


class Manifest(Config):
    """One state of a collection; equal inputs and an equal parent give an equal manifest."""

    settings: IngestSettings
    shard_bytes: int
    """Size that shards were aimed at."""
    videos: tuple[VideoEntry, ...]
    """Sorted by id."""
    skipped: tuple[SkippedEntry, ...]
    shards: tuple[ShardEntry, ...]
    """Sorted by name."""
    catalogues: tuple[Sha256, ...] = ()
    """SHA-256, and names, of what tells which samples these shards hold; sorted. Shards that none
    tells of, of collections older than catalogues, are known by their indexes alone."""
    parent: Sha256 | None = None
    """Id of the manifest this one grew from."""

    @property
    def id(self) -> str:
        """SHA-256 of the manifest's canonical JSON."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def frames(self) -> int:
        """Number of samples."""
        return sum(shard.samples for shard in self.shards)

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size for shard in self.shards)

    def to_bytes(self) -> bytes:
        """Return the canonical JSON."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def shard_url(collection: str, name: str) -> str:
    """Address a shard's tar."""
    return storage.join(collection, SHARD.format(name))


def index_url(collection: str, name: str) -> str:
    """Address a shard's index."""
    return storage.join(collection, INDEX.format(name))


def catalogue_url(collection: str, sha256: str) -> str:
    """Address what tells which samples some shards hold."""
    return storage.join(collection, CATALOGUE.format(sha256))


def background_url(collection: str, sha256: str) -> str:
    """Address the image of a video's background."""
    return storage.join(collection, BACKGROUND.format(sha256))


def manifest_url(collection: str, manifest_id: str) -> str:
    """Address a manifest."""
    return storage.join(collection, NAMED_MANIFEST.format(manifest_id))


def newest_id(collection: str) -> str | None:
    """Return the id of the collection's newest manifest; None when there is no collection."""
    try:
        return storage.read(storage.join(collection, LATEST)).decode().strip()
    except storage.MissingObject:
        return None


def manifest_ids(collection: str) -> list[str]:
    """Return the ids of all manifests at `collection`, sorted; the newest need not know them."""
    names = map(MANIFEST.fullmatch, storage.entries(collection))
    return [name[1] for name in names if name]


def find_collection(url: str) -> tuple[str, str] | None:
    """Split `url` into where its collection lies and the head of an id that it ends in, or "".

    None: there is no collection. An "@" may also be part of a folder's name. A collection that has
    lost its `LATEST` is one.
    """
    named = WITH_HEAD.fullmatch(url)
    for place, head in [(url, ""), *([(named[1], named[2])] if named else [])]:
        if storage.exists(storage.join(place, LATEST)) or manifest_ids(place):
            return place, head
    return None


def resolve(url: str) -> tuple[str, str]:
    """Return where the collection at `url` lies, and the id of the manifest that `url` names.

    Raises:
        UserError: there is no collection, or not exactly one manifest of this name.
    """
    place, head = find_collection(url) or (url, "")
    if not head:
        newest = newest_id(place)
        if newest is None:
            raise no_collection(place)
        return place, newest
    ids = manifest_ids(place)
    found = [manifest_id for manifest_id in ids if manifest_id.startswith(head)]
    if len(head) >= HEAD_DIGITS and len(found) == 1:
        return place, found[0]
    problem = (
        f"{head} is too short, {HEAD_DIGITS} digits at least name a manifest"
        if len(head) < HEAD_DIGITS
        else f"{len(found) or 'no'} manifests here begin with {head}"
    )
    there = ", ".join(manifest_id[: max(SHOWN_DIGITS, len(head) + 4)] for manifest_id in ids)
    raise UsageError(f"{url}: {problem}; there are {there}")


def lineage(collection: str, manifest_id: str | None = None) -> Iterator[tuple[str, Manifest]]:
    """Yield a manifest with its id, the one it grew from, and so on to the first.

    It is the newest one unless an id is given.
    """
    manifest_id = manifest_id or newest_id(collection)
    while manifest_id:
        manifest = load_manifest(collection, manifest_id)
        yield manifest_id, manifest
        manifest_id = manifest.parent


def load_manifest(collection: str, manifest_id: str | None = None) -> Manifest:
    """Read a collection's manifest, the newest unless an id is given.

    Raises:
        UserError: there is no collection at this URL, or its manifest is damaged.
    """
    manifest_id = manifest_id or newest_id(collection)
    if manifest_id is None:
        raise no_collection(collection)
    url = manifest_url(collection, manifest_id)
    data = storage.read(url)
    if hashlib.sha256(data).hexdigest() != manifest_id:
        raise UserError(f"{url}: damaged: its content does not match its name; write it again")
    return Manifest.parse(json.loads(data), origin=url)


def commit_manifest(collection: str, manifest: Manifest, expected: str | None) -> None:
    """Publish `manifest` as the newest, if the newest still is `expected`.

    Every shard and index it names must be there already: readers may start at once.

    Raises:
        storage.Conflict: someone else published in the meantime.
    """
    storage.write(manifest_url(collection, manifest.id), manifest.to_bytes())
    point_to(collection, manifest.id, expected)


def point_to(collection: str, manifest_id: str, expected: str | None) -> None:
    """Make a manifest that is there the newest, if the newest still is `expected`.

    Raises:
        storage.Conflict: someone else published in the meantime.
    """
    storage.replace(
        storage.join(collection, LATEST),
        f"{manifest_id}\n".encode(),
        None if expected is None else f"{expected}\n".encode(),
    )


def no_collection(url: str) -> UserError:
    """Say why there is no newest state at `url`, and what to do."""
    if manifest_ids(url):
        return UserError(
            f"{url}: holds manifests, but no {LATEST}, which names the newest; repeat the copy "
            f"that was interrupted, or restore it by tools/collection.py verify {url} --repair"
        )
    return UserError(f"{url}: no collection here; write one with tools/shard_videos.py")
