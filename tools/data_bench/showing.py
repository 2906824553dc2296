"""The benchmark's tables and its figure."""

from collections.abc import Iterator, Mapping

from data_bench.comparing import LIBRARIES, PROCESSES, Results
from data_bench.growth import Cost
from panels import Panel, figure
from rich import box
from rich.table import Table


def comparison_table(results: Results) -> Table:
    """Lay out medians: a row for each measurement, a column for each library."""
    table = Table("", *LIBRARIES, box=box.MARKDOWN)
    rows = dict.fromkeys(cell.row for cell in (*results.figures, *results.missing))
    for row in rows:
        figures = (results.median(row, library) for library in LIBRARIES)
        table.add_row(row, *("" if value is None else _short(value) for value in figures))
    return table


def reasons(results: Results) -> Iterator[str]:
    """Say once why a library has no figure."""
    said = dict.fromkeys((cell.library, why) for cell, why in results.missing.items())
    for library, why in said:
        yield f"{library}: {why}"


def growth_table(by_samples: Mapping[int, Cost], by_shards: Mapping[int, Cost]) -> Table:
    """Lay out what opening and reading costs."""
    table = Table("selfseg", "open, s", "samples/s", "peak memory, MB", box=box.MARKDOWN)
    for noun, costs in (("samples", by_samples), ("shards", by_shards)):
        for number, cost in costs.items():
            cells = (cost.open_s, cost.samples_per_s, cost.peak_mb)
            table.add_row(f"{number:,} {noun}", *map(_short, cells))
    return table


def drawing(results: Results, by_samples: Mapping[int, Cost], by_shards: Mapping[int, Cost]) -> str:
    """Draw rates over loader processes, and costs over samples and shards, as SVG."""
    panels = [
        _rates("raw files, samples/s", "raw", results),
        _rates("decoded batches, samples/s", "decoded", results),
        *_growth("samples", by_samples),
        *_growth("shards", by_shards),
    ]
    return figure("Reading collections", panels)


def _rates(title: str, how: str, results: Results) -> Panel:
    rows = [f"{how}, {processes} processes, samples/s" for processes in PROCESSES]
    lines = {
        name: [results.median(row, library) for row in rows]
        for library in LIBRARIES
        for name in (library,)
    }
    whole = {name: [v for v in line if v is not None] for name, line in lines.items()}
    places = [f"{processes} processes" for processes in PROCESSES]
    return Panel(title, places, {n: line for n, line in whole.items() if len(line) == len(rows)})


def _growth(noun: str, costs: Mapping[int, Cost]) -> Iterator[Panel]:
    places = [f"{number:,}" for number in costs]
    rates = [cost.samples_per_s for cost in costs.values()]
    yield Panel(f"samples/s over {noun}", places, {"selfseg": rates})
    lines = {
        "peak memory, MB": [cost.peak_mb for cost in costs.values()],
        "opening, s": [cost.open_s for cost in costs.values()],
    }
    yield Panel(f"memory and opening over {noun}", places, lines)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
