"""Which videos an argument stands for: a path, a URL, a collection."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np

from selfseg import storage
from selfseg.data.format.manifest import find_collection
from selfseg.data.format.schema import MASK
from selfseg.data.ingest.videos import IMAGE_SUFFIXES, VIDEO_SUFFIXES, video_paths
from selfseg.data.reading.collection import Collection
from selfseg.errors import UserError
from selfseg.prediction.collection_source import CollectionSource
from selfseg.prediction.sources import RemoteSource, Source, local_source
from selfseg.prediction.video_trees import RESOLUTION


def find_sources(argument: str) -> list[Source]:
    """Find what a command's argument stands for, locally or in a bucket.

    An image or a video file; a folder of frames; a folder of those; a collection; a DAVIS tree.

    Raises:
        UserError: nothing there, or nothing that shows.
    """
    if find_collection(argument):
        return list(collection_sources(argument))
    if storage.is_remote(argument):
        return _remote_sources(argument)
    path = Path(argument)
    if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        return [local_source(path, path.stem, still=True)]
    return [local_source(found, _name(found)) for found in video_paths(_frames_root(path))]


def collection_sources(url: str, *, with_masks: bool = False) -> list[CollectionSource]:
    """List a collection's videos; with_masks: only those with ground truth.

    A video of one frame is a single image.

    Raises:
        UserError: no collection, or no masks in it where they are asked for.
    """
    collection = Collection.open(url)
    masked = collection.holds(MASK)
    videos = {
        name: ordinals
        for name, ordinals in collection.videos.items()
        if not with_masks or np.any(masked[ordinals])
    }
    if not videos:
        raise UserError(f"{url}: holds no masks to score against; ingest with --masks ROOT")
    return [
        CollectionSource(
            collection.url,
            collection.manifest_id,
            name,
            tuple(ordinals),
            frozenset(np.flatnonzero(masked[ordinals]).tolist()),
            still=len(ordinals) == 1,
        )
        for name, ordinals in sorted(videos.items())
    ]


def _remote_sources(url: str) -> list[Source]:
    if storage.exists(url):
        still = PurePosixPath(url).suffix.lower() in IMAGE_SUFFIXES
        return [RemoteSource(url, PurePosixPath(url).stem, still)]
    names = storage.listing(url)
    folders = _folders_of_frames(names)
    sources: list[Source] = [
        RemoteSource(
            storage.join(url, folder) if folder else url,
            PurePosixPath(folder or url.rstrip("/")).name,
            objects=tuple(objects),
        )
        for folder, objects in sorted(folders.items())
    ]
    if "" not in folders:
        sources += [
            RemoteSource(storage.join(url, name), PurePosixPath(name).stem)
            for name in names
            if "/" not in name and PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES
        ]
    if not sources:
        raise UserError(f"{url}: nothing there that shows; name a video, an image or a folder")
    return sources


def _folders_of_frames(names: Iterable[str]) -> dict[str, list[str]]:
    """Group images by folder, none or one deep; a folder that holds images is one video alone."""
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folder, _, file = name.rpartition("/")
        if "/" not in folder and PurePosixPath(file).suffix.lower() in IMAGE_SUFFIXES:
            folders[folder].append(file)
    return {"": folders[""]} if "" in folders else dict(folders)


def _frames_root(path: Path) -> Path:
    """Return where a DAVIS tree keeps its frames; any other path as it is."""
    frames = path / "JPEGImages" / RESOLUTION
    return frames if frames.is_dir() else path


def _name(path: Path) -> str:
    return path.name if path.is_dir() else path.stem
