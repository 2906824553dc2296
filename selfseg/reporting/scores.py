"""From a run's evaluations to tables: the run beside what one would pick instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfseg.contracts import View
from selfseg.reporting import wording
from selfseg.reporting.courses import UNTREATED, Course, Point, courses

VIDEO_MEASURES = {"j_mean": "J", "j_frame_mean": "J, frame mean", "f_mean": "F"}
"""Columns of the summary, in order; the first ranks."""

STILL_MEASURES = {
    "iou_mean": "IoU",
    "f_beta_mean": "F_beta",
    "f_beta_adaptive_mean": "F_beta, adaptive",
    "mae_mean": "MAE, less is better",
}
"""The same where single images were scored."""

DETECTION_MEASURES = {
    "j_bump": "J, control",
    "box_hit": "box hit",
    "box_iou50": "box IoU >= 0.5",
    "map50": "mAP at IoU 0.5",
}
"""Columns besides, where something found boxes. The control: nothing was decoded in them."""

NEEDED = {"title", "benchmark", "baseline"}
"""What every evaluation holds."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One thing that was scored.

    means: by the names of its measures; what finds no boxes has none of theirs
    sequences: J and F by sequence; empty for single images, of which there are thousands
    checkpoint: what was scored, empty for a baseline; names sort by step
    view, round: of it, where it has any
    treatment: what was done to its masks, in words
    """

    name: str
    is_baseline: bool
    means: dict[str, float]
    sequences: dict[str, dict[str, float]]
    checkpoint: str = ""
    view: View | None = None
    round: int | None = None
    treatment: str = UNTREATED


@dataclass(frozen=True, slots=True)
class Table:
    """All that was scored on the same sequences or images, best first by the first measure.

    unit, count: of what, and how many there are
    protocol: how they were scored, in words; empty where the evaluations do not say
    """

    benchmark: str
    unit: str
    count: int
    protocol: str
    measures: dict[str, str]
    entries: list[Scored]

    @property
    def title(self) -> str:
        """The benchmark, and how much of it was scored."""
        return f"{self.benchmark}: {wording.plural(self.count, self.unit)}"

    @property
    def still(self) -> bool:
        """Whether single images were scored."""
        return self.unit == "image"

    @property
    def rank(self) -> str:
        """Name of the measure that ranks."""
        return next(iter(self.measures))

    @property
    def sequences(self) -> list[str]:
        """Names of all sequences, in the order of the alphabet."""
        return sorted(self.entries[0].sequences)

    @property
    def own(self) -> Scored | None:
        """The run's score: its newest checkpoint's, by the fused view and refined if it has these.

        The best of several would be chosen by the ground truth.
        """
        order = (None, "static", "dynamic", "fused")
        return max(
            (entry for entry in self.entries if not entry.is_baseline),
            key=lambda entry: (
                entry.checkpoint,
                order.index(entry.view),
                "CRF" in entry.treatment,
                entry.treatment,
            ),
            default=None,
        )

    @property
    def rival(self) -> Scored | None:
        """The best baseline."""
        return next((entry for entry in self.entries if entry.is_baseline), None)

    @property
    def courses(self) -> list[Course]:
        """The run from round to round, wherever two rounds were scored alike.

        Before the first round only the dynamic view has learned anything.
        """
        return courses(
            Point(entry.treatment, entry.view, entry.round, entry.means[self.rank])
            for entry in self.entries
            if entry.view is not None
            and entry.round is not None
            and (entry.round or entry.view == "dynamic")
        )

    @property
    def shown(self) -> list[Scored]:
        """What stands in the summary: all but the earlier rounds of the courses."""
        told = {course.treatment for course in self.courses}
        newest = max(entry.checkpoint for entry in self.entries)
        return [
            entry
            for entry in self.entries
            if entry.round is None or entry.checkpoint == newest or entry.treatment not in told
        ]

    def best(self, sequence: str) -> list[str]:
        """Name what is shown with the best J of a sequence."""
        scores = {entry.name: entry.sequences[sequence]["j"] for entry in self.shown}
        return [name for name, j in scores.items() if j == max(scores.values())]


def lacking(evaluation: Mapping[str, Any]) -> str | None:
    """Name what an evaluation must hold to be shown and does not; None: nothing."""
    needed = {*NEEDED, *_measures(evaluation), f"{_unit(evaluation)}s"}
    return next(iter(sorted(needed - set(evaluation))), None)


def tables(evaluations: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Put evaluations of the same sequences beside each other; other ones do not compare."""
    groups: dict[tuple[str, str, frozenset[str]], list[Mapping[str, Any]]] = {}
    for evaluation in evaluations.values():
        unit = _unit(evaluation)
        same = evaluation["benchmark"], unit, frozenset(evaluation[f"{unit}s"])
        groups.setdefault(same, []).append(evaluation)
    return [_table(benchmark, alike) for (benchmark, _, _), alike in groups.items()]


def _table(benchmark: str, alike: Sequence[Mapping[str, Any]]) -> Table:
    first = alike[0]
    unit, measures = _unit(first), _measures(first)
    boxes = {
        name: label
        for name, label in DETECTION_MEASURES.items()
        if any(name in evaluation for evaluation in alike)
    }
    measures = measures | boxes
    entries = _ranked(alike, measures)
    return Table(
        benchmark, unit, len(first[f"{unit}s"]), first.get("protocol", ""), measures, entries
    )


def _unit(evaluation: Mapping[str, Any]) -> str:
    return "image" if "images" in evaluation else "sequence"


def _measures(evaluation: Mapping[str, Any]) -> dict[str, str]:
    return STILL_MEASURES if "images" in evaluation else VIDEO_MEASURES


def _ranked(alike: Sequence[Mapping[str, Any]], measures: Mapping[str, str]) -> list[Scored]:
    """Read evaluations, best first; a model that was scored twice in the same way counts once."""
    first = next(iter(measures))
    found: dict[tuple[object, ...], Scored] = {}
    for evaluation in sorted(alike, key=lambda each: len(each["title"])):
        entry = _scored(evaluation, measures)
        identity = entry.checkpoint or entry.name, entry.view, entry.treatment
        found.setdefault(identity, entry)
    return sorted(found.values(), key=lambda entry: -entry.means[first])


def _scored(evaluation: Mapping[str, Any], measures: Mapping[str, str]) -> Scored:
    baseline = evaluation["baseline"] is not None
    return Scored(
        name=evaluation["title"],
        is_baseline=baseline,
        means={key: float(evaluation[key]) for key in measures if key in evaluation},
        sequences=evaluation.get("sequences", {}),
        checkpoint="" if baseline else evaluation.get("checkpoint") or "",
        view=evaluation.get("view"),
        round=evaluation.get("round"),
        treatment=_treatment(evaluation),
    )


def _treatment(evaluation: Mapping[str, Any]) -> str:
    gaps = evaluation.get("gaps")
    parts = [
        f"gaps {wording.setting(gaps)}" if gaps else "",
        "crops" if evaluation.get("augment") else "",
        "CRF" if evaluation.get("crf") else "",
    ]
    return " + ".join(filter(None, parts)) or UNTREATED
