"""Batches handed from loader processes to the worker, in shared memory that is used again.

Memory that is new costs a page fault for every 4 KiB, which takes longer than to fill it. Here each
process has a few slots of shared memory. What it sends says where in a slot the arrays lie; they
are views of it, and when the last of them is gone, the process may fill the slot again.
"""

import io
import mmap
import os
import pickle
import tempfile
import weakref
from dataclasses import dataclass
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np

Place = tuple[int, str, tuple[int, ...]]
"""Where an array lies in its slot, in bytes, and its type and shape."""

SLOTS = 8
"""Of each process. It is two batches ahead, and a worker holds one or two."""

SLOT_BYTES = 2**36
"""Of addresses in the file of all slots; memory is taken for what is filled alone."""

STATES = mmap.ALLOCATIONGRANULARITY
"""Bytes before the slots, of which each has one: whether its batch is still wanted."""

ALIGNMENT = 64
"""Of each array, in bytes: a cache line."""

GROWTH = 2**22
"""Slots are mapped in multiples of it, so that batches a little larger need no other mapping."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An item whose arrays lie in a slot.

    size: bytes of the slot that they take
    pickled: the item, with places for arrays
    """

    slot: int
    size: int
    pickled: bytes


class Slots:
    """Shared memory of a worker and its loader processes; the worker makes it before they start.

    The process that fills a slot marks it before it sends the item, the worker alone unmarks it:
    that needs no lock.
    """

    def __init__(self, processes: int) -> None:
        """Take addresses for `processes`."""
        self._descriptor = _file_without_name()
        os.ftruncate(self._descriptor, STATES + processes * SLOTS * SLOT_BYTES)
        self._map_states()

    def __getstate__(self) -> Any:
        """Go to a process that is being started."""
        return DupFd(self._descriptor)

    def __setstate__(self, descriptor: Any) -> None:
        """Arrive in it."""
        self._descriptor = descriptor.detach()
        self._map_states()

    def sent(self, item: Any, process: int) -> Any:
        """Put an item's arrays into a slot of this process; the item itself if none is free."""
        file = io.BytesIO()
        arrays = _Arrays(file)
        arrays.dump(item)
        mine = range(process * SLOTS, (process + 1) * SLOTS)
        slot = next((slot for slot in mine if not self._states[slot]), None)
        if slot is None or not 0 < arrays.size <= SLOT_BYTES:
            return item
        memory = self._memory(slot, arrays.size)
        for array, place in arrays.found:
            _view(memory, place)[...] = array
        self._states[slot] = True
        return Sent(slot, arrays.size, file.getvalue())

    def received(self, sent: Any) -> Any:
        """Return an item that was sent; its slot is free again when all its arrays are gone."""
        if not isinstance(sent, Sent):
            return sent
        memory = self._memory(sent.slot, sent.size)
        weakref.finalize(memory, self._states.__setitem__, sent.slot, False).atexit = False
        return _Places(io.BytesIO(sent.pickled), memory).load()

    def _map_states(self) -> None:
        weakref.finalize(self, os.close, self._descriptor)
        self._states = mmap.mmap(self._descriptor, STATES)
        self._mapped: dict[int, mmap.mmap] = {}

    def _memory(self, slot: int, size: int) -> np.ndarray:
        """Return the first bytes of a slot; a view of it keeps this very array."""
        mapped = self._mapped.get(slot)
        if mapped is None or len(mapped) < size:
            needed, offset = -(-size // GROWTH) * GROWTH, STATES + slot * SLOT_BYTES
            mapped = self._mapped[slot] = mmap.mmap(self._descriptor, needed, offset=offset)
        return np.frombuffer(mapped, np.uint8, size)


class _Arrays(pickle.Pickler):
    """Pickles all but arrays, for which it finds places one behind the other.

    size: of all places together, in bytes
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.found: list[tuple[np.ndarray, Place]] = []
        self.size = 0

    def persistent_id(self, obj: Any) -> Place | None:
        if not isinstance(obj, np.ndarray):
            return None
        place = (self.size, obj.dtype.str, obj.shape)
        self.found.append((obj, place))
        self.size += -(-obj.nbytes // ALIGNMENT) * ALIGNMENT
        return place


class _Places(pickle.Unpickler):
    """Unpickles, with views of memory for arrays."""

    def __init__(self, file: io.BytesIO, memory: np.ndarray) -> None:
        super().__init__(file)
        self._memory = memory

    def persistent_load(self, pid: Place) -> np.ndarray:
        return _view(self._memory, pid)


def _view(memory: np.ndarray, place: Place) -> np.ndarray:
    offset, dtype, shape = place
    return np.ndarray(shape, dtype, memory, offset)


def _file_without_name() -> int:
    """Open a file that lies in memory where the system offers it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("batches")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
