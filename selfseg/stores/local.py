"""Folders of this machine as a store. A URL is a path; errors are `selfseg.stores.errors`."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import filelock
from pyarrow import fs

from selfseg.stores.errors import Conflict, CutOff, MissingObject, StorageError

TEMPORARY = ".selfseg-part"
LOCK = ".selfseg-lock"
LOCK_PATIENCE_S = 60
_CHUNK = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def read(url: str) -> bytes:
    """Return a file's bytes."""
    with explained(url):
        return Path(url).read_bytes()


def read_range(url: str, offset: int, size: int) -> bytes:
    """Return `size` bytes from `offset`."""
    return OpenFile(url).read(offset, size)


class OpenFile:
    """A file opened once for many reads; it may be removed meanwhile. Closed with its last user."""

    def __init__(self, url: str) -> None:
        """Open the file at `url`."""
        self._url = url
        with explained(url):
            self._descriptor = os.open(url, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`."""
        try:
            data = os.pread(self._descriptor, size, offset)
        except OSError:
            with explained(self._url):
                raise
        if len(data) != size:
            raise CutOff(
                f"{self._url}: ends after {offset + len(data)} bytes, {offset + size} are needed; "
                "the file is cut off: write it again"
            )
        return data

    def removed(self) -> bool:
        """Tell whether the file was removed since it was opened."""
        return not os.fstat(self._descriptor).st_nlink

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


opened = OpenFile


def size(url: str) -> int:
    """Return a file's length in bytes."""
    with explained(url):
        if Path(url).is_dir():
            raise IsADirectoryError(0, "is a folder, not a file")
        return Path(url).stat().st_size


def written(url: str) -> float:
    """Return when a file was written last, in seconds since the epoch."""
    with explained(url):
        return Path(url).stat().st_mtime


def exists(url: str) -> bool:
    """Whether there is a file of this name."""
    with explained(url):
        return Path(url).is_file()


def write(url: str, data: bytes) -> None:
    """Put a whole file in place of what was there, or nothing at all."""
    with replacing(Path(url), len(data)) as file:
        file.write(data)


def replace(url: str, data: bytes, expected: bytes | None) -> None:
    """Write `data` if the file still holds `expected` (None: if there is no file)."""
    path = Path(url)
    lock = _beside(path, LOCK)
    with explained(url):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(lock, timeout=LOCK_PATIENCE_S):
                if (read(url) if exists(url) else None) != expected:
                    raise Conflict(f"{url}: changed by another process meanwhile; run again")
                write(url, data)
        except filelock.Timeout:
            raise Conflict(
                f"{url}: another process has held {lock} for {LOCK_PATIENCE_S} s; stop it"
            ) from None


def objects(url: str) -> dict[str, tuple[int, float]]:
    """Return bytes and time of the files below a folder, by relative name; no folder, no files."""
    root, found = Path(url), {}
    with explained(url):
        for folder, _, names in os.walk(root, onerror=_unless_gone):
            for path in (Path(folder, name) for name in names if not _is_passing(name)):
                with suppress(FileNotFoundError):  # another process may remove it meanwhile
                    status = path.stat()
                    if stat.S_ISREG(status.st_mode):
                        name = path.relative_to(root).as_posix()
                        found[name] = status.st_size, status.st_mtime
    return found


def entries(url: str) -> list[str]:
    """Return what lies directly in a folder, sorted; names of folders end in "/"."""
    root, found = Path(url), []
    with (
        explained(url),
        suppress(FileNotFoundError, NotADirectoryError),
        os.scandir(root) as inside,
    ):
        for entry in inside:
            if entry.is_dir(follow_symlinks=False):
                found.append(f"{entry.name}/")
            elif entry.is_file() and not _is_passing(entry.name):
                found.append(entry.name)
    return sorted(found)


def delete(url: str) -> None:
    """Remove a file; it may be gone already."""
    with explained(url):
        Path(url).unlink(missing_ok=True)


def delete_tree(url: str) -> None:
    """Remove a folder and all below it; it may be gone already."""
    with explained(url):
        if Path(url).exists():
            shutil.rmtree(url)


def download(url: str, path: Path) -> None:
    """Copy a file to `path`."""
    with explained(url), Path(url).open("rb") as source, replacing(path, size(url)) as file:
        shutil.copyfileobj(source, file)


def pour(url: str, write: Callable[[bytes, int], object]) -> int:
    """Hand a file's bytes to `write(bytes, offset)`; return how many."""
    file, end = OpenFile(url), size(url)
    for offset in range(0, end, _CHUNK):
        write(file.read(offset, min(_CHUNK, end - offset)), offset)
    return end


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` to an open file."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


def upload(path: Path, url: str) -> None:
    """Copy the file at `path` to the store."""
    download(str(path), Path(url))


def probe(url: str) -> None:
    """Make the folder if need be and see that files can be written there."""
    witness = Path(url) / f"{uuid4().hex}{TEMPORARY}"
    with explained(url):
        witness.parent.mkdir(parents=True, exist_ok=True)
        witness.write_bytes(b"")
        witness.unlink()


def arrow_filesystem(url: str) -> tuple[fs.FileSystem, str]:
    """Return pyarrow's view of the folder."""
    return fs.LocalFileSystem(), str(Path(url).absolute())


def _is_passing(name: str) -> bool:
    """Tell whether this is the name of an unfinished write, or of a lock."""
    return Path(name).suffix in {TEMPORARY, LOCK}


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}{suffix}")


@contextmanager
def replacing(path: Path, needed: int | None = None) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `path` once it is complete and on the disk.

    Its temporary name lies in the same folder, since a rename is atomic only within a file
    system, and is unique, so that two writers never share one. Whatever fails, `path` is
    untouched and the temporary file is removed. `needed` are its bytes, where they are known.
    """
    temporary = _beside(path, f".{uuid4().hex}{TEMPORARY}")
    with explained(str(path), needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield an empty folder of this machine, which goes with the context."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield Path(folder)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise StorageError(
                f"{folder}: {_no_room(folder, None)}; make room there, or set TMPDIR to a folder "
                "with more, and repeat the command"
            ) from None


@contextmanager
def explained(url: str, needed: int | None = None) -> Iterator[None]:
    """Turn the system's errors into `StorageError`, in one line that names `url`.

    Where there is no room for the `needed` bytes of a file, it tells how much is missing.
    """
    try:
        yield
    except FileNotFoundError:
        raise MissingObject(f"{url}: no such file; check the path") from None
    except PermissionError:
        raise StorageError(
            f"{url}: permission denied; change its rights or choose another place"
        ) from None
    except NotADirectoryError:
        raise StorageError(f"{url}: a part of this path is a file; choose another place") from None
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(
                f"{url}: {_no_room(url, needed)}; make room there and repeat the command"
            ) from None
        raise StorageError(f"{url}: {error.strerror or error}; choose another place") from error


def _no_room(url: str, needed: int | None) -> str:
    folder = next(parent for parent in Path(url).absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    wanted = "" if needed is None else f"{needed} bytes are wanted, "
    return f"no room on the disk ({wanted}{free} are free)"
