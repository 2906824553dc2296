"""The shards of one collection that a process has open: where they lie, or in this machine's cache.

Those of a local collection are read in place; those of a remote one are fetched whole on first
use, or read where they lie by who wants little of them.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from typing import Any

from selfseg import storage
from selfseg.data.format.index import IndexEntry, parse_index
from selfseg.data.format.manifest import ShardEntry, index_url, shard_url
from selfseg.data.reading import cache
from selfseg.data.reading.objects import verified
from selfseg.data.reading.shards import Shard

OPEN_SHARDS = 256
"""Shards that a process keeps open, each with its index and one file."""

OPEN_FETCHED_SHARDS = 32
"""Of a remote collection fewer: one that the cache evicts takes room until another is opened."""


class OpenShards:
    """Opens shards by their numbers in the manifest, and keeps those that were used last.

    Threads may share it, and other processes get a copy in which nothing is open.
    """

    def __init__(self, url: str, entries: Sequence[ShardEntry], *, fetch: bool) -> None:
        """Begin with none open; `fetch`: if the collection at `url` is remote, fetch them whole."""
        self._url, self._entries = url, entries
        self._fetches = fetch and storage.is_remote(url)
        self._begin()

    def _begin(self) -> None:
        self._copies: dict[int, Shard] = {}  # the one used last stands last
        self._lock = Lock()
        self._in_place = lru_cache(OPEN_SHARDS)(self._open_in_place)

    def __getstate__(self) -> tuple[Any, ...]:
        """Leave open files behind."""
        return self._url, self._entries, self._fetches

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Begin with none open."""
        self._url, self._entries, self._fetches = state
        self._begin()

    def open(self, number: int, *, whole: bool) -> Shard:
        """Return a shard.

        Args:
            number: of the shard.
            whole: fetch it if it is remote; otherwise only if it is not here already, it is read
                where it lies.

        Raises:
            DamagedObject: it, or its index, is damaged.
            StorageError: it cannot be read.
        """
        if self._fetches and (whole or cache.holds(self._entries[number].sha256)):
            return self._fetched(number)
        return self._in_place(number)

    def renews(self, number: int, shard: Shard) -> bool:
        """Close what `open` returned if it is a copy of a remote shard; tell whether it was.

        What was sound when it was fetched may have been damaged on this machine's disk since, and
        is fetched again when it is next opened.
        """
        if not self._fetches or storage.is_remote(shard.url):
            return False
        if not shard.removed():  # else another process found it damaged: what it fetched stays
            cache.drop(self._entries[number].sha256)
        with self._lock:
            if self._copies.get(number) is shard:
                del self._copies[number]
        return True

    def index(self, number: int) -> list[IndexEntry]:
        """Read a shard's index.

        Raises:
            DamagedObject: it is damaged.
            StorageError: it cannot be read.
        """
        entry = self._entries[number]
        return parse_index(verified(index_url(self._url, entry.name), entry.index_sha256))

    def _fetched(self, number: int) -> Shard:
        with self._lock:
            if shard := self._copies.pop(number, None):
                self._copies[number] = shard
                return shard
        shard = self._open_copy(number)
        with self._lock:
            self._copies[number] = shard
            # What was evicted takes room until it is closed.
            for evicted in [key for key, each in self._copies.items() if each.removed()]:
                del self._copies[evicted]
            while len(self._copies) > OPEN_FETCHED_SHARDS:
                del self._copies[next(iter(self._copies))]
        return shard

    def _open_copy(self, number: int) -> Shard:
        entry = self._entries[number]
        # The index first: who waited for its room with a shard in hand would keep others waiting.
        entries = self.index(number)
        wanted = shard_url(self._url, entry.name), entry.sha256, entry.size
        while True:
            # It stays until it is open, and then is readable though it may be evicted; only what
            # another process finds damaged is deleted under a lease.
            with cache.lease(*wanted) as file, suppress(storage.MissingObject):
                return Shard(str(file.name), entries)

    def _open_in_place(self, number: int) -> Shard:
        return Shard(shard_url(self._url, self._entries[number].name), self.index(number))
