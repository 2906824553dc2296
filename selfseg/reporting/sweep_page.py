"""A sweep's report: its grid or its curve, the paper's numbers beside ours, and every trial."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from selfseg import storage
from selfseg.contracts import View
from selfseg.reporting import wording
from selfseg.reporting.render import environment
from selfseg.reporting.report import REPORT
from selfseg.reporting.sweep_curves import Curve, Spot, draw, mean_text
from selfseg.reporting.sweep_growing import Growing, growing
from selfseg.reporting.sweep_table import (
    Compared,
    Direction,
    caption_of,
    cell_means,
    compared,
    direction,
    stopped_early,
)
from selfseg.sweep.choice import Chosen
from selfseg.sweep.growing import Moment
from selfseg.sweep.plan import Cell, Sweep, Trial
from selfseg.sweep.results import Failure, Result


@dataclass(frozen=True, slots=True)
class Square:
    """One cell of a heat map.

    shade: 0 the least score, 1 the greatest; None: no score yet
    stopped: whether it is one of fewer steps than a run has
    """

    text: str
    shade: float | None
    chosen: bool = False
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Scores by two axes: rows by name, each with its squares in the order of `columns`."""

    rows_axis: str
    columns_axis: str
    columns: list[str]
    rows: dict[str, list[Square]]

    @property
    def stopped(self) -> bool:
        """Whether any square is of runs that were stopped early."""
        return any(square.stopped for squares in self.rows.values() for square in squares)


@dataclass(frozen=True, slots=True)
class SweepPage:
    """All that the report shows.

    best_threshold: see `Measure`
    column: of the paper's table; None: no paper has one
    view: that is scored; None: what a method calls best
    changes: settings that are not the recipes', in all trials, as `--set` has them
    test: of the chosen cell, the mean and each run's; None: nothing was chosen yet
    stopped: runs of the chosen cell that were stopped early
    before: cells that earlier commands chose, and scored on the test part
    """

    title: str
    caption: str
    column: str | None
    measure: str
    best_threshold: bool
    view: View | None
    num_over: int
    seconds: str
    rows: list[Compared]
    direction: Direction
    heat_map: HeatMap | None
    curve: Curve | None
    growing: Growing | None
    chosen: Chosen | None
    test: tuple[float, list[float]] | None
    stopped: int
    before: Sequence[str]
    validation: str
    trials: list[tuple[Trial, Result | None, str]]
    changes: Sequence[str] = ()
    failures: list[Failure] = field(default_factory=list)


def write_sweep_report(
    output: str,
    sweep: Sweep,
    trials: Sequence[Trial],
    results: Mapping[str, Result],
    *,
    failures: Sequence[Failure],
    chosen: Chosen | None,
    earlier: Chosen | None = None,
    moments: Sequence[Moment] = (),
    changes: Sequence[str] = (),
) -> str:
    """Write the report of a sweep, finished or not, into its folder; return its URL.

    Args:
        output: the sweep's folder.
        sweep: whose trials these are.
        trials: in order.
        results: what they came to, by name.
        failures: of this command.
        chosen: by this command.
        earlier: by this or an earlier one.
        moments: what a collection that grows adds to, see `selfseg.sweep.growing`.
        changes: settings of all trials.
    """
    page = compose(
        sweep,
        trials,
        results,
        failures=failures,
        chosen=chosen,
        earlier=earlier,
        moments=moments,
        changes=changes,
    )
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
    earlier: Chosen | None = None,
    moments: Sequence[Moment] = (),
    changes: Sequence[str] = (),
) -> SweepPage:
    """Put together what the report shows."""
    cells = list({trial.cell.name: trial.cell for trial in trials}.values())
    scores, stopped = cell_means(trials, results), stopped_early(trials, results)
    rows = compared(sweep, trials, results)
    causes = {failure.trial: failure.cause for failure in failures}
    found = [result for result in results.values() if result.over]
    benchmarks = {result.records[-1].get("benchmark") for result in found}
    return SweepPage(
        title=sweep.table,
        caption=caption_of(sweep),
        column=sweep.column,
        measure=sweep.measure.name,
        best_threshold=sweep.measure.best_threshold,
        view=sweep.measure.view,
        num_over=len(found),
        seconds=wording.duration(sum(each.seconds + each.scoring_s for each in found)),
        rows=rows,
        direction=direction(rows),
        heat_map=heat_map(cells, scores, chosen.cell if chosen else None, stopped=stopped),
        curve=curve(sweep.measure.name, cells, scores),
        growing=growing(moments),
        chosen=chosen,
        test=_test(sweep, chosen),
        stopped=stopped[chosen.cell] if chosen else 0,
        before=_before(chosen, earlier),
        validation=", ".join(sorted(filter(None, benchmarks))) or "nothing yet",
        trials=[(trial, results.get(trial.name), causes.get(trial.name, "")) for trial in trials],
        changes=changes,
        failures=list(failures),
    )


def heat_map(
    cells: Sequence[Cell],
    scores: Mapping[str, Sequence[float]],
    chosen: str | None,
    *,
    stopped: Collection[str],
) -> HeatMap | None:
    """Lay cells out by their two axes; None: they have not two of several values each.

    Args:
        cells: in order.
        scores: of each cell's runs, by its name.
        chosen: the name of the cell to point out.
        stopped: names of cells of which a run was stopped early.
    """
    axes = {tuple(cell.labels) for cell in cells}
    if len(axes) != 1 or len(next(iter(axes))) != 2:
        return None
    down, across = next(iter(axes))
    columns = list(dict.fromkeys(cell.labels[across] for cell in cells))
    rows = list(dict.fromkeys(cell.labels[down] for cell in cells))
    named = {(cell.labels[down], cell.labels[across]): cell.name for cell in cells}
    means = {name: fmean(values) for name, values in scores.items()}
    low, high = min(means.values(), default=0.0), max(means.values(), default=1.0)

    def square(row: str, column: str) -> Square:
        name = named.get((row, column), "")
        if name not in means:
            return Square("", None)
        shade = (means[name] - low) / (high - low) if high > low else 1.0
        return Square(mean_text(scores[name]), shade, name == chosen, name in stopped)

    squares = {row: [square(row, column) for column in columns] for row in rows}
    return HeatMap(down, across, columns, squares)


def curve(
    measure: str, cells: Sequence[Cell], scores: Mapping[str, Sequence[float]]
) -> Curve | None:
    """Draw means with their deviations; None: the cells are not points of one axis of numbers."""
    axes = {tuple(cell.labels) for cell in cells}
    if len(axes) != 1 or len(next(iter(axes))) != 1:
        return None
    ((axis,),) = axes
    spots = [
        Spot(name, place, scores[name]) for name, place in _numbers(cells).items() if name in scores
    ]
    return draw(measure, axis, {"": spots})


def _numbers(cells: Sequence[Cell]) -> dict[str, float]:
    """Return the only label of each cell as a number; nothing where one is none."""
    try:
        return {cell.name: float(next(iter(cell.labels.values()))) for cell in cells}
    except ValueError:
        return {}


def _before(chosen: Chosen | None, earlier: Chosen | None) -> Sequence[str]:
    if chosen is not None:
        return chosen.before
    return (*earlier.before, earlier.cell) if earlier else ()


def _test(sweep: Sweep, chosen: Chosen | None) -> tuple[float, list[float]] | None:
    if chosen is None:
        return None
    values = [record[sweep.measure.name] for record in chosen.records]
    return fmean(values), values
