"""Immutable remote objects kept on this machine, for all its processes together.

The folder is `SELFSEG_CACHE`, or `selfseg` in the user's cache folder. A file in it is named by
the SHA-256 of its content and gets that name only once the content is verified, so that whoever
finds it may trust it. It is not forced to the disk, which would take as long as fetching it over a
fast network: what a power cut leaves of it is a damaged copy like others, which its readers find
by the checksums of its samples, delete and fetch again.

`SELFSEG_CACHE_LIMIT`, such as 200GB, bounds the bytes of all files together: those used least
recently make room. A file that somebody holds open with a shared lock on it, a lease, stays. Such
locks end with their process, however it ends. An unfinished download is held like that too, and
has its final length from the start, which is the room it takes; one that nobody holds was left by
a process that was killed, and goes.
"""

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from threading import Event
from uuid import uuid4

import filelock
from pydantic import ByteSize, TypeAdapter, ValidationError

from selfseg import storage
from selfseg.data.format.damage import DamagedObject
from selfseg.errors import UsageError, UserError

OURS = re.compile(r"[0-9a-f]{64}(?P<unfinished>\.\w+\.part)?")
AHEAD_SHARE = 0.5
"""Of the limit: what may be held in all when something is fetched before it is asked for."""
PATIENCE_S = 10.0
"""How long to wait for others to let go of files before the limit is called too small."""
PAUSE_S = 0.01


class CacheFull(UserError):  # noqa: N818 - what it says, not that it is one
    """What is held and what is wanted exceed the limit together.

    held: bytes of the files that nobody may evict
    """

    held = 0


class Stopped(Exception):  # noqa: N818 - as above
    """A download ahead was no longer wanted."""


def cache_folder() -> Path:
    """Return the folder that this machine's processes share."""
    if named := os.environ.get("SELFSEG_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "selfseg"


def cache_limit() -> int | None:
    """Return how many bytes the folder may hold; None: as many as there is room for.

    Raises:
        UsageError: SELFSEG_CACHE_LIMIT is no size.
    """
    text = os.environ.get("SELFSEG_CACHE_LIMIT")
    if not text:
        return None
    try:
        return TypeAdapter(ByteSize).validate_python(text)
    except ValidationError:
        raise UsageError(
            f"SELFSEG_CACHE_LIMIT={text}: not a size; set it to one like 200GB"
        ) from None


def holds(sha256: str) -> bool:
    """Tell whether there is a local copy of an object of this content now."""
    return (cache_folder() / sha256).exists()


def drop(sha256: str) -> None:
    """Delete the local copy of an object, e.g. because it is damaged.

    Who has it open goes on reading it.
    """
    (cache_folder() / sha256).unlink(missing_ok=True)


def lease(url: str, sha256: str, size: int | None = None) -> FileIO:
    """Open a local copy of the object at `url`, downloaded by the first who asks.

    It is kept until the file is closed; where there is a limit, it may be evicted then.

    Args:
        url: the object.
        sha256: of its content.
        size: of its content, bytes; None: not known, so that room is made only once it is here.

    Raises:
        UserError: the object has another content, or the folder cannot be written.
        CacheFull: the limit leaves no room for it.
        StorageError: the object cannot be read.
    """
    return _lease(_Wanted(url, sha256, size, cache_folder()))


def lease_ahead(url: str, sha256: str, size: int, stop: Event) -> FileIO:
    """Do as `lease` does for an object that is wanted later: leave room for what is wanted now.

    Raises:
        CacheFull: more than half of the limit would be held; there is no waiting.
        Stopped: `stop` was set.
    """
    return _lease(_Wanted(url, sha256, size, cache_folder(), stop))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An object, and how urgent it is: `stop` is given for one that is fetched ahead."""

    url: str
    sha256: str
    size: int | None
    folder: Path
    stop: Event | None = None

    @property
    def path(self) -> Path:
        return self.folder / self.sha256

    def check(self) -> None:
        if self.stop and self.stop.is_set():
            raise Stopped

    def write(self, descriptor: int, data: bytes, offset: int) -> None:
        self.check()
        storage.write_at(descriptor, data, offset)

    def lock(self) -> filelock.AcquireReturnProxy:
        """Wait until no other process or thread downloads the object."""
        # A few shared lock files instead of one per object: those could never be deleted safely.
        lock = filelock.FileLock(self.folder / "locks" / self.sha256[:2], poll_interval=PAUSE_S)
        while True:
            self.check()
            with suppress(filelock.Timeout):
                return lock.acquire(timeout=10 * PAUSE_S)


def _lease(wanted: _Wanted) -> FileIO:
    try:
        if not wanted.stop and (found := _opened(wanted.path)):
            return found
        (wanted.folder / "locks").mkdir(parents=True, exist_ok=True)
        with wanted.lock():
            with _room(wanted, 0):
                found = _opened(wanted.path)
            return found or _download(wanted)
    except OSError as error:
        raise UserError(
            f"{wanted.folder}: {error.strerror or error}; set SELFSEG_CACHE to a folder with room"
        ) from None


def _opened(path: Path) -> FileIO | None:
    """Open a finished file and hold it; None: there is none."""
    while True:
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            return None
        fcntl.flock(file, fcntl.LOCK_SH)
        if os.fstat(file.fileno()).st_nlink:  # else it was evicted in between
            now = time.time_ns()  # the system's own clock for files is too coarse to order uses
            os.utime(file.fileno(), ns=(now, now))
            return file
        file.close()


def _download(wanted: _Wanted) -> FileIO:
    part = wanted.path.with_name(f"{wanted.sha256}.{uuid4().hex}.part")
    with ExitStack() as stack:
        with _room(wanted, wanted.size or 0):
            file = stack.enter_context(part.open("x+b", buffering=0))
            stack.callback(part.unlink, missing_ok=True)
            fcntl.flock(file, fcntl.LOCK_SH)
            os.ftruncate(file.fileno(), wanted.size or 0)
        size = storage.pour(wanted.url, partial(wanted.write, file.fileno()))
        if hashlib.file_digest(file, "sha256").hexdigest() != wanted.sha256:
            raise DamagedObject(f"{wanted.url}: {_damage(wanted, size)}; ingest it again")
        with _room(wanted, 0) if wanted.size is None else _locked(wanted.folder):
            part.replace(wanted.path)
        held = _opened(wanted.path)
        assert held  # for `file` still holds it too
        return held


def _damage(wanted: _Wanted, size: int) -> str:
    """Say what is known of an object of `size` bytes that has another content than it should."""
    if wanted.size is not None and size < wanted.size:
        return f"cut off after {size} of {wanted.size} bytes"
    return f"damaged: its sha256 is not {wanted.sha256}"


def _locked(folder: Path) -> filelock.FileLock:
    """Keep others from adding, naming and evicting files."""
    return filelock.FileLock(folder / "locks" / "room", poll_interval=PAUSE_S)


@contextmanager
def _room(wanted: _Wanted, needed: int) -> Iterator[None]:
    """Make room for `needed` bytes beside those that are there, and keep others from taking it."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with _locked(wanted.folder):
            try:
                _make_room(wanted, needed)
            except CacheFull as error:
                if wanted.stop or not error.held or time.monotonic() > deadline:
                    raise
            else:
                yield
                return
        time.sleep(PAUSE_S)


def _make_room(wanted: _Wanted, needed: int) -> None:
    sizes = _sizes(wanted.folder)
    limit, total = cache_limit(), sum(sizes.values())
    allowed = limit if limit is None or wanted.stop is None else int(limit * AHEAD_SHARE)
    if limit is None or allowed is None or total + needed <= allowed:
        return
    idle = [path for path in sizes if path != wanted.path and _is_idle(path)]
    held = total - sum(sizes[path] for path in idle)
    for path in idle if held + needed <= allowed else []:
        if total + needed <= limit:
            return
        total -= sizes[path] if _is_idle(path, remove=True) else 0
    if total + needed > limit or held + needed > allowed:
        shown = [ByteSize(size).human_readable(decimal=True) for size in (limit, held, needed)]
        full = CacheFull(
            "{}: may hold {}, {} of it are being read, and {} more are needed for {}; "
            "set SELFSEG_CACHE_LIMIT to at least {}".format(
                wanted.folder, *shown, wanted.url, held + needed
            )
        )
        # Not an argument of the initialiser: the error goes from process to process.
        full.held = held
        raise full


def _sizes(folder: Path) -> dict[Path, int]:
    """Return the bytes of each file, those used least recently first; remove what was left."""
    found: list[tuple[int, Path, int]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = OURS.fullmatch(entry.name)
            if not name or (name["unfinished"] and _is_idle(Path(entry.path), remove=True)):
                continue
            with suppress(FileNotFoundError):  # a download that fails removes its file
                status = entry.stat()
                found.append((status.st_mtime_ns, Path(entry.path), status.st_size))
    return {path: size for _, path, size in sorted(found)}


def _is_idle(path: Path, *, remove: bool = False) -> bool:
    """Tell whether nobody holds a file; remove it then, if that is asked for."""
    try:
        with path.open("rb", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if remove:
                path.unlink()
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return True
