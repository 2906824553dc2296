"""Samples of one video as a stretch of tar, cut into runs that any shard can take over as bytes.

Where a shard goes only becomes known when the size of every video is; until then each video lies
in the collection's spool, so that a run that was interrupted does not compute it again. A long
video lies there in stretches; their runs are those of the whole.
"""

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Shaped
from pydantic import ValidationError

from selfseg import storage
from selfseg.config import Config
from selfseg.data.format.manifest import VideoEntry, background_url
from selfseg.data.format.schema import encode_lossless, sample_key, split_key
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.backgrounds import MedianImage
from selfseg.data.ingest.motion import resize
from selfseg.data.ingest.samples import Sample, grid_sizes, samples
from selfseg.data.ingest.sources import SourceVideo
from selfseg.data.ingest.stretches import StrayedError, Stretch, Survey, stretches, survey_frames
from selfseg.data.ingest.videos import open_video

Known = TypeVar("Known", bound=Config)

RUN_SAMPLES = 8
"""Neighbouring samples that stay together: enough to be worth a request, few enough to mix."""

STRETCH_FRAMES = 64 * RUN_SAMPLES
"""Length of a long video's stretches; of whole runs, so that they are those of the whole."""


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
    """A video, or a stretch of one, that is spooled completely."""

    video: VideoEntry
    runs: tuple[Run, ...]


_ROW = np.dtype(
    [("frame", "i4"), ("samples", "i4"), ("offset", "i8"), ("size", "i8"), ("crc32", "u4")]
)
"""A `Run`; its key follows from its first frame."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """What a ledger says in 28 bytes a run, and where the runs lie: there may be millions."""

    url: str
    video: VideoEntry
    rows: Shaped[np.ndarray, " runs"]

    @classmethod
    def of(cls, url: str, ledger: Ledger) -> "Spooled":
        """Keep what a ledger says of the file at `url`."""
        rows = [(split_key(r.key)[1], r.samples, r.offset, r.size, r.crc32) for r in ledger.runs]
        return cls(url, ledger.video, np.array(rows, _ROW))

    @property
    def keys(self) -> list[str]:
        """Of all runs."""
        return [sample_key(self.video.id, frame) for frame in self.rows["frame"].tolist()]

    def run(self, number: int) -> Run:
        """Return a run as the ledger has it."""
        frame, samples, offset, size, crc32 = self.rows[number].item()
        key = sample_key(self.video.id, frame)
        return Run(key=key, samples=samples, offset=offset, size=size, crc32=crc32)


def spool_url(
    collection: str,
    video: SourceVideo,
    settings: IngestSettings,
    suffix: str,
    stretch: Stretch | None = None,
) -> str:
    """Address the spooled runs ("tar") or the ledger ("json") of a video, or of its stretch."""
    part = f" {stretch.start}-{stretch.stop}" if stretch else ""
    return _address(collection, video, settings, f"{part}.{suffix}")


def spool(
    video: SourceVideo,
    collection: str,
    settings: IngestSettings,
    report: Callable[[int], None],
    stretch: Stretch | None = None,
) -> Ledger:
    """Compute samples of a video and leave them in the collection's spool, the ledger last.

    Its background, if it is wanted, is at its final place by then.

    Args:
        video: what to read.
        collection: URL.
        settings: what to compute.
        report: told the number of frames done, now and then.
        stretch: what to read of it; None: all.

    Raises:
        BrokenVideoError: it cannot be read to its end; nothing is left in the spool.
        StorageError: the spool cannot be written to.
    """
    scene = MedianImage() if settings.background == "median" and not stretch else None

    def write(path: Path, *, jump: bool) -> tuple[Run, ...]:
        source = open_video(video.path)
        stream = samples(source, video.id, settings, video.masks, scene, stretch=stretch, jump=jump)
        return tuple(_reported(write_runs(stream, path), report))

    with storage.scratch() as scratch:
        path = scratch / "spool.tar"
        try:
            runs = write(path, jump=True)
        except StrayedError:
            runs = write(path, jump=False)
        storage.upload(path, spool_url(collection, video, settings, "tar", stretch))
    entry = VideoEntry(
        id=video.id,
        name=video.name,
        frames=stretch.video_frames if stretch else sum(run.samples for run in runs),
        sha256=video.sha256,
        masks_sha256=video.masks_sha256,
        background=stretch.background if stretch else scene and _publish(collection, scene),
    )
    ledger = Ledger(video=entry, runs=runs)
    ledger_url = spool_url(collection, video, settings, "json", stretch)
    storage.write(ledger_url, ledger.model_dump_json().encode())
    return ledger


def spooled(
    video: SourceVideo,
    collection: str,
    settings: IngestSettings,
    stretch: Stretch | None = None,
) -> Ledger | None:
    """Return the ledger of what is in the spool already."""
    return _known(Ledger, spool_url(collection, video, settings, "json", stretch))


def survey(video: SourceVideo, collection: str, settings: IngestSettings, every: int) -> Survey:
    """Look at a whole video once, find its background if wanted; leave that in the spool.

    Args:
        video: what to look at.
        collection: URL.
        settings: what will be computed.
        every: frames of a stretch.

    Raises:
        BrokenVideoError: it cannot be read to its end.
        StorageError: the spool cannot be written to.
    """
    known = surveyed(video, collection, settings, every)
    if known:
        return known
    source = open_video(video.path)
    scene = MedianImage() if settings.background == "median" else None
    size = grid_sizes(settings, source.height, source.width).image
    show = scene and (lambda frame: scene.add(resize(frame.image, size)))
    frames, marks = survey_frames(source, every, show)
    found = Survey(frames=frames, marks=marks, background=scene and _publish(collection, scene))
    storage.write(_survey_url(collection, video, settings, every), found.model_dump_json().encode())
    return found


def surveyed(
    video: SourceVideo, collection: str, settings: IngestSettings, every: int
) -> Survey | None:
    """Return a survey that is in the spool already."""
    return _known(Survey, _survey_url(collection, video, settings, every))


def unspool(
    collection: str, videos: Iterable[SourceVideo], settings: IngestSettings, every: int
) -> None:
    """Remove these videos from the spool; others may be on their way into the collection."""
    folder = storage.join(collection, "spool")
    there = {storage.join(folder, name) for name in storage.listing(folder)}
    for video in videos:
        # The survey goes last: it says which stretches there are.
        known_by = _survey_url(collection, video, settings, every)
        known = surveyed(video, collection, settings, every) if known_by in there else None
        for stretch in (None, *(stretches(known) if known else ())):
            for suffix in ("json", "tar"):
                url = spool_url(collection, video, settings, suffix, stretch)
                if url in there:
                    storage.delete(url)
        if known:
            storage.delete(known_by)


def _known(kind: type[Known], url: str) -> Known | None:
    """Read what may be in the spool; what another version has left there is computed anew."""
    try:
        return kind.model_validate_json(storage.read(url))
    except (storage.MissingObject, ValidationError):
        return None


def _survey_url(collection: str, video: SourceVideo, settings: IngestSettings, every: int) -> str:
    return _address(collection, video, settings, f" every {every}.json")


def _address(collection: str, video: SourceVideo, settings: IngestSettings, ending: str) -> str:
    """Name something of a video in the spool by all that it is made of; it ends in a suffix."""
    part, _, suffix = ending.rpartition(".")
    made_of = f"{settings.model_dump_json()} {video.id} {video.sha256} {video.masks_sha256}{part}"
    name = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    return storage.join(collection, "spool", f"{name}.{suffix}")


def _reported(runs: Iterable[Run], report: Callable[[int], None]) -> Iterator[Run]:
    done = 0
    for run in runs:
        done += run.samples
        report(done)
        yield run


def _publish(collection: str, scene: MedianImage) -> str:
    """Write the image under its SHA-256, which is returned."""
    data = encode_lossless(scene.result())
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
