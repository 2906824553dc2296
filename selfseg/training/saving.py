"""Checkpoints that are written while training goes on: a step waits for a copy, not for a store.

While a store is away, or silent, the checkpoint that was begun waits for it; those that become due
meanwhile are left out, for a later one says more. The last of a run is never left out.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from torch import Tensor

from selfseg import storage
from selfseg.training.checkpoint import TrainingState

SLOWEST_S = 60.0
"""That training waits for a checkpoint to be written, counted from when that began. A store that
takes requests and does not answer them is known to be away only after several minutes."""


class Saver:
    """Writes one checkpoint at a time, in the order in which they were begun."""

    def __init__(self, write: Callable[[TrainingState, Sequence[str]], None]) -> None:
        """Begin with nothing to write; `write` commits a checkpoint, in a thread of its own."""
        self._write = write
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._begun = 0.0

    def begin(self, state: TrainingState, lines: Sequence[str] = (), *, must: bool = True) -> bool:
        """Copy `state` and go on; what failed of the checkpoint before is raised here.

        Args:
            state: the run's.
            lines: of the workers' journals, to be written before it.
            must: wait for the checkpoint before even where that waits for a store that is away, or
                takes longer than `SLOWEST_S`.

        Returns:
            Whether a checkpoint was begun; not, when it was left out.
        """
        if not must and self._pending and not self._done(self._pending):
            return False
        self.finish()
        self._begun = time.monotonic()
        self._pending = self._thread.submit(self._write, _copied(state), lines)
        return True

    def finish(self) -> None:
        """Wait for the checkpoint that is being written, if there is one.

        Raises:
            StorageError: it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _done(self, pending: Future[None]) -> bool:
        """Wait while that promises something; tell whether the checkpoint is written."""
        left_s = 0.0 if storage.is_waiting() else self._begun + SLOWEST_S - time.monotonic()
        return pending in wait([pending], max(0.0, left_s)).done

    def close(self) -> None:
        """Finish, and end the thread."""
        with self._thread:
            self.finish()


def _copied(state: TrainingState) -> TrainingState:
    """Return a copy in the machine's memory, which no further step changes."""
    return replace(
        state,
        weights=_on_cpu(state.weights),
        average=_on_cpu(state.average),
        optimisers=_on_cpu(state.optimisers),
        worker=_on_cpu(state.worker),
    )


def _on_cpu(tree: Any) -> Any:
    match tree:
        case Tensor():
            return tree.detach().to("cpu", copy=True)
        case Mapping():
            return {key: _on_cpu(value) for key, value in tree.items()}
        case list() | tuple():
            return type(tree)(map(_on_cpu, tree))
        case _:
            return tree
