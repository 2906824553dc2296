"""litdata reads chunks that its `optimize` writes, mapped into memory."""

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
from litdata import (  # pyright: ignore[reportMissingImports] # in .venv-bench alone
    StreamingDataLoader,
    StreamingDataset,
    optimize,
)
from litdata.streaming import (  # pyright: ignore[reportMissingImports] # in .venv-bench alone
    downloader,
)


def write(frames: Sequence[Path], folder: Path) -> None:
    """Write chunks: files are kept as they are."""
    optimize(
        fn=_sample,
        inputs=[str(frame) for frame in frames],
        output_dir=str(folder),
        chunk_bytes=SHARD_BYTES,
        num_workers=1,
        start_method="fork",
        keep_data_ordered=True,
        verbose=False,
    )


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


def _sample(frame: str) -> dict[str, Any]:
    path = Path(frame)
    return {"key": path.stem, "image": path.read_bytes()}


def _loader(reading: Reading) -> StreamingDataLoader:
    if reading.checked:
        raise NotOfferedError("it keeps no checksums")
    if remote := reading.place.startswith("s3://"):
        # What it downloads with refuses a server without TLS, and it has no setting for that.
        downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True
    dataset = StreamingDataset(
        reading.place, cache_dir=reading.cache if remote else None, shuffle=True, seed=SEED
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
