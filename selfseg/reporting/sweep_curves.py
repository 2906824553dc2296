"""Scores of a sweep against a quantity: lines through means, with their deviations as bars."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from selfseg.reporting import wording
from selfseg.reporting.curves import HEIGHT, WIDTH, Tick, axis_ticks

MARGIN = 0.12
"""Of the range of scores, above and below what a curve shows."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Values of several runs at one place of the horizontal axis."""

    name: str
    place: float
    values: Sequence[float]

    @property
    def spread(self) -> float:
        """Sample deviation; 0 of a single run."""
        return stdev(self.values) if len(self.values) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Bar:
    """Mean and deviation of a spot, in the drawing's units; no height where there is one run."""

    x: float
    y: float
    low: float
    high: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """Bars from left to right."""

    name: str
    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class Curve:
    """Scores against one axis of numbers; what is alone has a line without a name."""

    title: str
    axis: str
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


def draw(title: str, axis: str, lines: Mapping[str, Sequence[Spot]]) -> Curve | None:
    """Draw lines by name, on an axis that begins at 0; None: there are not two spots."""
    spots = [spot for line in lines.values() for spot in line]
    if len(spots) < 2:
        return None
    low = min(fmean(spot.values) - spot.spread for spot in spots)
    high = max(fmean(spot.values) + spot.spread for spot in spots)
    margin = MARGIN * (high - low) or 0.01
    low, high = low - margin, high + margin
    right = max(spot.place for spot in spots) * (1 + MARGIN)

    def height(value: float) -> float:
        return HEIGHT * (high - value) / (high - low)

    def bar(spot: Spot) -> Bar:
        mean = fmean(spot.values)
        return Bar(
            x=WIDTH * spot.place / right,
            y=height(mean),
            low=height(mean - spot.spread),
            high=height(mean + spot.spread),
            label=f"{spot.name}: {mean_text(spot.values)}",
        )

    drawn = [Line(name, [bar(spot) for spot in _in_order(line)]) for name, line in lines.items()]
    return Curve(title, axis, drawn, axis_ticks(0.0, right, 5), axis_ticks(low, high, 4))


def mean_text(values: Sequence[float]) -> str:
    """Write the mean of several runs' scores and, of more than one, their deviation."""
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return wording.minus(f"{fmean(values):.3f}") + spread


def _in_order(line: Iterable[Spot]) -> list[Spot]:
    return sorted(line, key=lambda spot: spot.place)
