"""What arrived of a collection, as something to compare."""

import hashlib
from collections.abc import Iterable

from selfseg.contracts import FramePairs

PARTS = ("image", "flow", "flow_back", "camera", "camera_back")


def samples_of(read_batches: Iterable[FramePairs]) -> list[list[str]]:
    """Name each sample of each batch by its key and a digest of all its values."""
    return [
        [
            key + hashlib.sha256(b"".join(bytes_of(batch, part, row) for part in PARTS)).hexdigest()
            for row, key in enumerate(batch.keys)
        ]
        for batch in read_batches
    ]


def bytes_of(batch: FramePairs, part: str, row: int) -> bytes:
    return getattr(batch, part)[row].numpy().tobytes()
