"""Score a trained model or a classical baseline: one way for all, without the truth's help."""

import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Any, Self

import cv2
import torch
from rich.console import Console
from rich.progress import TextColumn

from selfseg import storage
from selfseg.contracts import View
from selfseg.data.sources import slug
from selfseg.errors import UsageError, UserError
from selfseg.evaluation.protocols import Protocol
from selfseg.evaluation.scores import Score, Scores, average
from selfseg.experiment import load_model, round_checkpoint
from selfseg.prediction.baselines import baseline_segmenter
from selfseg.prediction.benchmarks import Benchmark
from selfseg.prediction.progress import bar
from selfseg.prediction.segment import (
    ModelSegmenter,
    Segmenter,
    compute_device,
    model_segmenter,
    refined,
)
from selfseg.prediction.sources import AnnotatedSource
from selfseg.training.checkpoint import resolve


@dataclass(frozen=True, slots=True)
class Subject:
    """What is scored, in words: enough for each process to build its own.

    checkpoint: URL of a checkpoint or a run; None for a baseline
    round: of the run, whose checkpoint is meant; None for the newest
    baseline: name of a baseline; None for a checkpoint
    gaps: frames between the ends of a motion; None for what the checkpoint was trained on
    view: what a checkpoint looks at; None for what its method calls best
    augment: whether a checkpoint's masks are averaged over crops and mirror images
    crf: whether masks are refined by the dense CRF
    device: where the model computes
    name: what tables call it; None for what a URL or a baseline is called
    seed: of the checkpoint's run, once it was looked up
    """

    checkpoint: str | None = None
    round: int | None = None
    baseline: str | None = None
    gaps: tuple[int, ...] | None = None
    view: View | None = None
    augment: bool = False
    crf: bool = False
    device: str = "cpu"
    name: str | None = None
    seed: int | None = None

    def segmenter(self) -> Segmenter:
        """Build what turns frames into masks.

        Raises:
            UserError: no such checkpoint or baseline, or one that cannot be used.
        """
        if self.baseline:
            return baseline_segmenter(self.baseline, gaps=self.gaps)
        return self._model_segmenter()

    def settled(self, benchmark: Benchmark) -> Self:
        """Decide what was left open: the run's newest checkpoint, and the view for a benchmark.

        Raises:
            UserError: no such checkpoint, or one that cannot be used.
        """
        if self.baseline:
            return self
        # A run may save a newer checkpoint while it is being scored.
        url = str(self.checkpoint)
        found = resolve(url) if self.round is None else round_checkpoint(url, self.round)
        subject = replace(self, checkpoint=found)
        segmenter = subject._model_segmenter()
        view = segmenter.view_of(benchmark.sources[0])
        model = segmenter.model
        name = self.name or url.rstrip("/").rpartition("/")[2]
        if self.round is not None:
            name = f"{name} round {self.round}"
        if len(model.method.views) > 1:
            name = f"{name} {view}"
        return replace(subject, name=name, view=view, seed=model.config.seed, round=model.round)

    def _model_segmenter(self) -> ModelSegmenter:
        if not self.checkpoint:
            raise UsageError("nothing to score: give a checkpoint, a run, or --baseline NAME")
        device = compute_device(self.device)
        return model_segmenter(
            load_model(self.checkpoint, device),
            gaps=self.gaps,
            device=device,
            view=self.view,
            augment=self.augment,
        )

    @property
    def title(self) -> str:
        """What tables call it, with what is done to its masks."""
        name = self.name or self.baseline or str(self.checkpoint).rstrip("/").rpartition("/")[2]
        done = [" + crops"] * (self.augment and not self.baseline) + [" + CRF"] * self.crf
        return "".join([name, *done])


def evaluate(
    subject: Subject,
    benchmark: Benchmark,
    *,
    processes: int | None = None,
    console: Console | None = None,
) -> Scores:
    """Score every video or image of a benchmark.

    Args:
        subject: what is scored, settled.
        benchmark: what it is scored on.
        processes: videos that are worked on at once; None for one per CPU, and on a GPU for two.
        console: where progress is shown; None for stderr.

    Raises:
        UserError: the subject or a video cannot be used.
    """
    title = f"{subject.title} on {benchmark.name}"
    chosen = processes or _processes(subject, len(benchmark.sources))
    # A mistake shows here by its own name; in a pool it would only break it.
    segmenter = subject.segmenter()
    segmenter.check(benchmark.sources)
    measure, label = next(iter(benchmark.protocol.labels.items()))
    scored: dict[str, Score] = {}
    with bar(console, TextColumn("{task.fields[mean]}")) as progress:
        task = progress.add_task(title, total=len(benchmark.sources), mean="")
        for score in _scored(subject, segmenter, benchmark, chosen):
            scored[score.name] = score
            mean = sum(each.measured[measure] for each in scored.values()) / len(scored)
            progress.update(task, advance=1, mean=f"{label} {mean:.3f}")
    each = tuple(scored[source.name] for source in benchmark.sources)
    return Scores(title, benchmark.protocol, each)


def record(subject: Subject, benchmark: Benchmark, scores: Scores) -> dict[str, Any]:
    """Return the scores with what they are scores of, ready for JSON."""
    return {
        "title": subject.title,
        "benchmark": benchmark.name,
        "checkpoint": subject.checkpoint,
        "baseline": subject.baseline,
        "view": subject.view,
        "round": subject.round,
        "seed": subject.seed,
        "augment": subject.augment,
        "crf": subject.crf,
        "gaps": subject.gaps,
        "every": benchmark.every,
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
        # One slug for both would cut off what tells two long titles apart.
        name = "-".join(slug(entry[part]) for part in ("benchmark", "title"))
        urls.append(storage.join(run, "evaluations", f"{name}.json"))
        write_json(urls[-1], entry)
    return urls


def score_source(
    segmenter: Segmenter, source: AnnotatedSource, protocol: Protocol, *, crf: bool
) -> Score:
    """Score what a benchmark shows of one video, or an image.

    Raises:
        UserError: no frame counts.
    """
    measured = []
    for frame, mask in segmenter.masks(source):
        counts = source.shown is None or frame.number in source.shown
        if counts and frame.truth is not None:
            final = refined(frame.image, mask) if crf else mask
            measured.append(protocol.score(final, frame.truth, frame.void))
    if not measured:
        raise UserError(
            f"{source.name}: no frame with a mask that counts: {protocol.statement}; "
            "give it masks or leave it out"
        )
    return average(source.name, measured)


def _scored(
    subject: Subject, segmenter: Segmenter, benchmark: Benchmark, processes: int
) -> Iterator[Score]:
    if processes == 1:
        for source in benchmark.sources:
            yield score_source(segmenter, source, benchmark.protocol, crf=subject.crf)
        return
    with ProcessPoolExecutor(
        processes,
        # Threads of torch and OpenCV do not survive a fork.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(subject, benchmark.protocol),
    ) as pool:
        futures = [pool.submit(_score_here, source) for source in benchmark.sources]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_here: list[tuple[Subject, Protocol, Segmenter]] = []
"""What this process scores, and how; filled once, when the process begins."""


def _begin(subject: Subject, protocol: Protocol) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _here.append((subject, protocol, subject.segmenter()))


def _score_here(source: AnnotatedSource) -> Score:
    subject, protocol, segmenter = _here[0]
    return score_source(segmenter, source, protocol, crf=subject.crf)


def _processes(subject: Subject, num_sources: int) -> int:
    available = 2 if subject.device.startswith("cuda") else os.cpu_count() or 1
    return max(1, min(available, num_sources))
