"""litdata reads chunks that its `optimize` writes, mapped into memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_bench.reading import (
    SEED,
    SHARD_BYTES,
    Batch,
    NotOfferedError,
    Pause,
    Reading,
)
from data_bench.resuming import endless, options, paused
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
    return endless(_loader(reading), state)


def pause(reading: Reading, after: int) -> Pause:
    """Read, ask the loader for its state, and see what would come next."""
    return paused(_loader(reading), after)


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
    return StreamingDataLoader(dataset, **options(reading))
