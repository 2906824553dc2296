"""Scores of a benchmark: by sequence, both averages, as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table


@dataclass(frozen=True, slots=True)
class SequenceScore:
    """Means over one sequence's counted frames; j and f lie in [0, 1]."""

    name: str
    j: float
    f: float
    frames: int


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one predictor on one benchmark.

    j_mean and f_mean average over a sequence, then over sequences, as DAVIS does. j_frame_mean
    averages over all frames, as some papers do; long sequences weigh more there.
    """

    title: str
    sequences: tuple[SequenceScore, ...]

    @property
    def j_mean(self) -> float:
        """Mean over sequences of their mean J; [0, 1]."""
        return float(np.mean([sequence.j for sequence in self.sequences]))

    @property
    def f_mean(self) -> float:
        """Mean over sequences of their mean F; [0, 1]."""
        return float(np.mean([sequence.f for sequence in self.sequences]))

    @property
    def frames(self) -> int:
        """Number of frames counted."""
        return sum(sequence.frames for sequence in self.sequences)

    @property
    def j_frame_mean(self) -> float:
        """Mean J over all frames; [0, 1]."""
        return sum(sequence.j * sequence.frames for sequence in self.sequences) / self.frames

    def as_json(self) -> dict[str, Any]:
        """Return the scores as `--json` writes them."""
        return {
            "j_mean": self.j_mean,
            "j_frame_mean": self.j_frame_mean,
            "f_mean": self.f_mean,
            "sequences": {
                sequence.name: {"j": sequence.j, "f": sequence.f, "frames": sequence.frames}
                for sequence in self.sequences
            },
        }

    def table(self) -> Table:
        """Return what the terminal shows."""
        table = Table("sequence", title=self.title, title_justify="left")
        for heading in ("frames", "J", "F"):
            table.add_column(heading, justify="right")
        for row in self.sequences:
            table.add_row(row.name, str(row.frames), f"{row.j:.3f}", f"{row.f:.3f}")
        table.add_section()
        table.add_row(
            "mean over sequences", str(self.frames), f"{self.j_mean:.3f}", f"{self.f_mean:.3f}"
        )
        table.add_row("mean over frames", "", f"{self.j_frame_mean:.3f}", "")
        return table


def comparison(scores: Sequence[Scores]) -> Table:
    """Put several predictors' scores on one benchmark beside each other, best J first."""
    table = Table("", title="Side by side", title_justify="left")
    for heading in ("J", "J, frame mean", "F"):
        table.add_column(heading, justify="right")
    for row in sorted(scores, key=lambda each: -each.j_mean):
        table.add_row(
            row.title, f"{row.j_mean:.3f}", f"{row.j_frame_mean:.3f}", f"{row.f_mean:.3f}"
        )
    return table


def score_sequence(name: str, frame_scores: Sequence[tuple[float, float]]) -> SequenceScore:
    """Average the (J, F) of a sequence's counted frames."""
    j, f = np.mean(frame_scores, axis=0)
    return SequenceScore(name, float(j), float(f), len(frame_scores))
