"""Videos to a collection on a Ray cluster: a task per video, then a task per shard.

    inspect   what each input is: the hash of its content, its number of frames
    spool     each video's samples; those that an earlier run spooled are left alone
    publish   the shards, then the manifest; the spool is removed

Whatever is interrupted, the same command goes on; once the manifest stands it does nothing. Videos
are added to a collection in the same way: shards of their own, then a manifest that names all.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import ray
from rich.console import Console

from selfseg import storage
from selfseg.data.growing import differences, grown, new_videos, newly_skipped, require_alike
from selfseg.data.ingesting import IngestSettings
from selfseg.data.manifest import Manifest, SkippedEntry, VideoEntry, load_manifest, newest_id
from selfseg.data.sources import SourceVideo, first_mask, inspect
from selfseg.data.spooling import Ledger, spool, spool_url, spooled, unspool
from selfseg.data.videos import BrokenVideoError, still_paths, video_paths
from selfseg.data.writing import (
    commit,
    deal,
    publish_catalogue,
    publish_shard,
    refuse_strangers,
)
from selfseg.errors import UsageError, UserError
from selfseg.runtime.cluster import connect
from selfseg.runtime.counting import Counter, bar
from selfseg.runtime.tasks import each


@dataclass(frozen=True, slots=True)
class Job:
    """What to ingest, how, and where to.

    inputs: videos, folders of frames, and folders of either; or single images, and folders of those
    output: URL of the collection
    masks_root: holds the ground truth of video `name` as name/00000.png ..., that of an image as
        name.png; None: there is none
    stills: whether the inputs are single images
    append: whether the videos are added to the collection that is there
    workers: tasks at the same time; None: as many as there are CPUs
    """

    inputs: tuple[Path, ...]
    output: str
    masks_root: Path | None
    settings: IngestSettings
    shard_bytes: int
    workers: int | None
    stills: bool = False
    append: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The collection that stands, and whether it stood before."""

    manifest: Manifest
    manifest_id: str
    was_there: bool


@dataclass(frozen=True, slots=True)
class _Standing:
    """The newest state of a collection."""

    id: str
    manifest: Manifest


def ingest(job: Job, console: Console) -> Outcome:
    """Write the collection that `job` describes, or what it adds to one, unless it is there.

    A video that cannot be read is left out, and named in the manifest with the reason.

    Raises:
        UsageError: an input that does not exist; an output that holds something else, or nothing
            to add to.
        UserError: no (new) video could be read; the output cannot be written to.
    """
    listed = still_paths if job.stills else video_paths
    paths = [found for path in job.inputs for found in listed(path.absolute())]
    if job.masks_root and not job.masks_root.is_dir():
        raise UsageError(f"--masks {job.masks_root}: no such folder")
    storage.probe(job.output)
    refuse_strangers(job.output)
    standing = _standing(job)
    connect(job.workers)
    workers = job.workers or int(ray.cluster_resources()["CPU"])
    given, unreadable = _inspect(paths, job, workers)
    videos, skipped = (
        _missing(standing, given, unreadable, job) if standing else (given, unreadable)
    )
    if standing and not (videos or skipped):
        unspool(job.output, given, job.settings)
        return Outcome(standing.manifest, standing.id, was_there=True)
    ledgers, broken = _spool(videos, job, workers, console)
    skipped += broken
    if not ledgers:
        raise _none_readable(skipped, job)
    manifest = _publish_shards(ledgers, skipped, job, workers, console)
    if standing:
        manifest = grown(standing.manifest, standing.id, manifest)
    commit(job.output, manifest)
    return Outcome(manifest, manifest.id, was_there=False)


def _standing(job: Job) -> _Standing | None:
    """Return what the output holds already; see that it can be added to, if that is asked for."""
    newest = newest_id(job.output)
    if newest is None:
        if job.append:
            raise UsageError(
                f"{job.output}: no collection here that could grow; leave out --append"
            )
        return None
    manifest = load_manifest(job.output, newest)
    if job.append:
        require_alike(manifest, job.settings, job.shard_bytes, url=job.output)
    return _Standing(newest, manifest)


def _missing(
    standing: _Standing, videos: list[SourceVideo], skipped: list[SkippedEntry], job: Job
) -> tuple[list[SourceVideo], list[SkippedEntry]]:
    """Return what the collection lacks: nothing, unless it is to grow."""
    if job.append:
        manifest = standing.manifest
        return new_videos(manifest, videos, url=job.output), newly_skipped(manifest, skipped)
    _require_same(standing.manifest, {*map(_identity, videos), *map(_identity, skipped)}, job)
    return [], []


def _none_readable(skipped: list[SkippedEntry], job: Job) -> UserError:
    more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
    kind = f"{'new ' if job.append else ''}{'image' if job.stills else 'video'}"
    return UserError(f"no {kind} could be read: {skipped[0].name}: {skipped[0].reason}{more}")


def _inspect(
    paths: list[Path], job: Job, workers: int
) -> tuple[list[SourceVideo], list[SkippedEntry]]:
    """Identify all videos; the same one given twice counts once."""
    masks_root = job.masks_root and job.masks_root.absolute()
    look = partial(inspect, masks_root=masks_root)
    found = dict(each(look, dict.fromkeys(paths), at_once=workers))
    if masks_root and not any(video.masks_sha256 for video in found.values()):
        raise UsageError(
            f"--masks {job.masks_root}: holds no mask of any of the videos; "
            f"expected {first_mask(masks_root, paths[0])}"
        )
    once = {_identity(found[path]): found[path] for path in paths}.values()
    return (
        [video for video in once if isinstance(video, SourceVideo)],
        [video for video in once if isinstance(video, SkippedEntry)],
    )


def _identity(video: SourceVideo | SkippedEntry | VideoEntry) -> tuple[str, str, str | None]:
    return video.name, video.sha256, video.masks_sha256


def _require_same(
    manifest: Manifest, identities: set[tuple[str, str, str | None]], job: Job
) -> None:
    """See that the collection that is there is the one this job would write."""
    changed = list(differences(manifest, job.settings, job.shard_bytes))
    if identities != set(map(_identity, (*manifest.videos, *manifest.skipped))):
        changed.append("videos or masks")
    if changed:
        raise UsageError(
            f"{job.output}: holds a collection that differs in {', '.join(changed)}; "
            "choose another --output"
        )


def _spool(
    videos: list[SourceVideo], job: Job, workers: int, console: Console
) -> tuple[list[tuple[str, Ledger]], list[SkippedEntry]]:
    """Spool all videos; return each one's place and ledger, and those that turned out broken."""
    counter = Counter()
    learned = job.settings.flow.startswith("raft")
    work = partial(_spool_one, collection=job.output, settings=job.settings, counter=counter)
    ledgers: list[tuple[str, Ledger]] = []
    broken: list[SkippedEntry] = []
    with bar(console, "frames", sum(video.num_frames for video in videos)) as show:
        results = each(
            work,
            videos,
            at_once=workers,
            gpus=ray.cluster_resources().get("GPU", 0) if learned else 0,
            meanwhile=lambda: show(counter.total()),
            crashed=partial(_skipped, reason="the decoder crashed on it"),
        )
        for video, result in results:
            if isinstance(result, Ledger):
                url = spool_url(job.output, video, job.settings, "tar")
                ledgers.append((url, result))
            else:
                broken.append(result)
                counter.report(video.id, video.num_frames)  # as good as done, for the bar
    return ledgers, broken


def _spool_one(
    video: SourceVideo, *, collection: str, settings: IngestSettings, counter: Counter
) -> Ledger | SkippedEntry:
    """Spool one video, in a process of its own."""
    cv2.setNumThreads(1)  # a task has one core, and flow's last digits depend on the number
    ledger = spooled(video, collection, settings)
    if ledger:
        counter.report(video.id, ledger.video.frames)
        return ledger
    try:
        return spool(video, collection, settings, partial(counter.report, video.id))
    except BrokenVideoError as error:
        return _skipped(video, reason=str(error))


def _skipped(video: SourceVideo, *, reason: str) -> SkippedEntry:
    return SkippedEntry(
        name=video.name, sha256=video.sha256, masks_sha256=video.masks_sha256, reason=reason
    )


def _publish_shards(
    ledgers: list[tuple[str, Ledger]],
    skipped: list[SkippedEntry],
    job: Job,
    workers: int,
    console: Console,
) -> Manifest:
    """Write all shards; return a manifest of them."""
    hands = [tuple(hand) for hand in deal(ledgers, job.shard_bytes)]
    shards = []
    with bar(console, "shards", len(hands)) as show:
        for _, shard in each(partial(publish_shard, job.output), hands, at_once=workers):
            shards.append(shard)
            show(len(shards))
    return Manifest(
        settings=job.settings,
        shard_bytes=job.shard_bytes,
        videos=tuple(sorted((ledger.video for _, ledger in ledgers), key=lambda v: v.id)),
        skipped=tuple(sorted(skipped, key=_identity)),
        shards=tuple(sorted((entry for entry, _ in shards), key=lambda entry: entry.name)),
        catalogues=(publish_catalogue(job.output, shards),),
    )
