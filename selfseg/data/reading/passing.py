"""Batches handed from loader processes to the worker, in shared memory that is used again.

torch by itself sends each tensor in memory of its own. Memory that is new costs a page fault for
every 4 KiB, which takes longer than to fill it, and a conversation of the two processes besides.
Here each process has a few slots of shared memory. What goes through the queue says where in a
slot the tensors lie; they are views of it, and when the last of them is gone, the process may
fill the slot again.
"""

import io
import mmap
import os
import pickle
import tempfile
import weakref
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from math import prod
from multiprocessing.context import BaseContext
from multiprocessing.reduction import DupFd
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

Item = TypeVar("Item")
Place = tuple[int, torch.dtype, tuple[int, ...]]
"""Where a tensor lies in its slot, in bytes, and what it is."""

SLOTS = 8
"""Of each process. torch asks it for two batches ahead, a worker holds one or two."""

SLOT_BYTES = 2**36
"""Of addresses in the file of all slots; memory is taken for what is filled alone."""

STATES = mmap.ALLOCATIONGRANULARITY
"""Bytes before the slots, of which each has one: whether its batch is still wanted."""

ALIGNMENT = 64
"""Of each tensor, in bytes: a cache line."""

GROWTH = 2**22
"""Slots are mapped in multiples of it, so that batches a little larger need no other mapping."""


def prepared(
    dataset: Dataset[Item],
    steps: Sequence[int],
    processes: int,
    *,
    begin: Callable[[int], None],
    context: BaseContext | None = None,
) -> Generator[Item]:
    """Start `processes` processes; yield the dataset's items at `steps`, which they prepare ahead.

    Tensors are views of shared memory: who keeps one keeps all of its item.

    Args:
        dataset: its items are whole batches.
        steps: which items, in order.
        processes: at least 1.
        begin: what each process does first, given its number.
        context: what starts them; None: the platform's default.
    """
    slots = Slots(processes)
    loader = DataLoader(
        _Sending(dataset, slots),
        batch_size=None,
        sampler=steps,
        num_workers=processes,
        collate_fn=_unchanged,
        multiprocessing_context=context,
        worker_init_fn=begin,
        # The loader draws a seed that nothing here uses; it must not come from the generator
        # whose state a resumed run restores.
        generator=torch.Generator(),
    )
    started = iter(loader)
    return (slots.received(sent) for sent in started)


@dataclass(frozen=True, slots=True)
class Sent:
    """An item whose tensors lie in a slot.

    size: bytes of the slot that they take
    pickled: the item, with places for tensors
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
        """Put an item's tensors into a slot of this process; the item itself if none is free."""
        file = io.BytesIO()
        tensors = _Tensors(file)
        tensors.dump(item)
        mine = range(process * SLOTS, (process + 1) * SLOTS)
        slot = next((slot for slot in mine if not self._states[slot]), None)
        if slot is None or not 0 < tensors.size <= SLOT_BYTES:
            return item
        memory = self._memory(slot, tensors.size)
        for tensor, place in tensors.found:
            _view(memory, place).copy_(tensor)
        self._states[slot] = True
        return Sent(slot, tensors.size, file.getvalue())

    def received(self, sent: Any) -> Any:
        """Return an item that was sent; its slot is free again when all its tensors are gone."""
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
        """Return the first bytes of a slot; a tensor of it keeps this very array."""
        mapped = self._mapped.get(slot)
        if mapped is None or len(mapped) < size:
            needed, offset = -(-size // GROWTH) * GROWTH, STATES + slot * SLOT_BYTES
            mapped = self._mapped[slot] = mmap.mmap(self._descriptor, needed, offset=offset)
        return np.frombuffer(mapped, np.uint8, size)


class _Tensors(pickle.Pickler):
    """Pickles all but tensors, for which it finds places one behind the other.

    size: of all places together, in bytes
    """

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.found: list[tuple[Tensor, Place]] = []
        self.size = 0

    def persistent_id(self, obj: Any) -> Place | None:
        if not isinstance(obj, Tensor):
            return None
        place = (self.size, obj.dtype, tuple(obj.shape))
        self.found.append((obj, place))
        self.size += -(-obj.nbytes // ALIGNMENT) * ALIGNMENT
        return place


class _Places(pickle.Unpickler):
    """Unpickles, with views of memory for tensors."""

    def __init__(self, file: io.BytesIO, memory: np.ndarray) -> None:
        super().__init__(file)
        self._memory = memory

    def persistent_load(self, pid: Place) -> Tensor:
        return _view(self._memory, pid)


def _view(memory: np.ndarray, place: Place) -> Tensor:
    offset, dtype, shape = place
    size = prod(shape) * dtype.itemsize
    return torch.from_numpy(memory)[offset : offset + size].view(dtype).view(shape)


class _Sending(Dataset[Any]):
    """A dataset in a loader process."""

    def __init__(self, dataset: Dataset[Any], slots: Slots) -> None:
        self._dataset, self._slots = dataset, slots

    def __getitem__(self, index: int) -> Any:
        process = get_worker_info()
        assert process
        return self._slots.sent(self._dataset[index], process.id)


def _unchanged(item: Item) -> Item:
    """Send an item as it is; torch would look at each of its parts."""
    return item


def _file_without_name() -> int:
    """Open a file that lies in memory where the system offers it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("batches")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
