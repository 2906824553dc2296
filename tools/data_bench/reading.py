"""What the benchmark asks of every library: write frames its own way, give batches of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

BATCH = 32
"""Samples in a batch."""

SHARD_BYTES = 2**26
"""Size of a shard: what MDS and litdata take by themselves, the same for all."""

SEED = 7


class NotOfferedError(NotImplementedError):
    """A library has no way to do this; says why."""


class Batch(NamedTuple):
    """Keys, and what is held under them.

    contents: JPEG files, as bytes or tensors of bytes; or frames as one tensor [b h w 3], uint8
    """

    keys: Sequence[str]
    contents: "Sequence[bytes] | Sequence[torch.Tensor] | torch.Tensor"


@dataclass(frozen=True, slots=True)
class Reading:
    """How a collection is read.

    place: a folder, or s3://bucket
    cache: folder for what is downloaded; empty at first
    processes: that prepare batches; 0: the reader itself
    decoded: frames instead of files
    checked: every sample's integrity is checked as it is read
    """

    place: str
    cache: str
    processes: int = 0
    decoded: bool = False
    checked: bool = False


class Pause(NamedTuple):
    """Where reading stopped: what resumes it, as JSON, and the keys that must come next."""

    state: Any
    upcoming: Sequence[str]


class Library(Protocol):
    """What a module beside this one does for its library; all may raise `NotOfferedError`."""

    def write(self, frames: Sequence[Path], folder: Path) -> None:
        """Write JPEG files in the library's own format."""
        ...

    def batches(self, reading: Reading, state: Any = None) -> Iterator[Batch]:
        """Yield shuffled batches without end, epoch after epoch, from a pause's state on."""
        ...

    def pause(self, reading: Reading, after: int) -> Pause:
        """Read `after` batches and stop."""
        ...


def to_batch(samples: Sequence[tuple[str, bytes]], *, decoded: bool) -> Batch:
    """Join keyed JPEG files to a batch, the same work for every library."""
    keys = [key for key, _ in samples]
    if not decoded:
        return Batch(keys, [data for _, data in samples])
    return Batch(keys, torch.from_numpy(decode_all([data for _, data in samples])))


def decode_all(files: Sequence[bytes]) -> UInt8[np.ndarray, "b h w 3"]:
    """Return JPEG files' frames, which are of one size."""
    return np.stack([decode(data) for data in files])


def decode(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Return a JPEG file's frame."""
    frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert frame is not None
    return np.asarray(frame, np.uint8)


def begin(_process: int) -> None:
    """Set up a loader process: one thread each, as many as were asked for compute."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
