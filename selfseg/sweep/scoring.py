"""How trials are scored: on a validation part that chooses, and once on a test part."""

from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from selfseg.errors import UsageError
from selfseg.evaluation.protocols import INNER_FRAMES, STILLS
from selfseg.prediction.benchmarks import Benchmark, find_benchmark, held_out
from selfseg.prediction.evaluate import evaluate, keep, record, with_thresholds
from selfseg.prediction.segment import compute_device
from selfseg.prediction.subjects import Subject
from selfseg.sweep.plan import Measure, without_defaults
from selfseg.sweep.results import means_of


@dataclass(frozen=True, slots=True)
class Ground:
    """Videos or images with masks, in two parts.

    collection: of them; None: a benchmark's tree at `root`
    splits: of the benchmark, to choose by and to report on; with one only, or of a collection,
        `validation` names what to choose by
    validation: names; empty: every other one
    every: only every Nth of the frames that count, or of the images, is looked at
    """

    collection: str | None = None
    root: str | None = None
    benchmark: str = ""
    splits: tuple[str | None, str | None] = (None, None)
    validation: tuple[str, ...] = ()
    every: int = 1

    def parts(self) -> tuple[Benchmark, Benchmark]:
        """Find what chooses, and what the choice is reported on; they share no video.

        Raises:
            UserError: no such tree, split, collection or name, or no masks.
        """
        choosing, reporting = self.splits
        if self.collection or reporting is None:
            return self._halves(self._find(choosing))
        if self.validation:
            raise UsageError("--validation: this benchmark has a split to choose by; leave it out")
        return self._find(choosing), self._find(reporting)

    def as_json(self) -> dict[str, Any]:
        """Say which it is, for a trial's identity."""
        return without_defaults(self)

    def _find(self, split: str | None) -> Benchmark:
        if self.collection:
            return find_benchmark(collection=self.collection, every=self.every)
        return find_benchmark(
            root=self.root, benchmark=self.benchmark, split=split, every=self.every
        )

    def _halves(self, whole: Benchmark) -> tuple[Benchmark, Benchmark]:
        names = self.validation or tuple(source.name for source in whole.sources[::2])
        rest, chosen = held_out(whole, names)
        # Part of a benchmark must never pass for all of it.
        return replace(chosen, name=f"{whole.name}, validation"), rest


def check(ground: Ground, measure: Measure) -> None:
    """See, before the first trial trains, that it can be scored.

    Raises:
        UsageError: what is measured is of videos and there are images, or the other way round.
        UserError: the ground cannot be used.
    """
    for part in ground.parts():
        other = INNER_FRAMES if part.still else STILLS
        if measure.name in {f"{name}_mean" for name in other.labels}:
            there, wanted = ("images", "videos") if part.still else ("videos", "single images")
            raise UsageError(
                f"{part.name}: has {there}, and {measure.name} is of {wanted}: name some with "
                "masks by --score-on URL or --root DIR"
            )


def score(
    run_url: str,
    measure: Measure,
    benchmark: Benchmark,
    *,
    validation: Benchmark,
    rounds: bool,
    processes: int,
) -> list[dict[str, Any]]:
    """Score a run, and leave the scores in its folder, where its report and tables look.

    Args:
        run_url: scored as far as it has come.
        measure: what is looked at.
        benchmark: a part of the ground.
        validation: the part that thresholds are chosen on, where the measure wants that.
        rounds: whether the run is at its end, and all rounds that were asked for are there.
        processes: videos that are worked on at once.

    Returns:
        A record for each round; the last ranks.

    Raises:
        UsageError: nothing of the measure's name was measured.
        UserError: the run or a video cannot be used.
    """
    device = str(compute_device(None))
    quietly: dict[str, Any] = {"processes": processes, "console": Console(quiet=True)}
    records: list[dict[str, Any]] = []
    for number in (rounds and measure.rounds) or (None,):
        subject = Subject(checkpoint=run_url, round=number, view=measure.view, device=device)
        subject = subject.settled(benchmark)
        cut = benchmark
        if measure.best_threshold:
            cut = with_thresholds(benchmark, subject, validation, **quietly)
        records.append(record(subject, cut, evaluate(subject, cut, **quietly)))
    if measure.name not in records[-1]:
        known = ", ".join(means_of(records[-1]))
        raise UsageError(f"{benchmark.name}: {measure.name} was not measured; there are {known}")
    if rounds:
        keep(run_url, records)
    return records
