"""What adding videos to a collection takes: which are new, made alike, and the next manifest."""

from collections.abc import Iterable
from typing import Any

from selfseg.data.format.manifest import Manifest, SkippedEntry
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.sources import PROCESS_ENDED, SourceVideo
from selfseg.errors import UsageError

MEGABYTE = 10**6

_UNSURE = (PROCESS_ENDED, "the decoder crashed on it")  # the second in older collections

OPTIONS = ("height", "gaps", "flow", "flow_weights", "background")
"""Settings that the command can be given."""


def differences(
    manifest: Manifest, settings: IngestSettings, shard_bytes: int
) -> dict[str, tuple[Any, Any]]:
    """Return what is made otherwise by these settings: the collection's value and this one."""
    before, now = manifest.settings.model_dump(), settings.model_dump()
    changed = {name: (before[name], now[name]) for name in now if now[name] != before[name]}
    if manifest.shard_bytes != shard_bytes:
        changed["shard size"] = (manifest.shard_bytes, shard_bytes)
    return changed


def require_alike(
    manifest: Manifest, settings: IngestSettings, shard_bytes: int, *, url: str
) -> None:
    """See that videos would be added as those before them were.

    Raises:
        UsageError: names the first setting that differs, and the option that mends it.
    """
    for name, (there, now) in differences(manifest, settings, shard_bytes).items():
        option = _option(manifest, name, there)
        remedy = f"give {option}, or choose" if option else "choose"
        raise UsageError(
            f"{url}: its videos were ingested with {name} {_said(there)}, not {_said(now)}; "
            f"{remedy} another --output"
        )


def new_videos(manifest: Manifest, videos: Iterable[SourceVideo], *, url: str) -> list[SourceVideo]:
    """Return the videos that a collection neither holds nor left out, each content once.

    Those that it left out because a process ended are tried again.

    Raises:
        UsageError: one is there with other masks, or has the id of another that is there.
    """
    there = {video.sha256 for video in manifest.videos}
    names = {video.id: video.name for video in manifest.videos}
    masks = {(video.name, video.sha256): video.masks_sha256 for video in manifest.videos}
    tried = _identities(video for video in manifest.skipped if not video.reason.startswith(_UNSURE))
    new: dict[str, SourceVideo] = {}
    for video in videos:
        if video.sha256 not in there:
            if (video.sha256, video.masks_sha256) in tried:
                continue
            if video.id in names:
                raise UsageError(
                    f"{video.path}: its samples would be named as those of {names[video.id]}, "
                    f"which {url} holds, {video.id}; rename it"
                )
            new.setdefault(video.sha256, video)
            continue
        known = masks.get((video.name, video.sha256), video.masks_sha256)
        if video.masks_sha256 not in {None, known}:
            raise UsageError(
                f"{url}: holds {video.name} already, with other masks or none, and what it holds "
                "does not change; leave the video out, or choose another --output"
            )
    return list(new.values())


def newly_skipped(manifest: Manifest, skipped: Iterable[SkippedEntry]) -> list[SkippedEntry]:
    """Return those of the unreadable videos that a collection does not name yet."""
    tried = _identities(manifest.skipped)
    return [video for video in skipped if (video.sha256, video.masks_sha256) not in tried]


def grown(parent: Manifest, parent_id: str, added: Manifest) -> Manifest:
    """Return the manifest of what `parent` and `added` name together."""
    videos = (*parent.videos, *added.videos)
    readable, again = {video.sha256 for video in videos}, _identities(added.skipped)
    left_out = [
        video
        for video in parent.skipped
        if video.sha256 not in readable and (video.sha256, video.masks_sha256) not in again
    ]
    return Manifest(
        settings=added.settings,
        shard_bytes=added.shard_bytes,
        videos=tuple(sorted(videos, key=lambda video: video.id)),
        skipped=tuple(
            sorted((*left_out, *added.skipped), key=lambda video: (video.name, video.sha256))
        ),
        shards=tuple(sorted((*parent.shards, *added.shards), key=lambda shard: shard.name)),
        catalogues=tuple(sorted({*parent.catalogues, *added.catalogues})),
        parent=parent_id,
    )


def _identities(skipped: Iterable[SkippedEntry]) -> set[tuple[str, str | None]]:
    """Identify what could not be read; with other masks it may be."""
    return {(video.sha256, video.masks_sha256) for video in skipped}


def _option(manifest: Manifest, name: str, value: Any) -> str | None:
    """Say how the command is given a value of a setting; None: it cannot be."""
    if name == "shard size":
        return f"--shard-megabytes {value // MEGABYTE}"
    if name == "flow" and all(video.frames == 1 for video in manifest.videos):
        return "--stills"
    return f"--{name.replace('_', '-')} {_said(value)}" if name in OPTIONS else None


def _said(value: Any) -> str:
    """Write a value as the command's options do."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
