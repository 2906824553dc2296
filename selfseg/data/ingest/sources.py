"""Videos as they are given, before anything is computed: what they are and what they are called.

A single image is a video of one frame.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from selfseg.data.format.manifest import SkippedEntry
from selfseg.data.ingest.decoding import BrokenVideoError
from selfseg.data.ingest.samples import mask_path
from selfseg.data.ingest.videos import IMAGE_SUFFIXES, frame_paths, open_video
from selfseg.errors import UsageError, UserError

LONGEST_SLUG = 60
"""Member names of a tar header hold 100 characters; the rest of a name needs 37 at most."""

PROCESS_ENDED = "the process that read it ended"
"""How the reason begins where a video may not be at fault; it is tried again."""

_NONE = (None, None)
"""Masks that are not there, and their hash."""


@dataclass(frozen=True, slots=True)
class SourceVideo:
    """A video that can be opened.

    name: of its file without suffix, or of its folder
    num_frames: as it announces
    sha256: of the file, or of a folder's frames in order
    masks: folder of its ground truth, or a single image's own file; None: it has none
    masks_sha256: of the masks in order
    """

    path: Path
    name: str
    num_frames: int
    sha256: str
    masks: Path | None
    masks_sha256: str | None

    @property
    def id(self) -> str:
        """Prefix of its samples' keys: a changed file is another video."""
        return f"{slug(self.name)}-{self.sha256[:8]}"


def inspect(path: Path, masks_root: Path | None) -> SourceVideo | SkippedEntry:
    """Identify a video by its content, and see whether it opens.

    Raises:
        UserError: a file cannot be read at all.
    """
    sha256, masks, masks_sha256 = _content(path, masks_root)
    try:
        num_frames = open_video(path).num_frames
    except BrokenVideoError as error:
        return _left_out(path, sha256, masks_sha256, str(error))
    return SourceVideo(path, _name(path), num_frames, sha256, masks, masks_sha256)


def leave_out(path: Path, masks_root: Path | None, *, reason: str) -> SkippedEntry:
    """Identify a video by its content, without opening it, and say why it cannot be used.

    Raises:
        UserError: a file cannot be read at all.
    """
    sha256, _, masks_sha256 = _content(path, masks_root)
    return _left_out(path, sha256, masks_sha256, reason)


def distinct(videos: Iterable[SourceVideo]) -> list[SourceVideo]:
    """Keep one of those whose ids are equal, copies under names that are alike: one with masks.

    Raises:
        UsageError: two are no copies.
    """
    given, found = list(videos), dict[str, SourceVideo]()
    for video in sorted(given, key=lambda video: (video.masks is None, video.name)):
        known = found.setdefault(video.id, video)
        if known.sha256 != video.sha256:
            raise UsageError(
                f"{video.path}: its samples would be named as those of {known.path}, {video.id}; "
                "rename one of the two"
            )
    return [video for video in given if found[video.id] is video]


def slug(name: str) -> str:
    """Reduce a name to letters, digits, "-" and "_", so that it can be part of a key."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")
    return plain[:LONGEST_SLUG] or "video"


def first_mask(root: Path, path: Path) -> Path:
    """Say where the mask of a video's first frame belongs, or that of an image."""
    if _is_image(path):
        return root / f"{path.stem}.png"
    return mask_path(root / _name(path), 0)


def _is_image(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES


def _name(path: Path) -> str:
    """Return a video's name; a file system may hold bytes that are no text."""
    name = path.name if path.is_dir() else path.stem
    return os.fsencode(name).decode(errors="replace")


def _content(path: Path, masks_root: Path | None) -> tuple[str, Path | None, str | None]:
    """Return a video's hash, and its masks with theirs."""
    try:
        sha256 = _folder_sha256(frame_paths(path)) if path.is_dir() else _sha256(path)
        masks, masks_sha256 = _masks(masks_root, path) if masks_root else _NONE
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; make it readable") from None
    return sha256, masks, masks_sha256


def _left_out(path: Path, sha256: str, masks_sha256: str | None, reason: str) -> SkippedEntry:
    return SkippedEntry(name=_name(path), sha256=sha256, masks_sha256=masks_sha256, reason=reason)


def _masks(root: Path, path: Path) -> tuple[Path | None, str | None]:
    """Find a video's masks by their names; see `mask_path`."""
    first = first_mask(root, path)
    if _is_image(path):
        return (first, _folder_sha256([first], with_names=True)) if first.is_file() else _NONE
    folder = first.parent
    if not folder.is_dir():
        return _NONE
    named = [p for p in folder.glob("*.png") if p.stem.isdecimal()]
    masks = sorted(p for p in named if p == mask_path(folder, int(p.stem)))
    if not masks:
        return _NONE
    return folder, _folder_sha256(masks, with_names=True)


def _folder_sha256(paths: Sequence[Path], *, with_names: bool = False) -> str:
    names = (f"{path.name} " if with_names else "" for path in paths)
    lines = [f"{name}{_sha256(path)}\n" for name, path in zip(names, paths, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
