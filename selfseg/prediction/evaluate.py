"""Score a trained model or a classical baseline: one way for all, without the truth's help."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import TextColumn

from selfseg import storage
from selfseg.data.ingest.sources import slug
from selfseg.evaluation.scores import Score, Scores
from selfseg.evaluation.thresholds import COARSE_GRID, GRID, Thresholds, best_threshold
from selfseg.prediction.baselines import SUPERVISED
from selfseg.prediction.benchmarks import Benchmark
from selfseg.prediction.progress import bar
from selfseg.prediction.scoring import score_source, sweep_source
from selfseg.prediction.subjects import Subject
from selfseg.prediction.workers import each_result
from selfseg.redaction import redacted
from selfseg.training.checkpoint import resolve


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
    protocol = benchmark.protocol
    # A mistake shows here by its own name; in a pool it would only break it.
    segmenter = subject.segmenter()
    segmenter.check(benchmark.sources)
    measure, label = next(iter(protocol.labels.items()))
    scored: dict[str, Score] = {}
    work = partial(score_source, protocol=protocol, crf=subject.crf)
    with bar(console, TextColumn("{task.fields[mean]}")) as progress:
        task = progress.add_task(title, total=len(benchmark.sources), mean="")
        for score in each_result(subject, segmenter, benchmark.sources, work, processes):
            scored[score.name] = score
            mean = sum(each.measured[measure] for each in scored.values()) / len(scored)
            progress.update(task, advance=1, mean=f"{label} {mean:.3f}")
    each = tuple(scored[source.name] for source in benchmark.sources)
    return Scores(title, protocol, each)


def with_thresholds(
    benchmark: Benchmark,
    subject: Subject,
    validation: Benchmark,
    *,
    processes: int | None = None,
    console: Console | None = None,
) -> Benchmark:
    """Return a benchmark that takes for foreground what is best on a validation part.

    Args:
        benchmark: what is scored: other videos, or the same where the score only chooses.
        subject: whose threshold is chosen, settled.
        validation: what it is chosen on: the threshold with the highest mean J over a video, then
            over videos.
        processes: as in `evaluate`.
        console: as in `evaluate`.

    Raises:
        UserError: the subject or a video cannot be used.
    """
    segmenter = subject.segmenter()
    segmenter.check(validation.sources)
    work = partial(sweep_source, protocol=validation.protocol, crf=subject.crf)
    masks, controls = [], []
    with bar(console, TextColumn("")) as progress:
        task = progress.add_task(f"{subject.title}: threshold", total=len(validation.sources))
        for mask, control in each_result(subject, segmenter, validation.sources, work, processes):
            masks.append(mask)
            if control is not None:
                controls.append(control)
            progress.advance(task)
    names = tuple(source.name for source in validation.sources)
    best = partial(best_threshold, grid=COARSE_GRID if subject.crf else GRID)
    same = benchmark.sources == validation.sources
    thresholds = Thresholds(best(masks), before_crf=subject.crf, chosen_on=names, on_itself=same)
    if controls:
        thresholds = replace(thresholds, control=best(controls))
    protocol = replace(benchmark.protocol, thresholds=thresholds)
    return replace(benchmark, protocol=protocol)


def record(subject: Subject, benchmark: Benchmark, scores: Scores) -> dict[str, Any]:
    """Return the scores with what they are scores of, ready for JSON."""
    return {
        "title": subject.title,
        "benchmark": benchmark.name,
        "checkpoint": subject.checkpoint,
        "baseline": subject.baseline,
        "weights": redacted(subject.weights) if subject.baseline == SUPERVISED else None,
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
