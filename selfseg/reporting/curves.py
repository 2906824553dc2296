"""From a run's journal to curves: what each player's terms and the clock did, step by step."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from selfseg.contracts import Phase
from selfseg.reporting import wording
from selfseg.reporting.glossary import HUES, PLAYERS, TERMS
from selfseg.reporting.sections import Span, pauses, sections

MAX_POINTS = 240
"""Points a curve is thinned to: as many as a small chart has pixels to tell apart."""

SMOOTHING = 0.8
"""Weight of the past in the smoothed line that the page opens with."""

WIDTH, HEIGHT = 1000, 300
"""The drawing's own units; the page stretches it to any size."""


@dataclass(frozen=True, slots=True)
class Point:
    """Neighbouring steps taken together: the last one's number, least, mean and greatest value."""

    step: int
    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis; `place` is a percentage from the left or the bottom."""

    place: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One quantity over the steps of the run, ready to draw."""

    name: str
    meaning: str
    unit: str
    points: list[Point]
    low: float
    high: float
    x_range: tuple[int, int]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    band: str
    line: str
    smooth: str
    first: str
    last: str
    dropped: int
    """Values that were not finite."""

    @property
    def samples(self) -> list[list[float]]:
        """Step, least, mean and greatest value of each point, short enough to embed."""
        return [
            [point.step, *(float(f"{v:.5g}") for v in (point.low, point.mean, point.high))]
            for point in self.points
        ]


@dataclass(frozen=True, slots=True)
class Panel:
    """The charts of one player, or of the machine.

    hue: number of one of the page's colours
    sections: parts of the run by name; none where all of it is one
    pauses: parts of the run in which others move
    """

    title: str
    explanation: str
    hue: int
    charts: list[Chart]
    sections: list[Span]
    pauses: list[Span]


@dataclass(frozen=True, slots=True)
class Clock:
    """Where the time of the logged steps went, in seconds of the slowest worker.

    wait_share: share of the median step that was spent waiting for data; the first step, which
        waits for the loader to start, does not blur it
    """

    steps: int
    compute_s: float
    wait_s: float
    checkpoint_s: float
    wait_share: float

    @property
    def total_s(self) -> float:
        """Everything the journal accounts for."""
        return self.compute_s + self.wait_s + self.checkpoint_s

    @property
    def steps_per_s(self) -> float:
        """Rate over the whole run, checkpoints included."""
        return self.steps / self.total_s if self.total_s else 0.0


def thin(series: Sequence[tuple[int, float]], size: int = MAX_POINTS) -> list[Point]:
    """Group neighbours evenly until at most `size` points are left; order is kept."""
    groups = np.array_split(np.arange(len(series)), min(size, len(series)))
    points = []
    for group in groups:
        values = [series[index][1] for index in group]
        mean = math.fsum(values) / len(values)
        points.append(Point(series[group[-1]][0], min(values), mean, max(values)))
    return points


def smoothed(values: Iterable[float], weight: float = SMOOTHING) -> list[float]:
    """Average exponentially: each value counts `weight` times its successor, weights sum to 1."""
    total, mass, result = 0.0, 0.0, []
    for value in values:
        total = weight * total + (1 - weight) * value
        mass = weight * mass + (1 - weight)
        result.append(total / mass)
    return result


def axis_ticks(low: float, high: float, wanted: int) -> list[Tick]:
    """Place about `wanted` ticks on round numbers: 1, 2 or 5 times a power of ten apart."""
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    gap = next(step * power for step in (1, 2, 5, 10) if step * power >= raw * 0.999)
    decimals = max(0, -math.floor(math.log10(gap) + 1e-9))
    values = [
        k * gap for k in range(math.ceil(low / gap - 1e-9), math.floor(high / gap + 1e-9) + 1)
    ]
    return [
        Tick(100 * (v - low) / (high - low), wording.minus(f"{v:,.{decimals}f}")) for v in values
    ]


def value_range(points: Sequence[Point]) -> tuple[float, float]:
    """Choose what the vertical axis shows: nearly all values, so that a spike flattens nothing."""
    means = [point.mean for point in points]
    smooth = smoothed(means)
    low = min(float(np.percentile([point.low for point in points], 2)), *smooth)
    high = max(float(np.percentile([point.high for point in points], 98)), *smooth)
    if 0 <= low < 0.4 * high:
        low = 0.0
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (low if low == 0 and high > 0 else low - margin), high + margin


def draw(name: str, unit: str, series: Sequence[tuple[int, float]], last_step: int) -> Chart:
    """Draw one quantity; values that are not finite are left out and counted."""
    finite = [(step, value) for step, value in series if math.isfinite(value)]
    points = thin(finite)
    low, high = value_range(points)
    x_range = (0, last_step + 1)

    def path(values: Iterable[tuple[int, float]]) -> str:
        places = (
            (WIDTH * step / x_range[1], HEIGHT * (high - value) / (high - low))
            for step, value in values
        )
        return " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(places))

    smooth = smoothed(point.mean for point in points)
    upper = path((point.step, point.high) for point in points)
    lower = path((point.step, point.low) for point in reversed(points))
    return Chart(
        name=name,
        meaning=TERMS.get(name, ""),
        unit=unit,
        points=points,
        low=low,
        high=high,
        x_range=x_range,
        x_ticks=axis_ticks(*x_range, wanted=4),
        y_ticks=axis_ticks(low, high, wanted=4),
        band=f"{upper} L{lower[1:]} Z",
        line=path((point.step, point.mean) for point in points),
        smooth=path(zip((point.step for point in points), smooth, strict=True)),
        first=wording.figure(points[0].mean),
        last=wording.figure(smooth[-1]),
        dropped=len(series) - len(finite),
    )


def _by_step(
    lines: Iterable[Mapping[str, Any]],
    measure: Callable[[Mapping[str, Any]], float],
    join: Callable[[list[float]], float],
) -> list[tuple[int, float]]:
    """Evaluate each line and join the workers' values of a step into one."""
    gathered: dict[int, list[float]] = defaultdict(list)
    for line in lines:
        gathered[line["step"]].append(measure(line))
    return [(step, join(gathered[step])) for step in sorted(gathered)]


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def player_panels(lines: Sequence[Mapping[str, Any]], phases: Sequence[Phase] = ()) -> list[Panel]:
    """Draw every term of every player, in order of first appearance; workers are averaged."""
    last_step = max((line["step"] for line in lines), default=0)
    panels = []
    for player in dict.fromkeys(line["player"] for line in lines):
        own = [line for line in lines if line["player"] == player]
        charts = []
        for term in dict.fromkeys(name for line in own for name in line["terms"]):
            having = [line for line in own if term in line["terms"]]
            series = _by_step(having, lambda line, term=term: line["terms"][term], _mean)
            if any(math.isfinite(value) for _, value in series):
                charts.append(draw(term, "", series, last_step))
        steps = {line["step"] for line in own}
        turns = wording.plural(len(steps), "turn")
        explanation = f"{PLAYERS[player]}; {turns}" if player in PLAYERS else turns
        parts = sections(phases, last_step + 1), pauses(phases, steps, last_step + 1)
        hue = HUES.get(player, len(panels) % 4)
        panels.append(Panel(player, explanation, hue, charts, *parts))
    return panels


def _wait_shares(lines: Iterable[Mapping[str, Any]]) -> list[tuple[int, float]]:
    return _by_step(
        lines, lambda line: line["wait_s"] / ((line["wait_s"] + line["compute_s"]) or 1), max
    )


def machine_panel(lines: Sequence[Mapping[str, Any]], phases: Sequence[Phase] = ()) -> Panel:
    """Draw throughput and the share of each step spent waiting for data; the slowest worker's."""
    last_step = max((line["step"] for line in lines), default=0)
    step_s = _by_step(lines, lambda line: line["wait_s"] + line["compute_s"], max)
    rate = [(step, 1 / seconds) for step, seconds in step_s if seconds > 0]
    wait = [(step, 100 * share) for step, share in _wait_shares(lines)]
    drawn = (("throughput", "steps/s", rate), ("data wait", "% of a step", wait))
    charts = [draw(name, unit, series, last_step) for name, unit, series in drawn if series]
    parts = sections(phases, last_step + 1)
    return Panel("machine", "the slowest worker of each step", 4, charts, parts, [])


def read_clock(lines: Sequence[Mapping[str, Any]]) -> Clock:
    """Add up the time of all logged steps; of several workers the slowest counts."""
    totals = {
        name: math.fsum(
            value for _, value in _by_step(lines, lambda line, name=name: line[name], max)
        )
        for name in ("compute_s", "wait_s", "checkpoint_s")
    }
    shares = [share for _, share in _wait_shares(lines)]
    return Clock(len(shares), **totals, wait_share=median(shares) if shares else 0.0)
