"""A sweep's report: its grid or its curve, the paper's numbers beside ours, and every trial."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from selfseg import storage
from selfseg.reporting import wording
from selfseg.reporting.curves import HEIGHT, WIDTH, Tick, axis_ticks
from selfseg.reporting.papers import find_table
from selfseg.reporting.render import environment
from selfseg.reporting.report import REPORT
from selfseg.reporting.sweep_table import Compared, Direction, cell_means, compared, direction
from selfseg.sweep.choice import Chosen
from selfseg.sweep.plan import Cell, Sweep, Trial
from selfseg.sweep.results import Failure, Result

MARGIN = 0.12
"""Of the range of scores, above and below what a curve shows."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One cell of a heat map; shade: 0 the least score, 1 the greatest; None: no score yet."""

    text: str
    shade: float | None
    chosen: bool


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Scores by two axes: rows by name, each with its spots in the order of `columns`."""

    rows_axis: str
    columns_axis: str
    columns: list[str]
    rows: dict[str, list[Spot]]


@dataclass(frozen=True, slots=True)
class Bar:
    """Mean and deviation of a cell, in the drawing's units; no height where there is one run."""

    x: float
    y: float
    low: float
    high: float
    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Scores by one axis of numbers."""

    axis: str
    bars: list[Bar]
    x_ticks: list[Tick]
    y_ticks: list[Tick]


@dataclass(frozen=True, slots=True)
class SweepPage:
    """All that the report shows.

    best_threshold: see `Measure`
    test: of the chosen cell, the mean and each run's; None: nothing was chosen yet
    """

    title: str
    caption: str
    column: str
    measure: str
    best_threshold: bool
    num_over: int
    seconds: str
    rows: list[Compared]
    direction: Direction
    heat_map: HeatMap | None
    curve: Curve | None
    chosen: Chosen | None
    test: tuple[float, list[float]] | None
    validation: str
    trials: list[tuple[Trial, Result | None, str]]
    failures: list[Failure] = field(default_factory=list)


def write_sweep_report(
    output: str,
    sweep: Sweep,
    trials: Sequence[Trial],
    results: Mapping[str, Result],
    *,
    failures: Sequence[Failure],
    chosen: Chosen | None,
) -> str:
    """Write the report of a sweep, finished or not, into its folder; return its URL."""
    page = compose(sweep, trials, results, failures=failures, chosen=chosen)
    url = storage.join(output, REPORT)
    storage.write(url, environment().get_template("sweep.html").render(page=page).encode())
    return url


def compose(
    sweep: Sweep,
    trials: Sequence[Trial],
    results: Mapping[str, Result],
    *,
    failures: Sequence[Failure],
    chosen: Chosen | None,
) -> SweepPage:
    """Put together what the report shows."""
    cells = list({trial.cell.name: trial.cell for trial in trials}.values())
    scores = cell_means(trials, results)
    rows = compared(sweep, trials, results)
    causes = {failure.trial: failure.cause for failure in failures}
    found = [result for result in results.values() if result.over]
    benchmarks = {result.records[-1].get("benchmark") for result in found}
    return SweepPage(
        title=sweep.table,
        caption=find_table(sweep.table)[0].caption,
        column=sweep.column,
        measure=sweep.measure.name,
        best_threshold=sweep.measure.best_threshold,
        num_over=len(found),
        seconds=wording.duration(sum(each.seconds + each.scoring_s for each in found)),
        rows=rows,
        direction=direction(rows),
        heat_map=heat_map(cells, scores, chosen.cell if chosen else None),
        curve=curve(cells, scores),
        chosen=chosen,
        test=_test(sweep, chosen),
        validation=", ".join(sorted(filter(None, benchmarks))) or "nothing yet",
        trials=[(trial, results.get(trial.name), causes.get(trial.name, "")) for trial in trials],
        failures=list(failures),
    )


def heat_map(
    cells: Sequence[Cell], scores: Mapping[str, Sequence[float]], chosen: str | None
) -> HeatMap | None:
    """Lay cells out by their two axes; None: they have not two of several values each."""
    axes = {tuple(cell.labels) for cell in cells}
    if len(axes) != 1 or len(next(iter(axes))) != 2:
        return None
    down, across = next(iter(axes))
    columns = list(dict.fromkeys(cell.labels[across] for cell in cells))
    rows = list(dict.fromkeys(cell.labels[down] for cell in cells))
    named = {(cell.labels[down], cell.labels[across]): cell.name for cell in cells}
    means = {name: fmean(values) for name, values in scores.items()}
    low, high = min(means.values(), default=0.0), max(means.values(), default=1.0)

    def spot(row: str, column: str) -> Spot:
        name = named.get((row, column), "")
        if name not in means:
            return Spot("", None, chosen=False)
        shade = (means[name] - low) / (high - low) if high > low else 1.0
        return Spot(_mean_text(scores[name]), shade, chosen=name == chosen)

    spots = {row: [spot(row, column) for column in columns] for row in rows}
    return HeatMap(down, across, columns, spots)


def curve(cells: Sequence[Cell], scores: Mapping[str, Sequence[float]]) -> Curve | None:
    """Draw means with their deviations; None: the cells are not points of one axis of numbers."""
    axes = {tuple(cell.labels) for cell in cells}
    places = _numbers(cells) if len(axes) == 1 and len(next(iter(axes))) == 1 else {}
    known = {name: scores[name] for name in places if name in scores}
    if len(known) < 2:
        return None
    spread = {name: stdev(each) if len(each) > 1 else 0.0 for name, each in known.items()}
    means = {name: fmean(each) for name, each in known.items()}
    low = min(means[name] - spread[name] for name in known)
    high = max(means[name] + spread[name] for name in known)
    margin = MARGIN * (high - low) or 0.01
    low, high = low - margin, high + margin
    left, right = 0.0, max(places.values()) * (1 + MARGIN)

    def height(value: float) -> float:
        return HEIGHT * (high - value) / (high - low)

    bars = [
        Bar(
            x=WIDTH * (places[name] - left) / (right - left),
            y=height(means[name]),
            low=height(means[name] - spread[name]),
            high=height(means[name] + spread[name]),
            label=f"{name}: {_mean_text(each)}",
        )
        for name, each in sorted(known.items(), key=lambda item: places[item[0]])
    ]
    (axis,) = next(iter(axes))
    return Curve(axis, bars, axis_ticks(left, right, 5), axis_ticks(low, high, 4))


def _numbers(cells: Sequence[Cell]) -> dict[str, float]:
    """Return the only label of each cell as a number; nothing where one is none."""
    try:
        return {cell.name: float(next(iter(cell.labels.values()))) for cell in cells}
    except ValueError:
        return {}


def _mean_text(values: Sequence[float]) -> str:
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{spread}"


def _test(sweep: Sweep, chosen: Chosen | None) -> tuple[float, list[float]] | None:
    if chosen is None:
        return None
    values = [record[sweep.measure.name] for record in chosen.records]
    return fmean(values), values
