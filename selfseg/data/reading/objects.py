"""A collection's smaller objects, read whole and compared with what its manifest says."""

import hashlib
import sys
from collections.abc import Iterable

from selfseg import storage
from selfseg.data.format.catalogue import Stretch, parse_catalogue
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
        data = storage.read(_local(url, sha256))
        if hashlib.sha256(data).hexdigest() != sha256 and storage.is_remote(url):
            cache.drop(sha256)
            data = storage.read(_local(url, sha256))
    except storage.MissingObject as error:
        raise storage.MissingObject(f"{error}: the manifest names it; {REMEDY}") from None
    except DamagedObject:
        data = b""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedObject(
            f"{url}: damaged: its content does not match the manifest; {REMEDY}"
        ) from None
    return data


def told_by_catalogues(collection: str, catalogues: Iterable[str]) -> dict[str, list[Stretch]]:
    """Return what catalogues tell of shards, by their names.

    One that is damaged or gone tells nothing, and a line says so: what it told was made of the
    indexes, which tell the same, one by one.
    """
    told: dict[str, list[Stretch]] = {}
    for sha256 in catalogues:
        url = catalogue_url(collection, sha256)
        try:
            told |= parse_catalogue(verified(url, sha256))
        except (DamagedObject, storage.MissingObject) as error:
            sys.stderr.write(f"{error}; until then the index of each shard is read instead\n")
    return told


def _local(url: str, sha256: str) -> str:
    return str(cache.fetch(url, sha256)) if storage.is_remote(url) else url
