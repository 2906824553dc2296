"""mosaicml-streaming reads MDS shards in an order that it draws for each epoch."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data_bench.reading import (
    BATCH,
    SEED,
    SHARD_BYTES,
    Batch,
    NotOfferedError,
    Pause,
    Reading,
    begin,
    to_batch,
)
from streaming import (  # pyright: ignore[reportMissingImports] # in .venv-bench alone
    MDSWriter,
    StreamingDataLoader,
    StreamingDataset,
)


def write(frames: Sequence[Path], folder: Path) -> None:
    """Write MDS: it keeps files as they are."""
    columns = {"key": "str", "image": "bytes"}
    with MDSWriter(out=str(folder), columns=columns, size_limit=SHARD_BYTES) as writer:
        for frame in frames:
            writer.write({"key": frame.stem, "image": frame.read_bytes()})


def batches(reading: Reading, state: Any = None) -> Iterator[Batch]:
    """Yield batches, from the state of an earlier loader if there is one."""
    loader = _loader(reading)
    if state is not None:
        loader.load_state_dict(state)
    while True:
        yield from loader


def pause(reading: Reading, after: int) -> Pause:
    """Read, ask the loader for its state, and see what would come next."""
    loader = _loader(reading)
    stream = iter(loader)
    for _ in range(after):
        next(stream)
    state = loader.state_dict()
    return Pause(state, next(stream).keys)


def _loader(reading: Reading) -> StreamingDataLoader:
    if reading.checked:
        raise NotOfferedError("it checks shards when they are downloaded, not samples")
    if remote := reading.place.startswith("s3://"):
        os.environ["S3_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"]
    dataset = StreamingDataset(
        remote=reading.place if remote else None,
        local=reading.cache if remote else reading.place,
        shuffle=True,
        shuffle_seed=SEED,
        batch_size=BATCH,
        num_canonical_nodes=1,
    )
    return StreamingDataLoader(
        dataset,
        batch_size=BATCH,
        num_workers=reading.processes,
        collate_fn=partial(_collate, decoded=reading.decoded),
        worker_init_fn=begin,
        persistent_workers=reading.processes > 0,
    )


def _collate(samples: Sequence[dict[str, Any]], *, decoded: bool) -> Batch:
    return to_batch([(sample["key"], sample["image"]) for sample in samples], decoded=decoded)
