"""How scores went from round to round of a bootstrap: a paper's table of rounds as a picture."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from selfseg.contracts import View
from selfseg.reporting.glossary import VIEWS

UNTREATED = "masks as predicted"
"""What masks are called that nothing was done to."""

MARGIN = 0.15
"""Share of the range of scores that is left free above and below them."""


@dataclass(frozen=True, slots=True)
class Point:
    """A score of one view after one round; `treatment` says what was done to the masks."""

    treatment: str
    view: View
    round: int
    score: float


@dataclass(frozen=True, slots=True)
class Line:
    """The scores of one view by round; None where it was not scored."""

    view: View
    scores: list[float | None]

    @property
    def words(self) -> tuple[str, str]:
        """Who sees it, and by what."""
        return VIEWS[self.view]


@dataclass(frozen=True, slots=True)
class Course:
    """Scores of masks that were treated alike, by view and round.

    low, high: the range that is drawn, the same for all treatments
    """

    treatment: str
    rounds: list[int]
    lines: list[Line]
    low: float
    high: float

    def places(self, line: Line) -> list[tuple[float, float]]:
        """Return where the scores of a line lie, in per cent from the left and from the top."""
        return [
            (100 * (k + 0.5) / len(self.rounds), 100 * (self.high - score) / (self.high - self.low))
            for k, score in enumerate(line.scores)
            if score is not None
        ]


def courses(points: Iterable[Point]) -> list[Course]:
    """Draw the scores of every treatment that more than one round was given."""
    found: dict[str, dict[tuple[View, int], float]] = {}
    for point in points:
        found.setdefault(point.treatment, {})[point.view, point.round] = point.score
    told = {
        treatment: scores
        for treatment, scores in found.items()
        if len({number for _, number in scores}) > 1
    }
    values = [score for scores in told.values() for score in scores.values()]
    if not values:
        return []
    margin = MARGIN * (max(values) - min(values)) or 0.01
    low, high = min(values) - margin, max(values) + margin
    order = sorted(told, key=lambda treatment: (treatment != UNTREATED, treatment))
    return [_course(treatment, told[treatment], low, high) for treatment in order]


def _course(
    treatment: str, scores: Mapping[tuple[View, int], float], low: float, high: float
) -> Course:
    rounds = sorted({number for _, number in scores})
    lines = [
        Line(view, [scores.get((view, number)) for number in rounds])
        for view in VIEWS
        if any(seen == view for seen, _ in scores)
    ]
    return Course(treatment, rounds, lines, low, high)
