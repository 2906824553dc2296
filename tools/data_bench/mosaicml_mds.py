"""mosaicml-streaming reads MDS shards in an order that it draws for each epoch."""

import os
from collections.abc import Iterator, Sequence
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
)
from data_bench.resuming import endless, options, paused
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
    return endless(_loader(reading), state)


def pause(reading: Reading, after: int) -> Pause:
    """Read, ask the loader for its state, and see what would come next."""
    return paused(_loader(reading), after)


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
    return StreamingDataLoader(dataset, **options(reading))
