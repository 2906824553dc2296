"""A collection's smaller objects, read whole and compared with what its manifest says."""

import hashlib

from selfseg import storage
from selfseg.data.format.damage import DamagedObject
from selfseg.data.reading import cache


def verified(url: str, sha256: str) -> bytes:
    """Read an object that must have this content; what this machine made of it is fetched anew."""
    data = storage.read(_local(url, sha256))
    if hashlib.sha256(data).hexdigest() != sha256 and storage.is_remote(url):
        cache.drop(sha256)
        data = storage.read(_local(url, sha256))
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedObject(
            f"{url}: damaged: its content does not match the manifest; ingest again"
        )
    return data


def _local(url: str, sha256: str) -> str:
    return str(cache.fetch(url, sha256)) if storage.is_remote(url) else url
