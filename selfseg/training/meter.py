"""What a run tells now and then: its pace, and what its terms have come to."""

import time

from torch import Tensor

from selfseg.training.audience import Report
from selfseg.training.journal import to_floats
from selfseg.training.loop import Step

REPORT_S = 1.0
"""Shortest time between two reports: reading numbers off a GPU makes it wait."""


class Meter:
    """Rates and latest terms since the last report."""

    def __init__(self, steps: int, rank: int = 0) -> None:
        self._steps, self._rank = steps, rank
        self._checkpoint_s = 0.0
        self._latest: dict[str, dict[str, Tensor]] = {}
        self._restart()

    def add(self, step: Step, *, checkpoint_s: float = 0.0) -> None:
        """Count a step; `checkpoint_s` went into the checkpoint begun just before it, if any."""
        self._checkpoint_s = checkpoint_s or self._checkpoint_s
        self._latest[step.player] = step.terms
        self._count += 1
        self._wait_s += step.wait_s

    def is_due(self, step: int) -> bool:
        """Tell whether it is time to report again; the last step always is."""
        return step == self._steps or time.perf_counter() - self._since >= REPORT_S

    def report(self, step: int, *, skipped: int = 0) -> Report:
        """Return the rates since the last call and start anew."""
        passed = time.perf_counter() - self._since
        report = Report(
            step=step,
            steps=self._steps,
            steps_per_s=self._count / passed,
            wait_share=self._wait_s / passed,
            terms=self.latest(),
            rank=self._rank,
            skipped=skipped,
            checkpoint_s=self._checkpoint_s,
        )
        self._restart()
        return report

    def latest(self) -> dict[str, dict[str, float]]:
        """Return the latest terms of each player."""
        return {player: to_floats(terms) for player, terms in self._latest.items()}

    def _restart(self) -> None:
        self._since = time.perf_counter()
        self._count, self._wait_s = 0, 0.0
