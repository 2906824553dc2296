"""How opening and reading a collection grows with its samples and shards.

Collections are made up: indexes as long as real ones, over shards that are holes on the disk and
read as zeros, whose checksums are known.
"""

import hashlib
import json
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tarfile import BLOCKSIZE
from tempfile import TemporaryDirectory

from data_bench.selfseg_shards import VIDEO, Held, commit, describe, order_of

from selfseg.data.format.index import IndexEntry, Span
from selfseg.data.format.manifest import shard_url
from selfseg.data.format.schema import IMAGE, sample_key
from selfseg.data.ingest.spooling import RUN_SAMPLES
from selfseg.data.reading.collection import Collection

SAMPLE_BYTES = 137_000
ZEROS = zlib.crc32(bytes(SAMPLE_BYTES))

STEPS = 30
"""Batches that are read."""

SAMPLES = (1_000, 10_000, 100_000, 1_000_000)
PER_SHARD = 500
"""In collections that grow by samples: as many as shards of 64 MB hold."""

SHARDS = (10, 100, 1_000, 10_000)
SAME_SAMPLES = 100_000
"""In collections that grow by shards."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process costs that opens a collection and reads a little of it.

    open_s: until it is open
    samples_per_s: shuffled, without loader processes
    peak_mb: of memory, program and all
    """

    open_s: float
    samples_per_s: float
    peak_mb: float


def made_up(folder: Path, samples: int, shards: int) -> None:
    """Write a collection of `samples` in `shards` shards, dealt in runs as ingest does it."""
    (folder / "shards").mkdir(parents=True)
    run = min(RUN_SAMPLES, samples // shards)
    held: list[list[int]] = [[] for _ in range(shards)]
    for number in range(samples):
        held[number // run % shards].append(number)
    commit(str(folder), [_write_shard(folder, numbers) for numbers in held])


def growth(largest: int) -> tuple[dict[int, Cost], dict[int, Cost]]:
    """Return costs by samples and by shards, of collections of at most `largest` samples."""
    by_samples = {n: cost(n, n // PER_SHARD) for n in SAMPLES if n <= largest}
    same = min(SAME_SAMPLES, largest)
    by_shards = {n: cost(same, n) for n in SHARDS if n <= same}
    return by_samples, by_shards


def measure(folder: str) -> None:
    """Open the collection and read of it, in this process; print the costs as JSON."""
    started = time.perf_counter()
    collection = Collection.open(folder)
    opened = time.perf_counter()
    order = order_of(collection)
    first = random.Random(0).randrange(len(collection))
    for step in range(first, first + STEPS):
        for sample in order.batch(step):
            collection.record(sample.ordinal).read(IMAGE)
    seconds = time.perf_counter() - opened
    print(
        json.dumps(
            {
                "open_s": opened - started,
                "samples_per_s": STEPS * order.batch_size / seconds,
                "peak_mb": peak_mb(),
            }
        )
    )


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB.

    Not rusage's: that begins with what the process held before it became this program.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["VmHWM"].split()[0]) / 1024


def cost(samples: int, shards: int) -> Cost:
    """Make a collection up, and measure it in a process of its own."""
    with TemporaryDirectory() as folder:
        place = Path(folder, "collection")
        made_up(place, samples, shards)
        program = f"from data_bench.growth import measure; measure({str(place)!r})"
        command = [sys.executable, "-c", program]
        # Twice: the first reads what was just written for the first time.
        _, answer = (
            subprocess.run(
                command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parent.parent
            ).stdout
            for _ in range(2)
        )
    return Cost(**json.loads(answer))


def _write_shard(folder: Path, numbers: Sequence[int]) -> Held:
    stride = BLOCKSIZE + -(-SAMPLE_BYTES // BLOCKSIZE) * BLOCKSIZE
    entries = [
        IndexEntry(
            sample_key(VIDEO, number),
            {IMAGE: Span(row * stride + BLOCKSIZE, SAMPLE_BYTES, ZEROS)},
        )
        for row, number in enumerate(numbers)
    ]
    size = len(numbers) * stride + 2 * BLOCKSIZE
    sha256 = hashlib.sha256(str(numbers).encode()).hexdigest()  # nobody reads it whole
    with Path(shard_url(str(folder), sha256[:16])).open("wb") as file:
        file.truncate(size)
    return describe(folder, sha256, size, entries)
