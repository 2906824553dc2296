"""Samples of one video as a stretch of tar, cut into runs that any shard can take over as bytes.

Where a shard goes only becomes known when the size of every video is; until then each video lies
in the collection's spool, so that a run that was interrupted does not compute it again.
"""

import hashlib
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from selfseg import storage
from selfseg.config import Config
from selfseg.data.backgrounds import MedianImage
from selfseg.data.ingesting import IngestSettings, Sample, samples
from selfseg.data.manifest import VideoEntry, background_url
from selfseg.data.schema import encode_background
from selfseg.data.sources import SourceVideo
from selfseg.data.videos import open_video

RUN_SAMPLES = 8
"""Neighbouring samples that stay together: enough to be worth a request, few enough to mix."""


class Run(Config):
    """Some consecutive samples of one video."""

    key: str
    """Of the first sample."""
    samples: int
    offset: int
    size: int
    """Bytes, in the spooled file; a multiple of tar's block."""
    crc32: int


class Ledger(Config):
    """A video that is spooled completely."""

    video: VideoEntry
    runs: tuple[Run, ...]


def spool_url(collection: str, video: SourceVideo, settings: IngestSettings, suffix: str) -> str:
    """Address a video's spooled runs ("tar") or its ledger ("json")."""
    made_of = f"{settings.model_dump_json()} {video.id} {video.sha256} {video.masks_sha256}"
    name = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    return storage.join(collection, "spool", f"{name}.{suffix}")


def spool(
    video: SourceVideo, collection: str, settings: IngestSettings, report: Callable[[int], None]
) -> Ledger:
    """Compute a video's samples and leave them in the collection's spool, the ledger last.

    Its background, if it is wanted, is at its final place by then.

    Args:
        video: what to read.
        collection: URL.
        settings: what to compute.
        report: told the number of frames done, now and then.

    Raises:
        BrokenVideoError: it cannot be read to its end; nothing is left in the spool.
        StorageError: the spool cannot be written to.
    """
    runs: list[Run] = []
    done = 0
    scene = MedianImage() if settings.background == "median" else None
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "spool.tar"
        stream = samples(open_video(video.path), video.id, settings, video.masks, scene)
        for run in write_runs(stream, path):
            runs.append(run)
            done += run.samples
            report(done)
        storage.upload(path, spool_url(collection, video, settings, "tar"))
    entry = VideoEntry(
        id=video.id,
        name=video.name,
        frames=done,
        sha256=video.sha256,
        masks_sha256=video.masks_sha256,
        background=scene and _publish_background(collection, scene),
    )
    ledger = Ledger(video=entry, runs=tuple(runs))
    ledger_url = spool_url(collection, video, settings, "json")
    storage.write(ledger_url, ledger.model_dump_json().encode())
    return ledger


def spooled(video: SourceVideo, collection: str, settings: IngestSettings) -> Ledger | None:
    """Return the ledger of a video that is in the spool already."""
    url = spool_url(collection, video, settings, "json")
    try:
        return Ledger.model_validate_json(storage.read(url))
    except storage.MissingObject:
        return None


def unspool(collection: str, videos: Iterable[SourceVideo], settings: IngestSettings) -> None:
    """Remove these videos from the spool; others may be on their way into the collection."""
    done = {
        spool_url(collection, video, settings, suffix)
        for video in videos
        for suffix in ("json", "tar")
    }
    folder = storage.join(collection, "spool")
    for name in storage.listing(folder):
        if storage.join(folder, name) in done:
            storage.delete(storage.join(folder, name))


def _publish_background(collection: str, scene: MedianImage) -> str:
    """Write the image under its SHA-256, which is returned."""
    data = encode_background(scene.result())
    sha256 = hashlib.sha256(data).hexdigest()
    storage.write(background_url(collection, sha256), data)
    return sha256


def write_runs(stream: Iterable[Sample], path: Path) -> Iterator[Run]:
    """Write `stream` to `path` and yield each run once it is written; one run is held."""
    waiting = iter(stream)
    offset = 0
    with path.open("wb") as file:
        while held := list(islice(waiting, RUN_SAMPLES)):
            data = b"".join(map(tar_members, held))
            file.write(data)
            crc32 = zlib.crc32(data)
            key = held[0].key
            yield Run(key=key, samples=len(held), offset=offset, size=len(data), crc32=crc32)
            offset += len(data)


def tar_members(sample: Sample) -> bytes:
    """Return the tar blocks of one sample, its parts sorted; equal samples give equal bytes."""
    blocks = []
    for part, data in sorted(sample.parts.items()):
        # A fresh TarInfo has no owner and no time, which is what makes tars reproducible.
        header = tarfile.TarInfo(f"{sample.key}.{part}")
        header.size = len(data)
        padding = bytes(-len(data) % tarfile.BLOCKSIZE)
        blocks += [header.tobuf(tarfile.USTAR_FORMAT), data, padding]
    return b"".join(blocks)
