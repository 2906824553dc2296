"""The index beside a shard: where each part of each sample lies in the tar.

One JSON line per sample, in the order of the tar:

    {"key": "bear-0f3a9c21_00000007", "parts": {"image.jpg": [offset, size, crc32], ...}}
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of one part inside the tar, and zlib's CRC-32 of them."""

    offset: int
    size: int
    crc32: int


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One sample: its key and its parts by name."""

    key: str
    parts: dict[str, Span]


def dump_index(entries: Iterable[IndexEntry]) -> bytes:
    """Write an index; equal entries give equal bytes."""
    lines = (
        {"key": e.key, "parts": {p: [s.offset, s.size, s.crc32] for p, s in e.parts.items()}}
        for e in entries
    )
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


def parse_index(data: bytes) -> list[IndexEntry]:
    """Read an index, in the order of the tar.

    Raises:
        ValueError: `data` is not an index.
    """
    try:
        lines = [json.loads(line) for line in data.splitlines()]
        return [
            IndexEntry(line["key"], {p: Span(*span) for p, span in line["parts"].items()})
            for line in lines
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"not a shard's index: {error}") from None
