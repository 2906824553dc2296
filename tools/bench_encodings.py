"""What it costs to keep a flow: bytes, time and error of each encoding that was considered.

    tools/bench_encodings.py [VIDEO] [--flows N]

Measures N flows of 240 rows between neighbouring frames, spread over VIDEO (without one: a made-up
clip), with one thread. Errors are mean end-point errors in pixels of those 240 rows, scaling back
up included. The default of `selfseg.data.format.schema` is marked.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from bench_ingest import made_up_clip
from rich.console import Console
from rich.table import Table

from selfseg.data.format.schema import FLOW_UNITS_PER_PIXEL
from selfseg.data.format.settings import DisSettings, IngestSettings
from selfseg.data.ingest.dis_matching import DisMatcher
from selfseg.data.ingest.motion import resize_flow
from selfseg.data.ingest.samples import grid_sizes
from selfseg.data.ingest.videos import open_video

ROWS = 240
REPEATS = 5


@dataclass(frozen=True)
class Encoding:
    """A way to keep a flow, (x, y) in pixels.

    rows: of the grid; units: of a pixel, per pixel
    layout: three 16-bit channels as KITTI has them; one, x above y, also as runs; or 8 bits of that
    """

    rows: int
    units: int
    layout: Literal["3 channels (KITTI)", "x above y", "x above y, RLE", "8 bits, x above y, RLE"]

    def encode(self, flow: np.ndarray) -> bytes:
        """Return a PNG."""
        bits = 8 if self.layout.startswith("8") else 16
        levels = np.rint(flow * self.units) + 2 ** (bits - 1)
        levels = levels.clip(0, 2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16)
        options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
        if "RLE" in self.layout:
            options += [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
        x, y = levels[..., 0], levels[..., 1]
        picture = np.dstack([np.ones_like(x), x, y]) if "3" in self.layout else np.vstack([x, y])
        return cv2.imencode(".png", picture, options)[1].tobytes()

    def decode(self, data: bytes) -> np.ndarray:
        """Return the flow."""
        levels = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
        middle = 128 if levels.dtype == np.uint8 else 2**15
        split = np.split(levels, 2) if levels.ndim == 2 else (levels[..., 1], levels[..., 2])
        return (np.stack(split, axis=-1).astype(np.float32) - middle) / np.float32(self.units)


ENCODINGS = (
    Encoding(240, 64, "3 channels (KITTI)"),
    Encoding(240, 64, "x above y"),
    Encoding(240, 64, "x above y, RLE"),
    Encoding(240, 32, "x above y, RLE"),
    Encoding(120, 64, "x above y, RLE"),
    Encoding(120, 32, "3 channels (KITTI)"),
    Encoding(120, 32, "x above y, RLE"),
    Encoding(120, 16, "x above y, RLE"),
    Encoding(120, 4, "8 bits, x above y, RLE"),
)


def flows(path: Path, number: int) -> Iterator[np.ndarray]:
    """Measure flows of `ROWS` rows between neighbours, spread over a video."""
    video = open_video(path)
    settings = IngestSettings(height=ROWS, flow_scale=1)
    sizes = grid_sizes(settings, video.height, video.width)
    matcher = DisMatcher(DisSettings())
    views = (matcher.view(frame.image, sizes.matching) for frame in video.frames())
    stride = max(1, (video.num_frames - 1) // number)
    for position, (first, second) in enumerate(pairwise(views)):
        if position % stride == 0 and position // stride < number:
            yield resize_flow(matcher.flows(first, [second])[0][0], sizes.flow)


def measure(encoding: Encoding, measured: Sequence[np.ndarray]) -> tuple[float, ...]:
    """Return kilobytes, milliseconds to encode and to decode, and the error, each the mean."""
    kilobytes, encode_ms, decode_ms, errors = [], [], [], []
    for flow in measured:
        height, width = flow.shape[:2]
        columns = max(2, 2 * round(width * encoding.rows / height / 2))
        small = resize_flow(flow, (encoding.rows, columns))
        data, spent = _timed(partial(encoding.encode, small))
        encode_ms.append(spent)
        back, spent = _timed(partial(encoding.decode, data))
        decode_ms.append(spent)
        kilobytes.append(len(data) / 1000)
        large = cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR)
        large *= np.array([width / columns, height / encoding.rows], np.float32)
        errors.append(np.linalg.norm(large - flow, axis=-1).mean())
    return tuple(float(np.mean(values)) for values in (kilobytes, encode_ms, decode_ms, errors))


def _timed(work: partial) -> tuple:
    """Return the result, and the median of some calls' milliseconds."""
    result, spent = work(), []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        spent.append(1000 * (time.perf_counter() - start))
    return result, float(np.median(spent))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--flows", type=int, default=15)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        measured = list(flows(args.video or made_up_clip(Path(folder) / "clip.mp4"), args.flows))
    headings = ("grid", "unit", "layout", "kB", "encode ms", "decode ms", "mean error px", "")
    table = Table(*headings, box=None)
    for encoding in ENCODINGS:
        kilobytes, encode_ms, decode_ms, error = measure(encoding, measured)
        default = encoding == Encoding(ROWS // 2, FLOW_UNITS_PER_PIXEL, "x above y, RLE")
        table.add_row(
            str(encoding.rows), f"1/{encoding.units}", encoding.layout, f"{kilobytes:.1f}",
            f"{encode_ms:.2f}", f"{decode_ms:.2f}", f"{error:.3f}", "default" if default else "",
        )  # fmt: skip
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
