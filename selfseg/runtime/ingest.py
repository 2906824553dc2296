"""Videos to a collection on a Ray cluster: a task per stretch of a video, then one per shard.

    inspect   what each input is: the hash of its content, its number of frames
    spool     each video's samples; see `selfseg.runtime.spooling`
    publish   the shards, then the manifest; these videos leave the spool

Whatever is interrupted, the same command goes on; once the manifest stands it does nothing. Videos
are added to a collection in the same way: shards of their own, then a manifest that names all.
"""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import ray
from rich.console import Console

from selfseg import storage
from selfseg.data.format.holdings import refuse_strangers
from selfseg.data.format.manifest import (
    Manifest,
    SkippedEntry,
    VideoEntry,
    load_manifest,
    manifest_ids,
    newest_id,
    no_collection,
)
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.growing import differences, grown, new_videos, newly_skipped, require_alike
from selfseg.data.ingest.sources import SourceVideo, distinct, first_mask, inspect, leave_out
from selfseg.data.ingest.spooling import STRETCH_FRAMES, Spooled, unspool
from selfseg.data.ingest.videos import passed_over, still_paths, video_paths
from selfseg.data.ingest.writing import commit, deal, publish_catalogue, publish_shard, sweep
from selfseg.errors import UsageError, UserError
from selfseg.runtime.cluster import connect
from selfseg.runtime.counting import bar
from selfseg.runtime.spooling import CRASHED, Spooling, spool_videos
from selfseg.runtime.tasks import each

NAMED = 8
"""Things left out of a folder that are named; the rest of them is counted."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to ingest, how, and where to.

    inputs: videos, folders of frames, and folders of either; or single images, and folders of those
    output: URL of the collection
    masks_root: holds the ground truth of video `name` as name/00000.png ..., that of an image as
        name.png; None: there is none
    stills: whether the inputs are single images
    append: whether the videos are added to the collection that is there
    stretch_frames: length of the stretches of long videos, which changes nothing but the time
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
    stretch_frames: int = STRETCH_FRAMES


@dataclass(frozen=True, slots=True)
class Outcome:
    """The collection that stands, and whether it stood before."""

    manifest: Manifest
    manifest_id: str
    was_there: bool


@dataclass(frozen=True, slots=True)
class _Standing:
    """The newest state of a collection.

    published: whether `LATEST` names it; else it is the first, and what wrote it was killed then
    """

    id: str
    manifest: Manifest
    published: bool = True


def ingest(job: Job, console: Console) -> Outcome:
    """Write the collection that `job` describes, or what it adds to one, unless it is there.

    A video that cannot be read is left out, and named in the manifest with the reason; one whose
    process ended is tried again by the same command. What lies in a folder and is none is named on
    the console alone.

    Raises:
        UsageError: an input that does not exist; an output that holds something else, or nothing
            to add to.
        UserError: no (new) video could be read; the output cannot be written to, or has lost its
            `LATEST`.
    """
    paths = _found(job, console)
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
    if standing and not standing.published:
        commit(job.output, standing.manifest)
    if standing and not (videos or skipped):
        return _nothing_new(standing, given, job)
    plan = Spooling(job.output, job.settings, job.stretch_frames, workers)
    spooled, broken = spool_videos(videos, plan, console)
    skipped += broken
    if not spooled:
        if standing and not newly_skipped(standing.manifest, skipped):
            return _nothing_new(standing, given, job)
        raise _none_readable(skipped, job)
    manifest = _publish_shards(spooled, skipped, job, workers, console)
    if standing:
        manifest = grown(standing.manifest, standing.id, manifest)
    commit(job.output, manifest)
    _tidy(given, job)
    return Outcome(manifest, manifest.id, was_there=False)


def _found(job: Job, console: Console) -> list[Path]:
    """Return the videos or images that the inputs stand for; say what lies beside them."""
    listed, kind = (
        (still_paths, "no image")
        if job.stills
        else (video_paths, "neither a video nor a folder of frames")
    )
    paths: list[Path] = []
    for given in job.inputs:
        inside = listed(given.absolute())
        beside = [
            os.fsencode(path.name).decode(errors="replace")
            for path in passed_over(given.absolute(), inside)
        ]
        if beside:
            more = f", and {len(beside) - NAMED} more" if len(beside) > NAMED else ""
            line = f"left out in {given}: {', '.join(beside[:NAMED])}{more}: {kind}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        paths += inside
    return paths


def _standing(job: Job) -> _Standing | None:
    """Return what the output holds already; see that it can be added to, if that is asked for."""
    newest = newest_id(job.output)
    if newest is None:
        if ids := manifest_ids(job.output):
            return _unpublished(ids, job)
        if job.append:
            raise UsageError(
                f"{job.output}: no collection here that could grow; leave out --append"
            )
        return None
    manifest = load_manifest(job.output, newest)
    if job.append:
        require_alike(manifest, job.settings, job.shard_bytes, url=job.output)
    return _Standing(newest, manifest)


def _unpublished(ids: list[str], job: Job) -> _Standing:
    """Return the only manifest that an output without `LATEST` holds, unless it may be another's.

    The command that wrote it, all it names before, may be repeated; see `_require_same`.
    """
    if job.append or len(ids) > 1:
        raise no_collection(job.output)
    manifest = load_manifest(job.output, ids[0])
    # One that grew is not the first; one of an older version would be published as another.
    if manifest.parent or manifest.id != ids[0]:
        raise no_collection(job.output)
    return _Standing(ids[0], manifest, published=False)


def _missing(
    standing: _Standing, videos: list[SourceVideo], skipped: list[SkippedEntry], job: Job
) -> tuple[list[SourceVideo], list[SkippedEntry]]:
    """Return what the collection lacks; unless it is to grow, that is what is tried again."""
    manifest = standing.manifest
    if not job.append:
        _require_same(manifest, {*map(_identity, videos), *map(_identity, skipped)}, job)
    return new_videos(manifest, videos, url=job.output), newly_skipped(manifest, skipped)


def _nothing_new(standing: _Standing, given: list[SourceVideo], job: Job) -> Outcome:
    _tidy(given, job)
    return Outcome(standing.manifest, standing.id, was_there=True)


def _tidy(given: list[SourceVideo], job: Job) -> None:
    """Remove what it took to get these videos into the collection, and what nobody goes on with."""
    unspool(job.output, given, job.settings, job.stretch_frames)
    sweep(job.output)


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
    crashed = partial(leave_out, masks_root=masks_root, reason=CRASHED)
    found = dict(each(look, dict.fromkeys(paths), at_once=workers, crashed=crashed))
    if masks_root and not any(video.masks_sha256 for video in found.values()):
        raise UsageError(
            f"--masks {job.masks_root}: holds no mask of any of the videos; "
            f"expected {first_mask(masks_root, paths[0])}"
        )
    once = {_identity(found[path]): found[path] for path in paths}.values()
    return (
        distinct(video for video in once if isinstance(video, SourceVideo)),
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


def _publish_shards(
    spooled: list[Spooled],
    skipped: list[SkippedEntry],
    job: Job,
    workers: int,
    console: Console,
) -> Manifest:
    """Write all shards; return a manifest of them."""
    hands = deal(spooled, job.shard_bytes)
    shards = []
    with bar(console, "shards", len(hands)) as show:
        for _, shard in each(partial(publish_shard, job.output), hands, at_once=workers):
            shards.append(shard)
            show(len(shards))
    videos = {part.video.id: part.video for part in spooled}
    return Manifest(
        settings=job.settings,
        shard_bytes=job.shard_bytes,
        videos=tuple(videos[name] for name in sorted(videos)),
        skipped=tuple(sorted(skipped, key=_identity)),
        shards=tuple(sorted((entry for entry, _ in shards), key=lambda entry: entry.name)),
        catalogues=(publish_catalogue(job.output, shards),),
    )
