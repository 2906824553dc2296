"""One piece of work on each of many videos, in several processes."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

import cv2
import torch

from selfseg.prediction.segment import Segmenter
from selfseg.prediction.sources import AnnotatedSource
from selfseg.prediction.subjects import Subject

Result = TypeVar("Result")
Work = Callable[[Segmenter, AnnotatedSource], Result]
"""What is done with one video; small enough to send to another process."""


def each_result(
    subject: Subject,
    segmenter: Segmenter,
    sources: Sequence[AnnotatedSource],
    work: Work[Result],
    processes: int | None,
) -> Iterator[Result]:
    """Yield the result of each video, in the order in which they are done.

    Args:
        subject: what other processes build a segmenter of their own from.
        segmenter: of this process.
        sources: the videos.
        work: what is done with each.
        processes: videos that are worked on at once; None for one per CPU, and on a GPU for two.
    """
    processes = processes or _processes(subject, len(sources))
    if processes == 1:
        for source in sources:
            yield work(segmenter, source)
        return
    with ProcessPoolExecutor(
        processes,
        # Threads of torch and OpenCV do not survive a fork.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(subject, work),
    ) as pool:
        futures = [pool.submit(_work_here, source) for source in sources]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_here: list[tuple[Work[Any], Segmenter]] = []
"""What this process does, and by what; filled once, when the process begins."""


def _begin(subject: Subject, work: Work[Any]) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _here.append((work, subject.segmenter()))


def _work_here(source: AnnotatedSource) -> Any:
    work, segmenter = _here[0]
    return work(segmenter, source)


def _processes(subject: Subject, num_sources: int) -> int:
    available = 2 if subject.device.startswith("cuda") else os.cpu_count() or 1
    return max(1, min(available, num_sources))
