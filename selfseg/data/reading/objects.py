"""A collection's smaller objects, read whole and compared with what its manifest says."""

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator
from io import FileIO

from selfseg import storage
from selfseg.data.format.catalogue import Row, parse_rows
from selfseg.data.format.damage import DamagedObject
from selfseg.data.format.manifest import catalogue_url
from selfseg.data.reading import cache

REMEDY = "mend the collection with tools/collection.py verify --repair"


def verified(url: str, sha256: str) -> bytes:
    """Read an object that must have this content; what this machine made of it is fetched anew.

    Raises:
        DamagedObject: it has another content where it lies.
        MissingObject: it is gone.
    """
    try:
        for data in _copies(url, sha256):
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
    except storage.MissingObject as error:
        raise storage.MissingObject(f"{error}: the manifest names it; {REMEDY}") from None
    except DamagedObject:
        pass
    raise DamagedObject(f"{url}: damaged: its content does not match the manifest; {REMEDY}")


def told_by_catalogues(collection: str, catalogues: Iterable[str]) -> dict[str, list[Row]]:
    """Return what catalogues tell of shards, by their names.

    One that is damaged or gone tells nothing, and a line says so: what it told was made of the
    indexes, which tell the same, one by one.
    """
    told: dict[str, list[Row]] = {}
    for sha256 in catalogues:
        url = catalogue_url(collection, sha256)
        try:
            told |= parse_rows(verified(url, sha256))
        except (DamagedObject, storage.MissingObject) as error:
            sys.stderr.write(f"{error}; until then the index of each shard is read instead\n")
    return told


def _copies(url: str, sha256: str) -> Iterator[bytes]:
    """Yield an object; if it is remote, what this machine has of it, and then what comes anew."""
    if not storage.is_remote(url):
        yield storage.read(url)
        return
    for _ in range(2):
        with cache.lease(url, sha256) as file:
            yield _content(file)
            if os.fstat(file.fileno()).st_nlink:  # else another process found it damaged, too
                cache.drop(sha256)


def _content(copy: FileIO) -> bytes:
    """Read a copy through the lease on it: under its name there may be nothing any more."""
    try:
        return copy.read()
    except OSError as error:
        raise storage.StorageError(
            f"{copy.name}: {error.strerror or error}; set SELFSEG_CACHE to a folder of another disk"
        ) from None
