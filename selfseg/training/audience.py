"""Who is told how a run goes, and what."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Report:
    """What a person watching would want to know, since the last report.

    step: steps taken of `steps`; 0 of 0 in a report of notes alone
    terms: the latest terms of each player
    wait_share: share of the time spent waiting for data
    notes: things that happened, a line each
    rank: of the worker that reports
    skipped: steps left out so far because a number was not finite
    checkpoint_s: what training waited for its last checkpoint
    """

    step: int
    steps: int
    steps_per_s: float = 0.0
    wait_share: float = 0.0
    terms: dict[str, dict[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rank: int = 0
    skipped: int = 0
    checkpoint_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """What stopped the workers of a command before it started them again.

    cause: in a few words
    step, time: how many steps were taken when that was told last, and when, in seconds since 1970
    """

    cause: str
    step: int
    time: float


class Audience(Protocol):
    """Who is told how the run goes."""

    def report(self, report: Report) -> None:
        """Hear of the progress; called by every worker, at most every `REPORT_S`."""
        ...

    def saved(self, step: int) -> None:
        """Hear that a checkpoint of `step` is committed; called by a thread of worker 0."""
        ...

    def begin(self) -> Failure | None:
        """Hear from worker 0 that an attempt begins.

        Returns:
            What stopped the one before it, if that was of the same command and failed.
        """
        ...


class CurveLog(Protocol):
    """Where curves are drawn besides the journal."""

    def add(self, step: int, values: dict[str, float]) -> None:
        """Take the latest terms, named player/term, and rates."""
        ...

    def close(self) -> None:
        """Wait until everything is written."""
        ...
