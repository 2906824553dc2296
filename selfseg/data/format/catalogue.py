"""Which samples the shards of a collection hold, and which parts: all that planning a run takes.

Beside the indexes, which also say where every part lies, it is small: neighbouring frames of a
video stand in a line together. The command that adds shards to a collection writes one:

    {"parts": [["backward_1.png", "forward_1.png", "image.jpg", "meta.json"], ...],
     "shards": {"<name>": [["bear-0f3a9c21", 0, 8, 0], ...], ...}}

A stretch is a video's id, its first frame, how many frames there are, and the number of the set
of parts that each has.
"""

import gc
import json
import zlib
from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, Int64, Shaped

from selfseg.data.format.index import IndexEntry
from selfseg.data.format.schema import sample_key, split_key


class Stretch(NamedTuple):
    """Consecutive frames of one video, in one shard, with parts of the same names."""

    video_id: str
    frame: int
    frames: int
    parts: tuple[str, ...]


Row = list[Any]
"""The values of a `Stretch`."""


def stretches(entries: Iterable[IndexEntry]) -> list[Stretch]:
    """Return what a shard holds, in its order."""
    found: list[Stretch] = []
    for entry in entries:
        video_id, frame = split_key(entry.key)
        parts = tuple(sorted(entry.parts))
        last = found[-1] if found else None
        if last and last == (video_id, frame - last.frames, last.frames, parts):
            found[-1] = last._replace(frames=last.frames + 1)
        else:
            found.append(Stretch(video_id, frame, 1, parts))
    return found


def dump_catalogue(shards: Mapping[str, Iterable[Stretch]]) -> Iterator[bytes]:
    """Write what these shards hold, one after another; equal shards give equal bytes."""
    kinds = sorted({stretch.parts for held in shards.values() for stretch in held})
    number = {parts: index for index, parts in enumerate(kinds)}
    yield b'{"parts":' + _json(kinds) + b',"shards":{'
    for place, name in enumerate(sorted(shards)):
        rows = [[*stretch[:3], number[stretch.parts]] for stretch in shards[name]]
        yield b"," * (place > 0) + _json(name) + b":" + _json(rows)
    yield b"}}\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def parse_catalogue(data: bytes) -> dict[str, list[Stretch]]:
    """Read what shards hold, by their names.

    Raises:
        ValueError: `data` is not a catalogue.
    """
    return {name: [Stretch(*row) for row in rows] for name, rows in parse_rows(data).items()}


def parse_rows(data: bytes) -> dict[str, list[Row]]:
    """Do as `parse_catalogue` does in less time and memory, which counts where there are millions.

    Raises:
        ValueError: `data` is not a catalogue.
    """
    try:
        with _without_collector():
            found = json.loads(data)
        kinds = [tuple(parts) for parts in found["parts"]]
        shards: dict[str, list[Row]] = found["shards"]
        for row in chain.from_iterable(shards.values()):
            _, _, _, kind = row
            row[3] = kinds[kind]
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(f"not a catalogue of shards: {error}") from None
    return shards


@dataclass(frozen=True, slots=True)
class Packed:
    """The stretches of a shard, in some ten bytes each."""

    data: bytes

    @classmethod
    def of(cls, held: Iterable[Stretch]) -> "Packed":
        """Pack stretches, which come out as they went in."""
        return cls(zlib.compress(b"".join(dump_catalogue({"": list(held)}))))

    def __iter__(self) -> Iterator[Stretch]:
        return iter(parse_catalogue(zlib.decompress(self.data))[""])


class Catalogue:
    """The samples of a collection by their ordinals: shard by shard, in the manifest's order.

    Takes some ten bytes a sample, which every process that reads the collection holds.

    repeated: the key of a sample that is held more than once; None: each is there once
    """

    def __init__(self, shards: Iterable[Iterable[Stretch | Row]]) -> None:
        """List what these shards hold."""
        # Column by column, and most of it in NumPy: there may be millions of stretches.
        flat = list(chain.from_iterable(chain.from_iterable(shards)))
        videos, kinds = flat[0::4], flat[3::4]
        first, frames = (np.array(flat[column::4], np.int64) for column in (1, 2))
        self._ids, video = _numbered(videos, np.int32)
        self._kinds, kind = _numbered(kinds, np.int16)
        self.repeated = self._repeated(video, first, frames)
        self._video, self._kind = np.repeat(video, frames), np.repeat(kind, frames)
        first -= np.cumsum(frames) - frames
        self._frame = (np.arange(frames.sum()) + np.repeat(first, frames)).astype(np.int32)

    def _repeated(
        self,
        video: Int32[np.ndarray, " stretches"],
        first: Int64[np.ndarray, " stretches"],
        frames: Int64[np.ndarray, " stretches"],
    ) -> str | None:
        order = np.lexsort((first, video))
        video, first, end = video[order], first[order], (first + frames)[order]
        (again,) = np.nonzero((video[1:] == video[:-1]) & (first[1:] < end[:-1]))
        if not len(again):
            return None
        stretch = again[0] + 1
        return sample_key(self._ids[video[stretch]], int(first[stretch]))

    def __len__(self) -> int:
        return len(self._frame)

    def sample(self, ordinal: int) -> tuple[str, int]:
        """Return the id of a sample's video, and the number of its frame."""
        return self._ids[self._video[ordinal]], int(self._frame[ordinal])

    def key(self, ordinal: int) -> str:
        """Return a sample's key."""
        return sample_key(*self.sample(ordinal))

    def find(self, video_id: str, frame: int) -> int | None:
        """Return the ordinal of a video's frame; None: it is not there."""
        span = self._spans.get(video_id)
        if span is None:
            return None
        ordinals = self._sorted[span]
        # Mostly all frames of a video are there, from the first.
        if 0 <= frame < len(ordinals) and self._frame[ordinals[frame]] == frame:
            return int(ordinals[frame])
        place = bisect_right(ordinals, frame, key=self._frame.__getitem__) - 1
        if place < 0 or self._frame[ordinals[place]] != frame:
            return None
        return int(ordinals[place])

    def holds(self, part: str) -> Bool[np.ndarray, " samples"]:
        """Tell which samples have a part of this name."""
        return np.array([part in parts for parts in self._kinds], np.bool_)[self._kind]

    def of_videos(self, video_ids: Container[str]) -> Bool[np.ndarray, " samples"]:
        """Tell which samples are frames of these videos."""
        return np.array([video in video_ids for video in self._ids], np.bool_)[self._video]

    def frames_of(self, video_id: str) -> Int64[np.ndarray, " frames"]:
        """Return the ordinals of a video's frames, in order; none of a video that is not there."""
        return self._sorted[self._spans.get(video_id, slice(0))]

    @cached_property
    def _sorted(self) -> Int64[np.ndarray, " samples"]:
        """Ordinals by video, then by frame."""
        return np.lexsort((self._frame, self._video))

    @cached_property
    def _spans(self) -> dict[str, slice]:
        """Where each video's frames are in `_sorted`."""
        counts = np.bincount(self._video, minlength=len(self._ids)).tolist()
        ends = list(accumulate(counts))
        return {
            video_id: slice(end - count, end)
            for video_id, count, end in zip(self._ids, counts, ends, strict=True)
        }


def _numbered(
    values: Sequence[Any], dtype: type
) -> tuple[list[Any], Shaped[np.ndarray, " values"]]:
    """Return the different values, sorted, and for each value its place among them."""
    different = sorted(set(values))
    number = {value: index for index, value in enumerate(different)}
    return different, np.fromiter(map(number.__getitem__, values), dtype, len(values))


@contextmanager
def _without_collector() -> Iterator[None]:
    """Let nobody look for cycles again and again in what grows and has none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
