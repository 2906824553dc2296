"""A paper's table with our numbers below its own, or the command that would produce them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from selfseg import storage
from selfseg.reporting.lines import Cell, Line, Place, places
from selfseg.reporting.papers import Column, PaperTable, find_table
from selfseg.reporting.results import Experiment, fold, read_run
from selfseg.reporting.sweep_table import Compared, Direction, direction

FOREIGN = "*: no column of the paper's; not comparable in scale with its numbers."


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paper's table, filled.

    columns: by heading; the paper's, then those for what it was not scored on, or by
    lines: ours, for each row
    """

    name: str
    published: PaperTable
    columns: dict[str, Column]
    lines: tuple[tuple[Line, ...], ...]

    @property
    def footnotes(self) -> list[str]:
        """Every command that would produce something missing, once."""
        cells = (cell for lines in self.lines for line in lines for cell in line.cells.values())
        return list(dict.fromkeys(cell.command for cell in cells if cell.command))

    @property
    def directions(self) -> dict[str, Direction]:
        """By column, whether ours are in the paper's order, where both have numbers for two rows.

        Of several lines of ours below a row the first counts: the others are scored otherwise.
        """
        found = {
            heading: direction(list(self._compared(column)))
            for column, heading in enumerate(self.published.columns)
        }
        return {heading: each for heading, each in found.items() if each.pairs}

    def table(self) -> Table:
        """Return what the terminal shows; numbers in brackets mark commands of `footnotes`."""
        foreign = set(self.columns) - set(self.published.columns)
        remarks = [
            self.published.measure + ".",
            self.published.note,
            FOREIGN if foreign else "",
            *(f"{heading}: {each}." for heading, each in self.directions.items()),
        ]
        table = Table(
            title=Text(f"{self.name}: {self.published.caption}"),
            caption=Text(" ".join(filter(None, remarks))),
            title_justify="left",
            caption_justify="left",
        )
        table.add_column(Text(self.published.stub))
        table.add_column("runs")
        for heading in self.columns:
            mark = " *" if heading in foreign else ""
            table.add_column(Text(heading + mark), justify="right")
        section = ""
        for row, lines in zip(self.published.rows, self.lines, strict=True):
            if row.section != section:
                section = row.section
                table.add_section()
                table.add_row(Text(section, style="italic"))
            table.add_row(Text(row.label), "", *map(Text, row.paper))
            for line in lines:
                table.add_row(*map(Text, self._printed(line)), style="bold")
        return table

    def as_json(self) -> dict[str, Any]:
        """Return all of it; a cell lists the score of each run, in the table's unit."""
        return {
            "table": self.name,
            "caption": self.published.caption,
            "measure": self.published.measure,
            "columns": {name: list(column.benchmarks) for name, column in self.columns.items()},
            "directions": {name: asdict(each) for name, each in self.directions.items()},
            "rows": [
                {
                    "label": row.label,
                    "section": row.section,
                    "paper": dict(zip(self.published.columns, row.paper, strict=True)),
                    "ours": [_line_as_json(line) for line in lines],
                }
                for row, lines in zip(self.published.rows, self.lines, strict=True)
            ],
        }

    def _compared(self, column: int) -> Iterator[Compared]:
        """Yield the rows of a column, each with our first line below it."""
        heading = self.published.columns[column]
        for number, row in enumerate(self.published.rows):
            for line in self.lines[number][:1]:
                if heading in line.cells:
                    # Rows of several sections may share a label.
                    yield Compared(str(number), row.paper[column], "", line.cells[heading], 0)

    def _printed(self, line: Line) -> Iterator[str]:
        yield f"  here, {line.label}"
        yield line.names
        for heading in self.columns:
            cell = line.cells.get(heading)
            yield self._text(cell, len(line.runs)) if cell else ""

    def _text(self, cell: Cell, wanted: int) -> str:
        mark = f"[{self.footnotes.index(cell.command) + 1}]" if cell.command else ""
        return cell.text(wanted, mark)


def compare(name: str, run_urls: Sequence[str]) -> Comparison:
    """Put what runs scored below a paper's numbers.

    Raises:
        UsageError: there is no table of this name, or two runs are the same.
        UserError: there is no run at a URL, or its scores cannot be read.
    """
    published, columns = find_table(name)
    asked = {
        fact
        for row in published.rows
        for counterpart in row.ours
        for conditions in counterpart.where
        for fact in conditions
    }
    runs = [read_run(url, count_videos="collection.videos" in asked) for url in run_urls]
    experiments = fold(runs, over_collections=published.folds_collections)
    return fill(name, published, columns, experiments)


def fill(
    name: str,
    published: PaperTable,
    columns: Mapping[str, Column],
    experiments: Sequence[Experiment],
) -> Comparison:
    """Put our lines below each row of a table, and columns for what only we were scored on."""
    found = [list(places(published, row, experiments)) for row in published.rows]
    shown = {heading: columns[heading] for heading in published.columns}
    shown |= _foreign(shown.values(), published, [each for row in found for each in row])
    lines = tuple(tuple(place.line(shown) for place in row) for row in found)
    return Comparison(name, published, shown, lines)


def write_json(url: str, comparison: Comparison) -> None:
    """Write a table to a file or an object."""
    content = json.dumps(comparison.as_json(), indent=1, ensure_ascii=False)
    storage.write(url, content.encode() + b"\n")


def _foreign(
    columns: Iterable[Column], published: PaperTable, found: Iterable[Place]
) -> dict[str, Column]:
    """Return columns for scores in our records that the paper has none for."""
    known = {
        (name, column.score or published.score) for column in columns for name in column.benchmarks
    }
    ours = {
        (name, score)
        for place in found
        for run in place.runs
        for name, record in run.scores.get(place.chosen, {}).items()
        for score in record
    }
    scores = published.scores.items()
    return {
        name if len(scores) == 1 else f"{name} {label}": Column(benchmarks=(name,), score=score)
        for name in sorted({name for name, _ in ours})
        for label, score in scores
        if (name, score) in ours - known
    }


def _line_as_json(line: Line) -> dict[str, Any]:
    return {
        "label": line.label,
        "runs": [run.url for run in line.runs],
        "seeds": [run.seed for run in line.runs],
        "cells": {
            heading: {
                "mean": cell.mean,
                "deviation": cell.deviation,
                "values": list(cell.values),
                "missing": cell.command or None,
            }
            for heading, cell in line.cells.items()
        },
    }
