"""Our numbers below a row of a paper's table: which they are, and how to get those missing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from selfseg.reporting import commands, wording
from selfseg.reporting.papers import Column, Conditions, Counterpart, PaperTable, Row, holds
from selfseg.reporting.results import Experiment, ScoredRun, Situation, situation


@dataclass(frozen=True, slots=True)
class Unit:
    """How a table prints scores: the factor, and digits of means and of deviations."""

    factor: float
    digits: int
    digits_of_deviation: int


PER_CENT, SHARE = Unit(100, 1, 2), Unit(1, 3, 3)


@dataclass(frozen=True, slots=True)
class Cell:
    """One of our numbers, in the table's unit.

    values: the score of each run that has one
    command: how to get those that are missing; empty: none is
    """

    values: tuple[float, ...]
    command: str
    unit: Unit = PER_CENT

    @property
    def mean(self) -> float | None:
        """Mean over runs; None: there is no score."""
        return fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """Sample deviation over runs; None below two."""
        return stdev(self.values) if len(self.values) > 1 else None

    def text(self, wanted: int, mark: str) -> str:
        """Print it; wanted: number of runs it should be the mean of."""
        unit = self.unit
        words = [] if self.mean is None else [f"{self.mean:.{unit.digits}f}"]
        if self.deviation is not None:
            words.append(f"± {self.deviation:.{unit.digits_of_deviation}f}")
        if self.values and len(self.values) < wanted:
            words.append(f"({len(self.values)} of {wanted})")
        return " ".join([*words, mark] if mark else words)


@dataclass(frozen=True, slots=True)
class Line:
    """Our numbers for a row: one experiment in one situation; no runs: still to be trained."""

    label: str
    runs: tuple[ScoredRun, ...]
    cells: dict[str, Cell]

    @property
    def names(self) -> str:
        """Its runs in a few words."""
        if not self.runs:
            return "no run yet"
        names = [run.name for run in self.runs]
        shown = names if len(names) < 4 else [names[0], "…", names[-1]]
        return f"{', '.join(shown)} ({wording.plural(len(names), 'seed')})"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line of ours comes from: runs of one experiment, evaluated alike.

    published: the table
    conditions: what had to hold
    runs: none: still to be trained
    chosen: what the evaluations chose
    """

    published: PaperTable
    counterpart: Counterpart
    conditions: Conditions
    runs: tuple[ScoredRun, ...]
    chosen: Situation

    def line(self, columns: Mapping[str, Column]) -> Line:
        """Look up its numbers, or how to get them, in every column that holds scores."""
        cells = {heading: self._cell(column) for heading, column in columns.items()}
        held = {heading: cell for heading, cell in cells.items() if cell is not None}
        return Line(self._label, self.runs, held)

    def _cell(self, column: Column) -> Cell | None:
        if not column.benchmarks:
            return None
        score = column.score or self.published.score
        unit = PER_CENT if self.published.in_per_cent else SHARE
        scored = {run.url: run.score(self.chosen, column.benchmarks, score) for run in self.runs}
        values = tuple(unit.factor * value for value in scored.values() if value is not None)
        lacking = [run for run in self.runs if scored[run.url] is None]
        if self.runs and not lacking:
            return Cell(values, "", unit)
        steps = [] if self.runs else [self._train]
        for benchmark in column.benchmarks:
            still = [run for run in lacking if run.score(self.chosen, [benchmark], score) is None]
            if still or not self.runs:
                steps.append(commands.evaluate(still, benchmark, self.chosen))
        return Cell(values, " && ".join(steps), unit)

    @property
    def _train(self) -> str:
        recipe = self.counterpart.recipe or self.published.recipe
        return commands.train(recipe, self.counterpart.options, self.conditions)

    @property
    def _label(self) -> str:
        """What is scored, with what the table did not ask for."""
        extra = [
            name if value is True else f"{name} {value}"
            for name, value in self.chosen
            if value is not None and value is not False and name not in self.conditions
        ]
        return ", ".join([self.counterpart.label, *extra])


def places(published: PaperTable, row: Row, experiments: Sequence[Experiment]) -> Iterator[Place]:
    """Find what stands below a row; where there is nothing, what should stand there."""
    for counterpart in row.ours:
        fitting = [
            (experiment, conditions)
            for experiment in experiments
            if (conditions := _met(counterpart, experiment)) is not None
        ]
        for experiment, conditions in fitting:
            for chosen in _chosen(experiment, conditions, published.score):
                yield Place(published, counterpart, conditions, experiment.runs, chosen)
        # A row of our own has no number that one would want to stand beside.
        if not fitting and any(row.paper):
            wanted = counterpart.where[0]
            chosen = situation(_of_record(wanted))
            yield Place(published, counterpart, wanted, (), chosen)


def _met(counterpart: Counterpart, experiment: Experiment) -> Conditions | None:
    """Return the first conditions that an experiment can meet, evaluated already or not."""
    return next((each for each in counterpart.where if _fits(experiment, each)), None)


def _fits(experiment: Experiment, conditions: Conditions) -> bool:
    about_run = {name: wanted for name, wanted in conditions.items() if "." in name}
    rounds = experiment.facts.get("method.rounds")
    reached = rounds is None or conditions.get("round", 0) <= rounds
    return reached and holds(about_run, experiment.facts)


def _chosen(experiment: Experiment, conditions: Conditions, measure: str) -> list[Situation]:
    wanted = _of_record(conditions)
    met = [each for each in experiment.situations(measure) if holds(wanted, dict(each))]
    return met or [situation(wanted)]


def _of_record(conditions: Conditions) -> Conditions:
    return {name: wanted for name, wanted in conditions.items() if "." not in name}
