"""The reference: the same files decoded from memory, without a library and without a disk."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from data_bench.reading import BATCH, SEED, Batch, NotOfferedError, Pause, Reading, begin, to_batch
from torch.utils.data import DataLoader

HELD = 512
"""Files that are held, at most."""


def write(frames: Sequence[Path], folder: Path) -> None:
    """Keep some files as they are."""
    folder.mkdir(parents=True)
    for frame in frames[:HELD]:
        (folder / frame.name).hardlink_to(frame)


def batches(reading: Reading, state: Any = None) -> Iterator[Batch]:
    """Yield shuffled batches of what is held."""
    if state is not None or reading.checked:
        raise NotOfferedError("it is a reference for decoding alone")
    held = [(path.stem, path.read_bytes()) for path in sorted(Path(reading.place).iterdir())]
    loader = DataLoader(
        held,  # pyright: ignore[reportArgumentType] # a list is a dataset
        batch_size=BATCH,
        shuffle=True,
        num_workers=reading.processes,
        collate_fn=partial(to_batch, decoded=reading.decoded),
        generator=torch.Generator().manual_seed(SEED),
        worker_init_fn=begin,
        persistent_workers=reading.processes > 0,
    )
    while True:
        yield from loader


def pause(reading: Reading, after: int) -> Pause:
    """Refuse."""
    raise NotOfferedError("it is a reference for decoding alone")
