"""What vouches for a checkpoint: COMMIT.json, with size and sha256 of each of its files."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from selfseg import storage
from selfseg.errors import UserError

COMMIT = "COMMIT.json"
WEIGHTS, AVERAGE, OPTIMISERS = "method.safetensors", "average.safetensors", "optimisers.pt"
PROGRESS, SETTINGS = "progress.json", "settings.json"
FILES = {WEIGHTS, AVERAGE, OPTIMISERS, PROGRESS, SETTINGS}


class DamagedCheckpoint(UserError):  # noqa: N818 - what it says, not that it is one
    """A checkpoint is not what was written; an older one may be."""


def commit(url: str, files: Mapping[str, bytes]) -> None:
    """Vouch for `files`, which have been written to the checkpoint at `url`."""
    told = {
        "files": {name: fingerprint(data) for name, data in files.items()},
        "versions": {name: version(name) for name in ("selfseg", "torch", "safetensors")},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    storage.write(storage.join(url, COMMIT), to_json(told))


def verify(url: str) -> None:
    """Compare every file of the checkpoint at `url` with what was committed.

    Raises:
        DamagedCheckpoint: a file is missing or is not what was committed.
    """
    for error in damages(url):
        raise error


def damages(url: str) -> Iterator[DamagedCheckpoint]:
    """Yield what is wrong with the checkpoint at `url`, file by file; nothing where it is whole.

    Raises:
        UserError: it is of a newer selfseg, so that nobody here can tell.
    """
    try:
        files = _known_files(url)
    except DamagedCheckpoint as error:
        yield error
        return
    for name in sorted(files):
        try:
            _read_file(url, name, files[name])
        except DamagedCheckpoint as error:
            yield error


def read_verified(url: str, choose: Callable[[set[str]], set[str]]) -> dict[str, bytes]:
    """Read the files that `choose` picks of the committed names, and check each."""
    listed = _known_files(url)
    return {name: _read_file(url, name, listed[name]) for name in choose(set(listed))}


def read_commit(url: str) -> dict[str, Any]:
    """Return what the checkpoint at `url` was committed with: its "files", and more.

    Raises:
        DamagedCheckpoint: it was never committed, or this cannot be read.
    """
    try:
        commit = json.loads(storage.read(storage.join(url, COMMIT)))
        files = dict(commit["files"])
    except storage.MissingObject:
        raise DamagedCheckpoint(f"{url}: no {COMMIT}: not a finished checkpoint") from None
    except (ValueError, KeyError, TypeError):
        raise DamagedCheckpoint(f"{url}: damaged: {COMMIT} is not readable") from None
    if elsewhere := [name for name in files if "/" in name]:
        raise DamagedCheckpoint(f"{url}: damaged: {COMMIT} names {min(elsewhere)!r}")
    return {**commit, "files": files}


def _known_files(url: str) -> dict[str, Any]:
    """Return what a checkpoint's files were committed as.

    Raises:
        DamagedCheckpoint: as `read_commit`; or one is none that this version writes, nor there.
        UserError: one is there that this version does not write.
    """
    files = read_commit(url)["files"]
    for strange in sorted(set(files) - FILES):
        if not storage.exists(storage.join(url, strange)):
            raise DamagedCheckpoint(f"{url}: damaged: {COMMIT} names {strange!r}")
        raise UserError(
            f"{url}: written by a newer selfseg ({COMMIT} names {strange!r}): use that one"
        )
    return files


def _read_file(url: str, name: str, committed_as: Mapping[str, Any]) -> bytes:
    """Read one file of the checkpoint at `url`, and compare it with what was committed."""
    try:
        data = storage.read(storage.join(url, name))
    except storage.MissingObject:
        raise DamagedCheckpoint(f"{url}: damaged: {name} is missing") from None
    if fingerprint(data) != committed_as:
        raise DamagedCheckpoint(f"{url}: damaged: {name} is not what was written")
    return data


def fingerprint(data: bytes) -> dict[str, Any]:
    """Return what a commit notes of a file."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def to_json(value: object) -> bytes:
    """Write JSON for people and programs."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
