"""Scores of a benchmark: one by one, averaged, as a table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from selfseg.evaluation.protocols import Measured, Protocol


@dataclass(frozen=True, slots=True)
class Score:
    """Means over the counted frames of one sequence, or what one image scores."""

    name: str
    measured: Measured
    frames: int


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one predictor on one benchmark."""

    title: str
    protocol: Protocol
    each: tuple[Score, ...]

    def mean(self, measure: str) -> float:
        """Average over the frames of a sequence, then over sequences; or over images."""
        return float(np.mean([score.measured[measure] for score in self.each]))

    def frame_mean(self, measure: str) -> float:
        """Average over all frames, as some papers do; long sequences weigh more there."""
        return sum(score.measured[measure] * score.frames for score in self.each) / self.frames

    @property
    def frames(self) -> int:
        """Number of frames counted."""
        return sum(score.frames for score in self.each)

    @property
    def means(self) -> dict[str, float]:
        """Every average by its name in JSON: `j_mean`, and for videos `j_frame_mean` as well."""
        named: dict[str, float] = {}
        for measure in self.protocol.labels:
            named[f"{measure}_mean"] = self.mean(measure)
            if self.protocol.unit == "sequence":
                named[f"{measure}_frame_mean"] = self.frame_mean(measure)
        return named

    def as_json(self) -> dict[str, Any]:
        """Return the scores as `--json` writes them; `sequences` or `images` holds each."""
        return {
            "measures": list(self.protocol.labels),
            "protocol": self.protocol.statement,
            "frames": self.frames,
            **self.means,
            f"{self.protocol.unit}s": {
                score.name: {**score.measured, "frames": score.frames} for score in self.each
            },
        }

    def table(self) -> Table:
        """Return what the terminal shows; of images the averages alone, for there are thousands."""
        unit, labels = self.protocol.unit, self.protocol.labels
        table = Table(unit, title=self.title, title_justify="left", caption_justify="left")
        table.caption = self.protocol.statement
        counted = "images" if unit == "image" else "frames"
        for heading in (counted, *labels.values()):
            table.add_column(heading, justify="right")
        if unit == "sequence":
            for score in self.each:
                table.add_row(score.name, str(score.frames), *_printed(score.measured, labels))
            table.add_section()
        averages = [f"{self.mean(measure):.3f}" for measure in labels]
        table.add_row(f"mean over {unit}s", str(self.frames), *averages)
        if unit == "sequence":
            frame_averages = [f"{self.frame_mean(measure):.3f}" for measure in labels]
            table.add_row("mean over frames", "", *frame_averages)
        return table


def comparison(scores: Sequence[Scores]) -> Table:
    """Put several predictors' scores on one benchmark beside each other, best first."""
    protocol = scores[0].protocol
    first = next(iter(protocol.labels))
    table = Table("", title="Side by side", title_justify="left")
    for name in scores[0].means:
        table.add_column(_heading(name, protocol.labels), justify="right")
    for row in sorted(scores, key=lambda scored: -scored.mean(first)):
        table.add_row(row.title, *(f"{value:.3f}" for value in row.means.values()))
    return table


def average(name: str, measured: Sequence[Measured]) -> Score:
    """Average what the counted frames of a sequence score."""
    means = {key: float(np.mean([each[key] for each in measured])) for key in measured[0]}
    return Score(name, means, len(measured))


def _printed(measured: Mapping[str, float], labels: Mapping[str, str]) -> list[str]:
    return [f"{measured[measure]:.3f}" for measure in labels]


def _heading(name: str, labels: Mapping[str, str]) -> str:
    if name.endswith("_frame_mean"):
        return f"{labels[name.removesuffix('_frame_mean')]}, frame mean"
    return labels[name.removesuffix("_mean")]
