"""Which sample is read when: arithmetic only, no file is touched.

An epoch is a permutation of all samples, never written down:

    shards in random order, one after another, the whole rotated by a random amount
      -> cut into `lanes` lanes of equal length (to within one sample)
      -> each lane cut into blocks of `block` samples, shuffled within the block
      -> the lanes dealt out in turn: position p is sample p // lanes of lane p % lanes

So a batch draws from as many places as there are lanes, and a reader needs only `lanes * block`
samples at hand. Cutting lanes by samples instead of by shards lets shards be of any length, or
fewer than lanes. Any position is computed on its own, so resuming costs the same at any step.

Neither the number of workers nor that of loader processes occurs above: a worker takes its slice
of each global batch. Changing them, even half-way, does not change what is trained on.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int64

from selfseg.data.reading.draws import permutation, words
from selfseg.errors import UsageError

Tail = Literal["carry", "drop"]


class Sample(NamedTuple):
    """One reading of one sample; `ordinal` counts samples in manifest order."""

    epoch: int
    ordinal: int


class Order:
    """The endless sequence of global batches of one run."""

    def __init__(
        self,
        counts: Sequence[int],
        *,
        seed: int,
        batch_size: int,
        lanes: int,
        block: int,
        tail: Tail,
    ) -> None:
        """Describe the order over shards of `counts` samples each.

        Raises:
            UsageError: there is no sample, or `tail` is "drop" and there is no whole batch.
        """
        self.starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.samples = int(self.starts[-1])
        self.seed, self.batch_size = seed, batch_size
        self.lanes, self.block = lanes, block
        if not self.samples:
            raise UsageError(
                "the collection has no sample to read; ingest videos of 2 or more frames"
            )
        if tail == "drop" and self.samples < batch_size:
            raise UsageError(
                f"data.batch_size {batch_size} exceeds the collection's {self.samples} samples; "
                "set data.tail=carry or a smaller batch"
            )
        # Of an epoch; what "drop" leaves out is at its end.
        self._length = self.samples - (self.samples % batch_size if tail == "drop" else 0)
        short, longer = divmod(self.samples, lanes)
        lengths = [short + (lane < longer) for lane in range(lanes)]
        self._lanes = [
            (end - length, length) for end, length in zip(accumulate(lengths), lengths, strict=True)
        ]
        self._layouts: dict[int, _Layout] = {}

    def batch(self, step: int) -> tuple[Sample, ...]:
        """Return the samples of global batch `step`, the same for any number of workers."""
        return self.part(step, rank=0, world_size=1)

    def part(self, step: int, *, rank: int, world_size: int) -> tuple[Sample, ...]:
        """Return the samples [rank * B / W, (rank + 1) * B / W) of global batch `step`.

        Raises:
            UsageError: the batch cannot be shared out evenly.
        """
        share = share_of(self.batch_size, world_size)
        first = step * self.batch_size + rank * share
        return tuple(map(self._sample, range(first, first + share)))

    def epoch(self, step: int) -> int:
        """Return the epoch that the first sample of global batch `step` belongs to."""
        return step * self.batch_size // self._length

    def _sample(self, position: int) -> Sample:
        epoch, place = divmod(position, self._length)
        index, lane = divmod(place, self.lanes)
        start, length = self._lanes[lane]
        block, within = divmod(index, self.block)
        first = block * self.block
        shuffled = _shuffled(self.seed, epoch, lane, block, min(self.block, length - first))
        return Sample(epoch, self._layout(epoch).ordinal(start + first + shuffled.item(within)))

    def _layout(self, epoch: int) -> "_Layout":
        # Other threads may read ahead: what is looked up and what is kept are never one step.
        layout = self._layouts.get(epoch)
        if layout is None:
            layout = _Layout(self.starts, self.seed, epoch)
            # A batch may span epochs, but never goes back further than its predecessors.
            earlier = {e: old for e, old in self._layouts.items() if e >= epoch - 1}
            self._layouts = {**earlier, epoch: layout}
        return layout


def share_of(batch_size: int, world_size: int) -> int:
    """Return how many samples of a global batch each worker takes.

    Raises:
        UsageError: the batch cannot be shared out evenly.
    """
    share, rest = divmod(batch_size, world_size)
    if rest:
        below, above = share * world_size, (share + 1) * world_size
        remedy = f"{below} or {above}" if below else f"{above}"
        raise UsageError(
            f"data.batch_size {batch_size} is the global batch and cannot be shared evenly by "
            f"{world_size} workers; set data.batch_size={remedy}, or another number of workers"
        )
    return share


class _Layout:
    """One epoch's shards in reading order, end to end and rotated."""

    def __init__(self, starts: Int64[np.ndarray, " bounds"], seed: int, epoch: int) -> None:
        shards = permutation(len(starts) - 1, seed, epoch, "shards")
        self.samples = int(starts[-1])
        # Without the rotation, a collection of one shard would cut the same blocks every epoch.
        self.rotation = int(words(1, seed, epoch, "rotation")[0] % np.uint64(self.samples))
        # Lists: NumPy looks up a single number ten times more slowly.
        self.first: list[int] = starts[:-1][shards].tolist()
        self.ends: list[int] = np.cumsum(np.diff(starts)[shards]).tolist()

    def ordinal(self, sequence: int) -> int:
        """Return the sample at `sequence`, 0 ... samples - 1."""
        turned = (sequence + self.rotation) % self.samples
        shard = bisect_right(self.ends, turned)
        return self.first[shard] + turned - (self.ends[shard - 1] if shard else 0)


@lru_cache(maxsize=256)
def _shuffled(
    seed: int, epoch: int, lane: int, block: int, size: int
) -> Int64[np.ndarray, " size"]:
    return permutation(size, seed, epoch, "block", lane, block)
