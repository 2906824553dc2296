"""Shards of the steps to come, downloaded beside the training before a batch needs them.

What a step reads is known by arithmetic, so threads of the worker look ahead and lease the shards
in the order of their first use; whoever makes the batches finds them in the cache. The later
frames of reversed pairs are not looked ahead for: their shards come when they are asked for.
Nothing that fails here is told: the batch that needs the shard meets it too.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import FileIO

import numpy as np

from selfseg import storage
from selfseg.data.format.manifest import shard_url
from selfseg.data.reading.cache import CacheFull, Stopped, lease_ahead
from selfseg.data.reading.collection import Collection
from selfseg.errors import UserError

THREADS = 3
"""Shards on their way at a time; each in several requests."""
PAUSE_S = 0.5
END_WITHIN_S = 5.0


@contextmanager
def prefetching(
    collection: Collection,
    ordinals: Callable[[int], Sequence[int]],
    step: int,
    steps_ahead: int,
) -> Iterator[Callable[[int], None]]:
    """Download while the context lasts; yield what is to be told each step that is reached.

    Args:
        collection: if it lies in a folder, nothing is done.
        ordinals: the samples that a step reads.
        step: the first one.
        steps_ahead: how far from the step that is reached to look; 0: nothing is done.
    """
    if not steps_ahead or not storage.is_remote(collection.url):
        yield lambda _reached: None
        return
    prefetcher = _Prefetcher(collection, ordinals, step, steps_ahead)
    try:
        yield prefetcher.reach
    finally:
        prefetcher.close()


class _Prefetcher:
    """Threads that hold the shards of the next steps.

    _last: the last step planned so far that reads a shard, by shards in the order of first use
    _held: leases, by shard; None: it is on its way, or did not come
    """

    def __init__(
        self,
        collection: Collection,
        ordinals: Callable[[int], Sequence[int]],
        step: int,
        steps_ahead: int,
    ) -> None:
        self._collection, self._ordinals, self._ahead = collection, ordinals, steps_ahead
        self._ends = np.cumsum(collection.counts, dtype=np.int64)
        self._reached = self._planned = step
        self._last: dict[int, int] = {}
        self._held: dict[int, FileIO | None] = {}
        self._lock = threading.Lock()
        self._moved, self._stop = threading.Event(), threading.Event()
        # Daemons: a request that hangs does not keep the process from ending.
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def reach(self, step: int) -> None:
        """Look on from `step`: those before it are read."""
        self._reached = step  # no lock: planning must not hold up the training
        self._moved.set()

    def close(self) -> None:
        """End the threads and drop the leases."""
        self._stop.set()
        self._moved.set()
        end = time.monotonic() + END_WITHIN_S
        for thread in self._threads:
            thread.join(max(0, end - time.monotonic()))
        with self._lock:
            self._forget(set(self._last))

    def _work(self) -> None:
        while not self._stop.is_set():
            shard = self._next()
            if shard is None:
                self._moved.wait(PAUSE_S)
                self._moved.clear()
            elif not self._hold(shard):
                self._stop.wait(PAUSE_S)

    def _next(self) -> int | None:
        """Choose the shard that is needed first of those that are neither held nor on their way."""
        while not self._stop.is_set():
            with self._lock:
                self._forget({s for s, step in self._last.items() if step < self._reached})
                shard = next((s for s in self._last if s not in self._held), None)
                if shard is not None:
                    self._held[shard] = None
                    return shard
                if self._planned >= self._reached + self._ahead:
                    return None
                self._plan()
        return None

    def _plan(self) -> None:
        self._planned = max(self._planned, self._reached)
        shards = np.searchsorted(self._ends, self._ordinals(self._planned), side="right")
        self._last |= dict.fromkeys(shards.tolist(), self._planned)
        self._planned += 1

    def _hold(self, shard: int) -> bool:
        """Lease a shard; False: not now, for there is no room yet."""
        entry = self._collection.manifest.shards[shard]
        url = shard_url(self._collection.url, entry.name)
        try:
            file = lease_ahead(url, entry.sha256, entry.size, self._stop)
        except CacheFull:
            with self._lock:
                self._held.pop(shard, None)
            return False
        except (UserError, Stopped):
            return True
        with self._lock:
            if self._stop.is_set() or shard not in self._last or self._held.get(shard):
                file.close()
            else:
                self._held[shard] = file
        return True

    def _forget(self, shards: set[int]) -> None:
        for shard in shards:
            del self._last[shard]
            if file := self._held.pop(shard, None):
                file.close()
