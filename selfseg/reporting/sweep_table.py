"""A sweep beside the paper's table: its numbers, ours over the seeds, and whether they agree."""

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from selfseg.config import dotted
from selfseg.reporting.lines import PER_CENT, SHARE, Cell
from selfseg.reporting.papers import Row, find_table, holds
from selfseg.reporting.results import OPTIONS
from selfseg.sweep.plan import Sweep, Trial
from selfseg.sweep.results import Result


@dataclass(frozen=True, slots=True)
class Compared:
    """One row of the paper's table, and one of our cells; of a table of ours, the cell alone.

    paper: as printed
    cell: ours that stands beside it; empty: none does yet
    ours: the score of each run of this cell, in the table's unit
    unfinished: runs among them that were stopped before their end
    """

    label: str
    paper: str
    cell: str
    ours: Cell
    unfinished: int

    @property
    def number(self) -> float | None:
        """The paper's number; None: it prints none."""
        found = re.match(r"\d+(\.\d+)?", self.paper)
        return float(found[0]) if found else None


@dataclass(frozen=True, slots=True)
class Direction:
    """How many pairs of rows ours puts in the paper's order, of those that both tell apart."""

    alike: int
    pairs: int

    def __str__(self) -> str:
        if not self.pairs:
            return "No two rows that the paper tells apart have a number of ours yet"
        counted = f"{self.alike} of {self.pairs}"
        return f"The order agrees in {counted} pairs of rows that the paper tells apart"


def compared(
    sweep: Sweep, trials: Sequence[Trial], results: Mapping[str, Result]
) -> list[Compared]:
    """Put what each cell scored on the validation part beside the paper's rows.

    Several cells may stand beside one row: it comes once for each, in order.
    """
    if sweep.column is None:
        return _by_cell(trials, results)
    published, _ = find_table(sweep.table)
    unit = PER_CENT if published.in_per_cent else SHARE
    column = published.columns.index(sweep.column)
    rows = []
    for row in published.rows:
        cells: dict[str, list[tuple[Result, Mapping[str, Any]]]] = {}
        for trial, result, record in _beside(row, trials, results):
            cells.setdefault(trial.cell.name, []).append((result, record))
        for name, found in (cells or {"": []}).items():
            values = tuple(unit.factor * record[sweep.measure.name] for _, record in found)
            stopped = sum(result.status != "finished" for result, _ in found)
            ours = Cell(values, "", unit)
            rows.append(Compared(row.label, row.paper[column], name, ours, stopped))
    return [row for row in rows if row.number is not None or row.ours.values]


def direction(rows: Sequence[Compared]) -> Direction:
    """Compare the order of every two rows; of several cells beside one, the first counts.

    Rows of which a run was stopped early are left out: theirs are scores of fewer steps.
    """
    first = list({row.label: row for row in reversed(rows)}.values())[::-1]
    both = [
        (row.number, row.ours.mean)
        for row in first
        if row.number is not None and row.ours.mean is not None and not row.unfinished
    ]
    gaps = [
        (theirs - others, ours - ours_too)
        for (theirs, ours), (others, ours_too) in itertools.combinations(both, 2)
        if theirs != others
    ]
    # Where ours are equal they agree with nothing.
    return Direction(sum(paper * here > 0 for paper, here in gaps), len(gaps))


def as_table(sweep: Sweep, rows: Sequence[Compared]) -> Table:
    """Return what the terminal shows."""
    cut = ", each trial at its best threshold there" if sweep.measure.best_threshold else ""
    agreement = f" {direction(rows)}." if sweep.column else ""
    table = Table(
        title=Text(f"{sweep.table}: {caption_of(sweep)}"),
        caption=Text(f"Ours: {sweep.measure.name} on the validation part{cut}.{agreement}"),
        title_justify="left",
        caption_justify="left",
    )
    if sweep.column:
        table.add_column(Text(find_table(sweep.table)[0].stub))
    table.add_column("cell")
    if sweep.column:
        table.add_column(Text(f"paper, {sweep.column}"), justify="right")
    for heading in ("ours", "runs"):
        table.add_column(Text(heading), justify="right")
    for row in rows:
        count = str(len(row.ours.values)) if row.ours.values else ""
        stopped = f", {row.unfinished} stopped" if row.unfinished else ""
        known = (row.label, row.cell, row.paper) if sweep.column else (row.cell,)
        table.add_row(*known, row.ours.text(0, ""), count + stopped)
    return table


def caption_of(sweep: Sweep) -> str:
    """Say what a sweep's table shows, in the paper's words where it is a paper's."""
    return find_table(sweep.table)[0].caption if sweep.column else sweep.caption


def cell_means(
    trials: Sequence[Trial], results: Mapping[str, Result]
) -> dict[str, tuple[float, ...]]:
    """Return the scores of each cell's runs that are over, by its name."""
    found: dict[str, list[float]] = {}
    for trial in trials:
        if trial.name in results and results[trial.name].over:
            found.setdefault(trial.cell.name, []).append(results[trial.name].score)
    return {name: tuple(scores) for name, scores in found.items()}


def stopped_early(trials: Sequence[Trial], results: Mapping[str, Result]) -> Counter[str]:
    """Count the runs of each cell that were stopped before their end, by its name."""
    return Counter(
        trial.cell.name
        for trial in trials
        if trial.name in results and results[trial.name].status == "stopped"
    )


def _by_cell(trials: Sequence[Trial], results: Mapping[str, Result]) -> list[Compared]:
    stopped = stopped_early(trials, results)
    return [
        Compared("", "", name, Cell(scores, "", SHARE), stopped[name])
        for name, scores in cell_means(trials, results).items()
    ]


def _beside(
    row: Row, trials: Sequence[Trial], results: Mapping[str, Result]
) -> Iterator[tuple[Trial, Result, Mapping[str, Any]]]:
    """Find the trials that stand beside a row, with those of their records that do."""
    for trial in trials:
        result = results.get(trial.name)
        for record in result.records if result and result.over else ():
            facts = _facts(trial, record)
            if any(holds(where, facts) for ours in row.ours for where in ours.where):
                assert result is not None
                yield trial, result, record


def _facts(trial: Trial, record: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {option: record.get(option) for option in OPTIONS}
    return dict(dotted(trial.config.model_dump(mode="json"))) | chosen | dict(trial.cell.facts)
