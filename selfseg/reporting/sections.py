"""A run's phases along the horizontal axis of its curves."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from selfseg.contracts import Phase

ROOMY = 16.0
"""Per cent of the axis that a section's whole name needs on a small chart."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the horizontal axis; `start` and `width` are percentages of its length."""

    start: float
    width: float
    label: str = ""


def sections(phases: Sequence[Phase], num_steps: int) -> list[Span]:
    """Name the parts of a run as far as it has come; phases of one round are one part.

    Where a name has no room its number is left, if it has one.
    """
    parts = []
    for name, group in groupby(phases, key=lambda phase: phase.name.partition(",")[0]):
        inside = list(group)
        if span := _span(inside[0].start, inside[-1].stop, num_steps, name):
            parts.append(span)
    return parts


def pauses(phases: Sequence[Phase], steps: Collection[int], num_steps: int) -> list[Span]:
    """Find the phases in which a player does not move; steps: those in which it does."""
    return list(_pauses(phases, steps, num_steps))


def _pauses(phases: Sequence[Phase], steps: Collection[int], num_steps: int) -> Iterator[Span]:
    for phase in phases:
        idle = not any(phase.start <= step < phase.stop for step in steps)
        if idle and (span := _span(phase.start, phase.stop, num_steps)):
            yield span


def _span(start: int, stop: int, num_steps: int, name: str = "") -> Span | None:
    if start >= num_steps:
        return None
    width = 100 * (min(stop, num_steps) - start) / num_steps
    number = name.rpartition(" ")[2] if name[-1:].isdigit() else ""
    return Span(100 * start / num_steps, width, name if width > ROOMY else number)
