"""From a run's evaluations to tables: the run beside what one would pick instead."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from selfseg.reporting import wording

MEASURES = {"j_mean": "J", "j_frame_mean": "J, frame mean", "f_mean": "F"}
"""Columns of the summary, in order."""

NEEDED = {"title", "benchmark", "baseline", "sequences", *MEASURES}
"""What an evaluation must hold to be shown."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One thing that was scored; `means` by the names of MEASURES, J and F by sequence."""

    name: str
    is_baseline: bool
    means: dict[str, float]
    sequences: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Table:
    """All that was scored on the same sequences, best J first."""

    benchmark: str
    entries: list[Scored]

    @property
    def title(self) -> str:
        """The benchmark, and how much of it was scored."""
        return f"{self.benchmark}: {wording.plural(len(self.sequences), 'sequence')}"

    @property
    def sequences(self) -> list[str]:
        """Names of all sequences, in the order of the alphabet."""
        return sorted(self.entries[0].sequences)

    @property
    def own(self) -> Scored | None:
        """The run's best entry by J."""
        return next((entry for entry in self.entries if not entry.is_baseline), None)

    @property
    def rival(self) -> Scored | None:
        """The best baseline by J."""
        return next((entry for entry in self.entries if entry.is_baseline), None)

    def best(self, sequence: str) -> list[str]:
        """Name the entries with the best J of a sequence."""
        scores = {entry.name: entry.sequences[sequence]["j"] for entry in self.entries}
        return [name for name, j in scores.items() if j == max(scores.values())]


def tables(evaluations: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Put evaluations of the same sequences beside each other; other ones do not compare."""
    groups: dict[tuple[str, frozenset[str]], list[Scored]] = {}
    for evaluation in evaluations.values():
        videos = evaluation["benchmark"], frozenset(evaluation["sequences"])
        groups.setdefault(videos, []).append(_scored(evaluation))
    return [
        Table(benchmark, sorted(entries, key=lambda entry: -entry.means["j_mean"]))
        for (benchmark, _), entries in groups.items()
    ]


def _scored(evaluation: Mapping[str, Any]) -> Scored:
    return Scored(
        name=evaluation["title"],
        is_baseline=evaluation["baseline"] is not None,
        means={key: float(evaluation[key]) for key in MEASURES},
        sequences=evaluation["sequences"],
    )
