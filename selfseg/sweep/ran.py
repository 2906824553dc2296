"""What one command of a sweep did, and how well it used the devices."""

from dataclasses import dataclass, field
from typing import NamedTuple

from selfseg.sweep.results import Failure


class Span(NamedTuple):
    """When a trial held its devices, in seconds of one clock."""

    name: str
    began: float
    ended: float


@dataclass(slots=True)
class Ran:
    """What came of a sweep's trials this time.

    at_once: trials that had room
    spans: of trials, one for each rung that they trained to or failed on the way to
    worked_s: of the spans together, steps and scores; the rest started processes and loaded data
    """

    at_once: int
    spans: list[Span] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    worked_s: float = 0.0

    @property
    def names(self) -> list[str]:
        """Of the trials that ran, in the order in which they first ended."""
        return list(dict.fromkeys(span.name for span in self.spans))

    @property
    def wall_s(self) -> float:
        """Seconds from the first trial's start to the last one's end."""
        return max(span.ended for span in self.spans) - self._first if self.spans else 0.0

    @property
    def busy_s(self) -> float:
        """Seconds of all spans together."""
        return sum(span.ended - span.began for span in self.spans)

    @property
    def idle_share(self) -> float:
        """Share of the devices' time that no trial had while there still was one to begin."""
        last = max((span.began for span in self.spans), default=0.0)
        return self._unused_s(last) / self._offered_s if self.spans else 0.0

    @property
    def left_over_share(self) -> float:
        """Share of it that no trial had because all that were left had begun."""
        if not self.spans:
            return 0.0
        return self._unused_s(self._first + self.wall_s) / self._offered_s - self.idle_share

    @property
    def starting_share(self) -> float:
        """Share of the trials' own time in which they neither trained nor scored."""
        return max(0.0, 1 - self.worked_s / self.busy_s) if self.busy_s else 0.0

    @property
    def _first(self) -> float:
        return min(span.began for span in self.spans)

    @property
    def _offered_s(self) -> float:
        return self.wall_s * self.at_once

    def _unused_s(self, until: float) -> float:
        """Return the seconds that devices had no trial, up to a time."""
        used = sum(max(0.0, min(span.ended, until) - span.began) for span in self.spans)
        return max(0.0, (until - self._first) * self.at_once - used)
