"""All videos into a collection's spool: a task per video, and per stretch of a long one.

    survey   a long video is looked at once as a whole, and cut into stretches
    spool    the samples of each; those that an earlier run spooled are left alone

What is computed does not depend on where a video is cut. Tasks wait here, not in the cluster, and
each holds a few frames: memory is the same whatever there is to do.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import cv2
import ray
from rich.console import Console

from selfseg.data.format.manifest import SkippedEntry
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.decoding import BrokenVideoError
from selfseg.data.ingest.sources import PROCESS_ENDED, SourceVideo
from selfseg.data.ingest.spooling import Ledger, Spooled, spool, spool_url, spooled, survey
from selfseg.data.ingest.stretches import Stretch, Survey, stretches
from selfseg.runtime.counting import Counter, bar
from selfseg.runtime.tasks import TRIES, each

CRASHED = f"{PROCESS_ENDED} {TRIES} times: it crashed or ran out of memory"


@dataclass(frozen=True, slots=True)
class Spooling:
    """Where videos go, and how.

    collection: URL
    stretch_frames: length of a long video's stretches, whole runs
    workers: tasks at the same time
    """

    collection: str
    settings: IngestSettings
    stretch_frames: int
    workers: int

    def cuts(self, video: SourceVideo) -> bool:
        """Say whether a video is long, or may be: some containers do not tell."""
        return not 0 < video.num_frames <= self.stretch_frames


@dataclass(frozen=True, slots=True)
class _Part:
    """What one task spools: a stretch of a video; None: all of it."""

    video: SourceVideo
    stretch: Stretch | None

    @property
    def start(self) -> int:
        return self.stretch.start if self.stretch else 0

    @property
    def frames(self) -> int:
        return self.stretch.stop - self.start if self.stretch else self.video.num_frames

    @property
    def name(self) -> str:
        return f"{self.video.id}/{self.start}"


def spool_videos(
    videos: list[SourceVideo], plan: Spooling, console: Console
) -> tuple[list[Spooled], list[SkippedEntry]]:
    """Spool all videos; return where their runs are, and the videos that turned out broken.

    A broken video's reason is that of its first stretch that cannot be read, so it is always the
    same.
    """
    parts, broken = _parts(videos, plan, console)
    counter = Counter()
    spooled_parts: dict[SourceVideo, list[Spooled]] = defaultdict(list)
    reasons: dict[SourceVideo, dict[int, SkippedEntry]] = defaultdict(dict)

    def hopeful() -> Iterator[_Part]:
        for part in parts:
            if part.video in reasons:
                counter.report(part.name, part.frames)  # as good as done, for the bar
            else:
                yield part

    learned = plan.settings.flow.startswith("raft")
    with bar(console, "frames", sum(part.frames for part in parts)) as show:
        results = each(
            partial(_spool_part, plan=plan, counter=counter),
            hopeful(),
            at_once=plan.workers,
            gpus=ray.cluster_resources().get("GPU", 0) if learned else 0,
            meanwhile=lambda: show(counter.total()),
            crashed=lambda part: skipped(part.video, reason=CRASHED),
        )
        for part, result in results:
            if isinstance(result, Ledger):
                address = plan.collection, part.video, plan.settings, "tar", part.stretch
                spooled_parts[part.video].append(Spooled.of(spool_url(*address), result))
            else:
                reasons[part.video][part.start] = result
                counter.report(part.name, part.frames)
    broken += [found[min(found)] for found in reasons.values()]
    whole = (found for video, found in spooled_parts.items() if video not in reasons)
    return [entry for found in whole for entry in found], broken


def skipped(video: SourceVideo, *, reason: str) -> SkippedEntry:
    """Leave a video out."""
    return SkippedEntry(
        name=video.name, sha256=video.sha256, masks_sha256=video.masks_sha256, reason=reason
    )


def _parts(
    videos: list[SourceVideo], plan: Spooling, console: Console
) -> tuple[list[_Part], list[SkippedEntry]]:
    """Cut what is long; return all parts in the order of `videos`, and what cannot be read."""
    long = list(filter(plan.cuts, videos))
    found: dict[SourceVideo, Survey | SkippedEntry] = {}
    with bar(console, "long videos", len(long)) as show:
        for video, result in each(
            partial(_survey_one, plan=plan),
            long,
            at_once=plan.workers,
            crashed=partial(skipped, reason=CRASHED),
        ):
            found[video] = result
            show(len(found))
    parts: list[_Part] = []
    for video in videos:
        match found.get(video):
            case Survey() as survey_:
                parts += [_Part(video, stretch) for stretch in stretches(survey_)]
            case None:
                parts.append(_Part(video, None))
            case SkippedEntry():
                continue
    return parts, [result for result in found.values() if isinstance(result, SkippedEntry)]


def _survey_one(video: SourceVideo, *, plan: Spooling) -> Survey | SkippedEntry:
    """Survey one video, in a process of its own."""
    cv2.setNumThreads(1)
    try:
        return survey(video, plan.collection, plan.settings, plan.stretch_frames)
    except BrokenVideoError as error:
        return skipped(video, reason=str(error))


def _spool_part(part: _Part, *, plan: Spooling, counter: Counter) -> Ledger | SkippedEntry:
    """Spool one part, in a process of its own."""
    cv2.setNumThreads(1)  # a task has one core, and flow's last digits depend on the number
    where = (part.video, plan.collection, plan.settings)
    ledger = spooled(*where, part.stretch)
    if ledger:
        counter.report(part.name, sum(run.samples for run in ledger.runs))
        return ledger
    try:
        return spool(*where, partial(counter.report, part.name), part.stretch)
    except BrokenVideoError as error:
        return skipped(part.video, reason=str(error))
