"""Score a trained model or a classical baseline: one way for all, without the truth's help."""

import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from selfseg import storage
from selfseg.data.sources import slug
from selfseg.errors import UsageError, UserError
from selfseg.evaluation.protocols import counted_frames, score_frame
from selfseg.evaluation.scores import Scores, SequenceScore, score_sequence
from selfseg.experiment import load_model
from selfseg.prediction.inputs import collection_sources, davis_sources
from selfseg.prediction.segment import (
    Segmenter,
    baseline_segmenter,
    compute_device,
    model_segmenter,
    refined,
)
from selfseg.prediction.sources import Source
from selfseg.training.checkpoint import resolve


@dataclass(frozen=True, slots=True)
class Subject:
    """What is scored, in words: enough for each process to build its own.

    checkpoint: URL of a checkpoint or a run; None for a baseline
    baseline: name of a baseline; None for a checkpoint
    gaps: frames between the ends of a motion; None for what the checkpoint was trained on
    crf: whether masks are refined by the dense CRF
    device: where the model computes
    """

    checkpoint: str | None = None
    baseline: str | None = None
    gaps: tuple[int, ...] | None = None
    crf: bool = False
    device: str = "cpu"

    def segmenter(self) -> Segmenter:
        """Build what turns frames into masks.

        Raises:
            UserError: no such checkpoint or baseline, or one that cannot be used.
        """
        if self.baseline:
            return baseline_segmenter(self.baseline, gaps=self.gaps)
        if not self.checkpoint:
            raise UsageError("nothing to score: give a checkpoint, a run, or --baseline NAME")
        device = compute_device(self.device)
        return model_segmenter(load_model(self.checkpoint, device), gaps=self.gaps, device=device)

    @property
    def title(self) -> str:
        """What tables call it."""
        name = self.baseline or str(self.checkpoint).rstrip("/").rpartition("/")[2]
        return f"{name} + CRF" if self.crf else name


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The videos that are scored, and what they are called."""

    name: str
    sources: tuple[Source, ...]


def find_benchmark(
    *,
    root: str | None,
    split: str,
    collection: str | None,
    benchmark: Literal["davis16"] = "davis16",
) -> Benchmark:
    """Find the videos of a benchmark's tree at `root`, or of a `collection` with masks.

    Raises:
        UserError: no such tree, split list or collection, or no masks in it.
        UsageError: both or neither are given.
    """
    if collection and not root:
        name = collection.rstrip("/").rpartition("/")[2]
        return Benchmark(name, tuple(collection_sources(collection, with_masks=True)))
    if root and not collection:
        return Benchmark(f"{benchmark} {split}", tuple(davis_sources(Path(root), split)))
    raise UsageError("say what to score on: --benchmark davis16 --root DIR, or --collection URL")


def evaluate(
    subject: Subject,
    benchmark: Benchmark,
    *,
    processes: int | None = None,
    console: Console | None = None,
) -> Scores:
    """Score every video of a benchmark.

    Args:
        subject: what is scored.
        benchmark: what it is scored on.
        processes: videos that are worked on at once; None for one per CPU, and on a GPU for two.
        console: where progress is shown; None for stderr.

    Raises:
        UserError: the subject or a video cannot be used.
    """
    title = f"{subject.title} on {benchmark.name}"
    if subject.checkpoint:
        # A run may save a newer checkpoint while it is being scored.
        subject = replace(subject, checkpoint=resolve(subject.checkpoint))
    chosen = processes or _processes(subject, len(benchmark.sources))
    scored: dict[str, SequenceScore] = {}
    with _progress(console) as progress:
        task = progress.add_task(title, total=len(benchmark.sources), j="")
        for sequence in _scored(subject, benchmark.sources, chosen):
            scored[sequence.name] = sequence
            mean = sum(each.j for each in scored.values()) / len(scored)
            progress.update(task, advance=1, j=f"J {mean:.3f}")
    return Scores(title, tuple(scored[source.name] for source in benchmark.sources))


def record(subject: Subject, benchmark: Benchmark, scores: Scores) -> dict[str, Any]:
    """Return the scores with what they are scores of, ready for JSON."""
    return {
        "title": subject.title,
        "benchmark": benchmark.name,
        "checkpoint": subject.checkpoint,
        "baseline": subject.baseline,
        "crf": subject.crf,
        **scores.as_json(),
    }


def write_json(url: str, content: dict[str, Any]) -> None:
    """Write scores to a file or an object."""
    storage.write(url, json.dumps(content, indent=1).encode() + b"\n")


def keep(checkpoint: str, records: Sequence[dict[str, Any]]) -> list[str]:
    """Leave scores in the run that a checkpoint belongs to, where its report looks for them.

    Args:
        checkpoint: URL of a run, or of a checkpoint; one that lies outside a run keeps nothing.
        records: what `record` made.

    Returns:
        URLs that were written; an earlier score of the same title is replaced.
    """
    run, inside, _ = resolve(checkpoint).rpartition("/checkpoints/")
    if not inside:
        return []
    urls = []
    for entry in records:
        name = slug(f"{entry['benchmark']} {entry['title']}")
        urls.append(storage.join(run, "evaluations", f"{name}.json"))
        write_json(urls[-1], entry)
    return urls


def score_source(segmenter: Segmenter, source: Source, *, crf: bool) -> SequenceScore:
    """Score the counted frames of one video that have a truth.

    Raises:
        UserError: no frame counts.
    """
    frame_scores: dict[int, tuple[float, float]] = {}
    number = -1
    for frame, mask in segmenter.masks(source):
        number = frame.number
        if frame.truth is not None and number > 0:
            final = refined(frame.image, mask) if crf else mask
            frame_scores[number] = score_frame(final, frame.truth)
    counted = [frame_scores[n] for n in counted_frames(number + 1) if n in frame_scores]
    if not counted:
        raise UserError(
            f"{source.name}: no frame with a mask between the first and the last, which do not "
            "count; give it masks or leave it out"
        )
    return score_sequence(source.name, counted)


def _scored(subject: Subject, sources: Sequence[Source], processes: int) -> Iterator[SequenceScore]:
    if processes == 1:
        segmenter = subject.segmenter()
        for source in sources:
            yield score_source(segmenter, source, crf=subject.crf)
        return
    subject.segmenter()  # a mistake shows here by its own name; in a pool it would only break it
    with ProcessPoolExecutor(
        processes,
        # Threads of torch and OpenCV do not survive a fork.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(subject,),
    ) as pool:
        futures = [pool.submit(_score_here, source) for source in sources]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_here: list[tuple[Subject, Segmenter]] = []
"""What this process scores; filled once, when the process begins."""


def _begin(subject: Subject) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _here.append((subject, subject.segmenter()))


def _score_here(source: Source) -> SequenceScore:
    subject, segmenter = _here[0]
    return score_source(segmenter, source, crf=subject.crf)


def _processes(subject: Subject, num_sources: int) -> int:
    available = 2 if subject.device.startswith("cuda") else os.cpu_count() or 1
    return max(1, min(available, num_sources))


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[j]}"),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
    )
