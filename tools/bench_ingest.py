"""How fast ingest is beside a bare loop that decodes, resizes and measures the same flows.

    tools/bench_ingest.py [VIDEO] [--workers N] [--rounds R]

Each of N processes runs the bare loop over VIDEO (without one: a made-up clip of 854x480); then
N copies of it are ingested by N workers. Both are timed from the first frame to the last, rounds
alternate, and the median counts, of the ratio round by round. Starting Ray is not counted. Prints
JSON.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest.motion import resize
from selfseg.data.ingest.samples import grid_sizes
from selfseg.data.ingest.videos import open_video
from selfseg.ops.optical_flow import dis_flow
from selfseg.runtime.cluster import connect
from selfseg.runtime.ingest import Job, ingest


def bare_loop(path: Path) -> int:
    """Decode, resize and measure flow, and throw everything away; return the number of frames."""
    cv2.setNumThreads(1)
    settings = IngestSettings()
    video = open_video(path)
    sizes = grid_sizes(settings, video.height, video.width)
    grays: list[np.ndarray] = []
    for frame in video.frames():
        resize(frame.image, sizes.image)
        gray = np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY), np.uint8)
        now = resize(gray, sizes.matching)
        for gap in settings.gaps:
            if gap <= len(grays):
                for pair in ((grays[-gap], now), (now, grays[-gap])):
                    dis_flow(*pair, **settings.dis.model_dump())
        grays = [*grays[-max(settings.gaps) + 1 :], now]
    return video.num_frames


def time_bare(pool: ProcessPoolExecutor, video: Path, workers: int) -> float:
    """Return frames per second of `workers` bare loops side by side."""
    start = time.perf_counter()
    frames = sum(pool.map(bare_loop, repeat(video, workers)))
    return frames / (time.perf_counter() - start)


def time_ingest(video: Path, workers: int, scratch: Path) -> float:
    """Return frames per second from videos to a committed collection."""
    inputs = [scratch / f"copy-{copy}{video.suffix}" for copy in range(workers)]
    for path in inputs:
        shutil.copyfile(video, path)
    output = scratch / "collection"
    settings = IngestSettings()
    job = Job(tuple(inputs), str(output), None, settings, 128 * 10**6, workers)
    start = time.perf_counter()
    outcome = ingest(job, Console(quiet=True))
    seconds = time.perf_counter() - start
    shutil.rmtree(output)
    return outcome.manifest.frames / seconds


def made_up_clip(path: Path, frames: int = 100) -> Path:
    """Write a clip of smooth noise that drifts."""
    noise = np.random.default_rng(0).random((640, 1100, 3), np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)  # pyright: ignore[reportCallIssue, reportArgumentType]
    texture = smooth.astype(np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 24, (854, 480))
    for number in range(frames):
        writer.write(texture[number : number + 480, 2 * number : 2 * number + 854])
    writer.release()
    return path


def main() -> None:
    """Measure, and print the rates and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    connect(args.workers)
    bare, whole = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(args.workers, get_context("spawn")) as pool,
    ):
        scratch = Path(folder)
        video = args.video or made_up_clip(scratch / "clip.mp4")
        for _ in range(args.rounds + 1):
            bare.append(time_bare(pool, video, args.workers))
            whole.append(time_ingest(video, args.workers, scratch))
    # The first round also loads the libraries, on both sides.
    ratios = [ours / theirs for ours, theirs in zip(whole[1:], bare[1:], strict=True)]
    print(
        json.dumps(
            {
                "workers": args.workers,
                "bare_frames_per_s": round(statistics.median(bare[1:]), 2),
                "ingest_frames_per_s": round(statistics.median(whole[1:]), 2),
                "ratio": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
            }
        )
    )


if __name__ == "__main__":
    main()
