"""Immutable remote objects kept on this machine, for all its processes together.

The folder is `SELFSEG_CACHE`, or `selfseg` in the user's cache folder. A file in it is named by
the SHA-256 of its content and gets that name only once the content is verified, so that whoever
finds it may trust it. Nothing is ever evicted: the folder grows to the size of what was read.
"""

import hashlib
import os
from pathlib import Path
from uuid import uuid4

import filelock

from selfseg import storage
from selfseg.data.damage import DamagedObject
from selfseg.errors import UserError


def cache_folder() -> Path:
    """Return the folder that this machine's processes share."""
    if named := os.environ.get("SELFSEG_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "selfseg"


def fetch(url: str, sha256: str) -> Path:
    """Return a local copy of the object at `url`, downloaded by the first who asks.

    Raises:
        UserError: the object has another content, or the folder cannot be written.
        StorageError: the object cannot be read.
    """
    folder = cache_folder()
    path = folder / sha256
    if path.exists():
        return path
    # A few shared lock files instead of one per object: those could never be deleted safely.
    lock = folder / "locks" / sha256[:2]
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(lock):
            if not path.exists():
                _download(url, sha256, path)
    except OSError as error:
        raise UserError(
            f"{folder}: {error.strerror or error}; set SELFSEG_CACHE to a folder with room"
        ) from None
    return path


def _download(url: str, sha256: str, path: Path) -> None:
    temporary = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        storage.download(url, temporary)
        with temporary.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != sha256:
            raise DamagedObject(f"{url}: damaged: its sha256 is not {sha256}; ingest it again")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
