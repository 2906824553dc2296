"""The only way to bytes outside the process: folders of this machine and s3:// buckets.

A URL is a path, or s3://bucket/key. S3 takes its keys and address from the standard variables:
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION or AWS_DEFAULT_REGION,
AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_CA_BUNDLE. Every function may raise `StorageError`,
whose one line names the URL, the cause and the remedy.

A store that is away (no connection, timeouts, 500 and 503) is waited for, see
`selfseg.stores.patience`; refusals that will come again (no such bucket, 403) are errors at once.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from pyarrow import fs

from selfseg.errors import UsageError
from selfseg.stores import local, s3
from selfseg.stores.errors import Conflict, CutOff, MissingObject, StorageError, Unreachable
from selfseg.stores.patience import impatient, is_waiting, patience_s, tell_of_waiting
from selfseg.stores.s3_client import expect_answers

__all__ = [
    "Conflict",
    "CutOff",
    "MissingObject",
    "Opened",
    "StorageError",
    "Unreachable",
    "age_s",
    "ages_s",
    "arrow_filesystem",
    "delete",
    "delete_tree",
    "download",
    "entries",
    "exists",
    "expect_answers",
    "impatient",
    "is_remote",
    "is_waiting",
    "join",
    "listing",
    "opened",
    "patience_s",
    "pour",
    "probe",
    "read",
    "read_range",
    "replace",
    "scratch",
    "size",
    "sizes",
    "tell_of_waiting",
    "upload",
    "write",
    "write_at",
]


def is_remote(url: str) -> bool:
    """Whether `url` lies in a bucket, not in a folder."""
    return url.startswith("s3://")


def join(url: str, *parts: str) -> str:
    """Return the URL of something below `url`: "s3://a/b/", "c", "d" give "s3://a/b/c/d"."""
    return "/".join([url.rstrip("/"), *(part.strip("/") for part in parts)])


def read(url: str) -> bytes:
    """Return the whole object.

    Raises:
        MissingObject: there is none.
        Conflict: it changed while it was being read.
    """
    return _store(url).read(url)


def read_range(url: str, offset: int, size: int) -> bytes:
    """Return exactly `size` bytes from `offset`; where there are fewer, it is a `CutOff`."""
    return _store(url).read_range(url, offset, size)


class Opened(Protocol):
    """An object that parts are read of."""

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset`; where there are fewer, it is a `CutOff`."""
        ...

    def removed(self) -> bool:
        """Tell whether it is a file that was removed since it was opened; it can be read on."""
        ...


def opened(url: str) -> Opened:
    """Open an object for many reads of parts of it; a file stays open until nobody uses it."""
    return _store(url).opened(url)


def size(url: str) -> int:
    """Return the object's length in bytes, or raise `MissingObject`."""
    return _store(url).size(url)


def age_s(url: str) -> float:
    """Return the seconds since the object was written last, or raise `MissingObject`."""
    return time.time() - _store(url).written(url)


def exists(url: str) -> bool:
    """Whether there is an object (a file, not a folder) of this name."""
    return _store(url).exists(url)


def write(url: str, data: bytes) -> None:
    """Write the whole object or nothing; folders on the way are made."""
    _store(url).write(url, data)


def replace(url: str, data: bytes, expected: bytes | None) -> None:
    """Write `data` only if the object still holds `expected` (compare-and-swap).

    Of several processes that replace the same content, one succeeds. To use it as a claim, let
    each write something of its own.

    Args:
        url: the object.
        data: its new content.
        expected: the content the decision was based on; None if there was no object.

    Raises:
        Conflict: the object holds something else by now; nothing was written.
    """
    _store(url).replace(url, data, expected)


def listing(url: str) -> list[str]:
    """Return the names of all objects below `url`, relative to it and sorted.

    Nothing below, or no such folder: an empty list. Unfinished local writes are left out.
    """
    return sorted(sizes(url))


def sizes(url: str) -> dict[str, int]:
    """Return the length in bytes of all objects below `url`, by the names that `listing` gives."""
    return {name: size for name, (size, _) in _store(url).objects(url).items()}


def ages_s(url: str) -> dict[str, float]:
    """Return the seconds since all objects below `url` were written, by the names of `listing`."""
    now = time.time()
    return {name: now - written for name, (_, written) in _store(url).objects(url).items()}


def entries(url: str) -> list[str]:
    """Return the names of what lies directly below `url`, sorted; those of folders end in "/".

    One question, however much lies deeper. Links to folders are left out, as in `listing`.
    """
    return _store(url).entries(url)


def delete(url: str) -> None:
    """Remove one object; it may be gone already."""
    _store(url).delete(url)


def delete_tree(url: str) -> None:
    """Remove all objects below `url`, and the folder; it may be gone already."""
    _store(url).delete_tree(url)


def download(url: str, path: Path) -> None:
    """Copy an object of any size to the file `path`, which appears only when complete."""
    _store(url).download(url, path)


def pour(url: str, write: Callable[[bytes, int], object]) -> int:
    """Hand an object's bytes to `write(bytes, offset)`, in any order, each once; return how many.

    Those of a large object come from several threads. What `write` raises ends it.
    """
    return _store(url).pour(url, write)


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` to an open file of this machine; for `pour`."""
    local.write_at(descriptor, data, offset)


def scratch() -> AbstractContextManager[Path]:
    """Yield an empty folder of this machine, which goes with the context.

    Raises:
        StorageError: there is no room for what is written to it; says where it is.
    """
    return local.scratch()


def upload(path: Path, url: str) -> None:
    """Copy the file `path` of any size to an object, which appears only when complete."""
    _store(url).upload(path, url)


def probe(url: str) -> None:
    """See, before the work begins, that `url` can be written to.

    A folder is made if it is missing; a bucket is not.

    Raises:
        StorageError: no keys, wrong keys, no such bucket, access denied, nobody at the
            endpoint, no conditional writes, or a folder that cannot be written to.
    """
    _store(url).probe(url)


def arrow_filesystem(url: str) -> tuple[fs.FileSystem, str]:
    """Return pyarrow's file system and path for `url`, as Ray's `RunConfig` wants them."""
    return _store(url).arrow_filesystem(url)


class _Store(Protocol):
    """What a kind of place can do; the functions above say how."""

    def read(self, url: str) -> bytes: ...
    def read_range(self, url: str, offset: int, size: int) -> bytes: ...
    def opened(self, url: str) -> Opened: ...
    def size(self, url: str) -> int: ...
    def written(self, url: str) -> float: ...
    def exists(self, url: str) -> bool: ...
    def write(self, url: str, data: bytes) -> None: ...
    def replace(self, url: str, data: bytes, expected: bytes | None) -> None: ...
    def objects(self, url: str) -> dict[str, tuple[int, float]]: ...
    def entries(self, url: str) -> list[str]: ...
    def delete(self, url: str) -> None: ...
    def delete_tree(self, url: str) -> None: ...
    def download(self, url: str, path: Path) -> None: ...
    def pour(self, url: str, write: Callable[[bytes, int], object]) -> int: ...
    def upload(self, path: Path, url: str) -> None: ...
    def probe(self, url: str) -> None: ...
    def arrow_filesystem(self, url: str) -> tuple[fs.FileSystem, str]: ...


def _store(url: str) -> _Store:
    if is_remote(url):
        return s3
    if "://" in url:
        raise UsageError(f"{url}: only paths and s3:// URLs are supported")
    return local
