"""Scores of a benchmark: one by one, averaged, as a table and as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from selfseg.evaluation import boxes
from selfseg.evaluation.boxes import FoundBox
from selfseg.evaluation.protocols import Measured, Protocol

DETECTION_LABELS = {"j_bump": "J, control", **boxes.LABELS}
"""What tables call the measures that a detector has besides the protocol's, by their names."""

MAP = "map50"
"""The one measure that is taken of all frames together, and its label."""


@dataclass(frozen=True, slots=True)
class Score:
    """Means over the counted frames of one sequence, or what one image scores.

    boxes: what a detector found in each frame; of anything else empty
    """

    name: str
    measured: Measured
    frames: int
    boxes: tuple[FoundBox, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one predictor on one benchmark."""

    title: str
    protocol: Protocol
    each: tuple[Score, ...]

    def mean(self, measure: str) -> float:
        """Average over the frames of a sequence, then over sequences; or over images.

        What shows no object in any frame has no box to find, and does not count in its measures.
        """
        return float(
            np.mean([score.measured[measure] for score in self.each if measure in score.measured])
        )

    def frame_mean(self, measure: str) -> float:
        """Average over all frames, as some papers do; long sequences weigh more there."""
        return sum(score.measured[measure] * score.frames for score in self.each) / self.frames

    @property
    def frames(self) -> int:
        """Number of frames counted."""
        return sum(score.frames for score in self.each)

    @property
    def _detected(self) -> bool:
        return any(score.boxes for score in self.each)

    @property
    def detection(self) -> dict[str, float]:
        """What a detector has besides, by its name in JSON: averages, and mAP over all frames."""
        measured = set().union(*(score.measured for score in self.each))
        named = {measure: self.mean(measure) for measure in DETECTION_LABELS if measure in measured}
        if "box_iou" in named:
            found = [box for score in self.each for box in score.boxes]
            named[MAP] = boxes.mean_average_precision(found)
        return named

    @property
    def means(self) -> dict[str, float]:
        """Every average by its name in JSON: `j_mean`, and for videos `j_frame_mean` as well."""
        named: dict[str, float] = {}
        for measure in self.protocol.labels:
            named[f"{measure}_mean"] = self.mean(measure)
            if self.protocol.unit == "sequence":
                named[f"{measure}_frame_mean"] = self.frame_mean(measure)
        return named | self.detection

    @property
    def statement(self) -> str:
        """How all this was measured, in a line."""
        if not self._detected:
            return self.protocol.statement
        thresholds = self.protocol.thresholds
        control = thresholds.stated(thresholds.control)
        return (
            f"{self.protocol.statement}; J, control: of the same boxes with nothing decoded in "
            f"them, at {control}; boxes: {boxes.RULES}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the scores as `--json` writes them; `sequences` or `images` holds each."""
        thresholds = self.protocol.thresholds
        return {
            "measures": [*self.protocol.labels, *self.detection],
            "protocol": self.statement,
            "threshold": thresholds.mask,
            "threshold_control": thresholds.control if self._detected else None,
            "validation": list(thresholds.chosen_on),
            "frames": self.frames,
            **self.means,
            f"{self.protocol.unit}s": {
                score.name: {**score.measured, "frames": score.frames} for score in self.each
            },
        }

    def table(self) -> Table:
        """Return what the terminal shows; of images the averages alone, for there are thousands."""
        unit, detection = self.protocol.unit, self.detection
        labels = self.protocol.labels | _labels_of(detection)
        table = Table(unit, title=self.title, title_justify="left", caption_justify="left")
        table.caption = self.statement
        counted = "images" if unit == "image" else "frames"
        for heading in (counted, *labels.values()):
            table.add_column(heading, justify="right")
        if unit == "sequence":
            for score in self.each:
                table.add_row(score.name, str(score.frames), *_printed(score.measured, labels))
            table.add_section()
        means = {measure: self.mean(measure) for measure in self.protocol.labels} | detection
        table.add_row(f"mean over {unit}s", str(self.frames), *_printed(means, labels))
        if unit == "sequence":
            over_frames = {measure: self.frame_mean(measure) for measure in self.protocol.labels}
            table.add_row("mean over frames", "", *_printed(over_frames, labels))
        return table


def comparison(scores: Sequence[Scores]) -> Table:
    """Put several predictors' scores on one benchmark beside each other, best first."""
    protocol = scores[0].protocol
    first = next(iter(protocol.labels))
    ranked = sorted(scores, key=lambda scored: -scored.mean(first))
    means = [row.means for row in ranked]
    names = dict.fromkeys(name for row in means for name in row)
    table = Table("", title="Side by side", title_justify="left")
    for name in names:
        table.add_column(_heading(name, protocol.labels), justify="right")
    for row, printed in zip(ranked, means, strict=True):
        table.add_row(row.title, *_printed(printed, names))
    return table


def average(name: str, measured: Sequence[Measured], found: Sequence[FoundBox] = ()) -> Score:
    """Average what the counted frames of a sequence score.

    Args:
        name: of the sequence.
        measured: of each frame, the same measures.
        found: a detector's box in each frame.
    """
    means = {key: float(np.mean([each[key] for each in measured])) for key in measured[0]}
    return Score(name, means | boxes.box_measures(found), len(measured), tuple(found))


def _printed(measured: Mapping[str, float], names: Iterable[str]) -> list[str]:
    return [f"{measured[name]:.3f}" if name in measured else "" for name in names]


def _labels_of(detection: Iterable[str]) -> dict[str, str]:
    return {measure: DETECTION_LABELS.get(measure, measure) for measure in detection}


def _heading(name: str, labels: Mapping[str, str]) -> str:
    if name.endswith("_frame_mean"):
        return f"{labels[name.removesuffix('_frame_mean')]}, frame mean"
    if name.endswith("_mean"):
        return labels[name.removesuffix("_mean")]
    return DETECTION_LABELS.get(name, name)
