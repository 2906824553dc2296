"""Files as telephones, recorders and accidents make them, from ordinary ones by their bytes."""

import math
import struct
import wave
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import cv2
import numpy as np

CONTAINERS = {b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl"}
TICKS_PER_FRAME = 1024
"""Of the clock of an .mp4 that `write_video` wrote at 10 frames a second."""
JPEG = b"\xff\xd8\xff"
SIMPLE_BLOCK, VOID = 0xA3, 0xEC


def with_ticks(path: Path, ticks: Sequence[int]) -> Path:
    """Let an .mp4's frames last so many ticks each."""
    entries = b"".join(struct.pack(">II", 1, length) for length in ticks)
    return _rewrite(path, b"stts", lambda _: struct.pack(">II", 0, len(ticks)) + entries)


def turned(path: Path, degrees: float) -> Path:
    """Have an .mp4 shown turned clockwise."""
    cosine, sine = (f(math.radians(degrees)) for f in (math.cos, math.sin))
    rows = ((cosine, sine, 0), (-sine, cosine, 0), (0, 0, 2**14))  # the last: 1, in another unit
    matrix = struct.pack(">9i", *(round(value * 2**16) for row in rows for value in row))
    return _rewrite(path, b"tkhd", lambda head: head[:40] + matrix + head[76:])


def trimmed(path: Path, first: int, frames: int) -> Path:
    """Hide all but so many of an .mp4's frames from the `first` on, as telephones trim."""
    edit = struct.pack(">IIIIII", 0, 1, frames * 100, first * TICKS_PER_FRAME, 2**16, 0)[:20]
    return _rewrite(path, b"elst", lambda _: edit + struct.pack(">I", 2**16))


def thinned(path: Path, dropped: Collection[int]) -> Path:
    """Take frames out of an .mkv of JPEGs; the others keep their times."""
    data = bytearray(path.read_bytes())
    at, number = data.find(JPEG), 0
    while at >= 0:
        block = at - 7  # id, two bytes of size, track, two bytes of time, flags
        assert data[block] == SIMPLE_BLOCK
        if number in dropped:
            data[block] = VOID
        at, number = data.find(JPEG, at + 1), number + 1
    path.write_bytes(data)
    return path


def cut(path: Path, share: float) -> Path:
    """Keep the first `share` of a file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
    return path


def sound(path: Path, cover: np.ndarray | None = None) -> Path:
    """Write a second of silence as .wav, with an RGB picture for a cover."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 8000, "NONE", ""))
        file.writeframes(bytes(16000))
    if cover is not None:
        picture = b"\0image/png\0\3\0" + cv2.imencode(".png", cover[..., ::-1])[1].tobytes()
        frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
        size = len(frame)
        safe = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
        tag = b"ID3\3\0\0" + safe + frame
        tag += bytes(len(tag) % 2)
        data = path.read_bytes() + b"ID3 " + struct.pack("<I", len(tag)) + tag
        path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    return path


def _rewrite(path: Path, kind: bytes, change: Callable[[bytes], bytes]) -> Path:
    """Replace the content of one kind of box of an .mp4, which is behind its frames."""
    path.write_bytes(_rewritten(path.read_bytes(), kind, change))
    return path


def _rewritten(data: bytes, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    boxes, at = [], 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + size]
        if name == kind:
            content = change(content)
        elif name in CONTAINERS:
            content = _rewritten(content, kind, change)
        boxes.append(struct.pack(">I4s", len(content) + 8, name) + content)
        at += size
    return b"".join(boxes)
