"""What loaders with a state of their own have in common: litdata's and mosaicml-streaming's."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from data_bench.reading import BATCH, Batch, Pause, Reading, begin, to_batch


def options(reading: Reading) -> dict[str, Any]:
    """Return the arguments of torch's DataLoader; a sample is {"key": ..., "image": ...}."""
    return {
        "batch_size": BATCH,
        "num_workers": reading.processes,
        "collate_fn": partial(_collate, decoded=reading.decoded),
        "worker_init_fn": begin,
        "persistent_workers": reading.processes > 0,
    }


def endless(loader: Any, state: Any) -> Iterator[Batch]:
    """Yield batches epoch after epoch, from the state of an earlier loader if there is one."""
    if state is not None:
        loader.load_state_dict(state)
    while True:
        yield from loader


def paused(loader: Any, after: int) -> Pause:
    """Read, ask the loader for its state, and see what would come next."""
    stream = iter(loader)
    for _ in range(after):
        next(stream)
    state = loader.state_dict()
    return Pause(state, next(stream).keys)


def _collate(samples: Sequence[dict[str, Any]], *, decoded: bool) -> Batch:
    return to_batch([(sample["key"], sample["image"]) for sample in samples], decoded=decoded)
