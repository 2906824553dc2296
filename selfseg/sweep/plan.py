"""What a sweep runs: cells of settings in order, a run for each cell and seed."""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from selfseg import storage
from selfseg.config import dotted
from selfseg.contracts import View
from selfseg.errors import UsageError
from selfseg.experiment import ExperimentConfig, read_recipe

Size = Literal["full", "cpu"]
"""Recipes of the papers' size, or those for two CPU cores."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of a sweep's space.

    labels: what tells it from the others, by short names, e.g. {"box": "0.2-0.8"}
    recipe: what it builds on
    changes: settings by dotted path
    facts: what a paper's table asks of this cell beyond settings, see `reporting.papers`
    rounds: after which its trials are scored; empty: those of the sweep's measure
    """

    labels: Mapping[str, str]
    recipe: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    rounds: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """Its labels in a line, which is also part of a folder's name."""
        return ",".join(f"{axis}={label}" for axis, label in self.labels.items())


@dataclass(frozen=True, slots=True)
class Measure:
    """By what trials are ranked.

    name: key of a score in the records of `selfseg evaluate`, e.g. "j_mean"
    view: what the model looks at; None for what its method calls best
    rounds: after which a trial is scored; the last ranks; empty: its end
    best_threshold: whether the masks of each trial are cut where their mean J on the validation
        part is best, there and on the test part; otherwise at 0.5
    """

    name: str
    view: View | None = None
    rounds: tuple[int, ...] = ()
    best_threshold: bool = False


@dataclass(frozen=True, slots=True)
class Halving:
    """Trials train in rungs, and of those at a rung only the best go on, see `sweep.halving`.

    rungs: how many there are; the last is a trial's end
    factor: one in so many goes on, and trains so many times as long
    after: settings that count steps before which nothing shows; they are in no rung's time
    """

    rungs: int = 3
    factor: int = 3
    after: tuple[str, ...] = ()

    def steps(self, config: ExperimentConfig) -> tuple[int, ...]:
        """Return after how many steps of a run each rung comes; a short run has fewer rungs."""
        settings = dict(dotted(config.model_dump(mode="json")))
        # A run may be too short for any rung but its end.
        before = min(sum(settings.get(name, 0) for name in self.after), config.loop.steps - 1)
        total = config.loop.steps - before
        shares = [self.factor**rung for rung in range(self.rungs)]
        found = (before + max(1, total * share // shares[-1]) for share in shares)
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Sweep:
    """One table of a paper, to be reproduced, or one that no paper has.

    table: the paper's, as `selfseg table` names it; one of ours has a name of its own
    column: of the paper's table, the one whose numbers `measure` stands beside; None: it is ours
    cells: in order
    measure: ranks
    benchmark, splits: what the paper chose by and what it reports on, where their tree is at hand
    seeded: settings that a trial's seed is the value of
    seeds: how many runs each cell has
    halving: which trials end early, where that is asked for
    caption: of a table of ours, what it shows
    continual: whether its cells are ways to learn while a collection grows, see `sweep.growing`
    """

    table: str
    column: str | None
    cells: tuple[Cell, ...]
    measure: Measure
    benchmark: str
    splits: tuple[str, str | None]
    seeded: tuple[str, ...] = ("seed",)
    seeds: int = 1
    halving: Halving = field(default_factory=Halving)
    caption: str = ""
    continual: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a sweep.

    measure: by which it is ranked
    url: its folder
    identity: SHA-256 of all that its result depends on, but for what has its default: a setting
        that is younger than a finished trial does not make it another
    """

    cell: Cell
    seed: int
    config: ExperimentConfig
    measure: Measure
    url: str
    identity: str

    @property
    def name(self) -> str:
        """The last part of its URL."""
        return trial_name(self.cell, self.seed)

    @property
    def steps(self) -> int:
        """Steps to its end."""
        return self.config.loop.steps


def trial_name(cell: Cell, seed: int) -> str:
    """Name a run by its settings, e.g. "box=0.2-0.8,lambda=0.005,seed=0"."""
    return f"{cell.name},seed={seed}"


def grid(recipe: str, axes: Mapping[str, tuple[str, Sequence[Any]]]) -> tuple[Cell, ...]:
    """Return the product of axes, the last varying fastest.

    Args:
        recipe: what all cells build on.
        axes: by short name, a setting's path and its values.
    """
    paths = [path for path, _ in axes.values()]
    return tuple(
        Cell(
            labels={name: label(value) for name, value in zip(axes, values, strict=True)},
            recipe=recipe,
            changes=dict(zip(paths, values, strict=True)),
        )
        for values in itertools.product(*(values for _, values in axes.values()))
    )


def label(value: object) -> str:
    """Write a setting's value so that it can be part of a folder's name: 0.2-0.8, 0.005."""
    if isinstance(value, list | tuple):
        return "-".join(map(label, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def without_defaults(about: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that say something; one that is added later says nothing."""
    defaults = {field.name: field.default for field in fields(about)}
    return {name: value for name, value in asdict(about).items() if value != defaults[name]}


def plan(
    sweep: Sweep,
    *,
    output: str,
    seeds: int,
    changes: Mapping[str, Any],
    depends_on: Mapping[str, Any],
) -> list[Trial]:
    """Resolve every trial's settings; the first seed of all cells comes first.

    Args:
        sweep: what to run.
        output: where the trials' folders are.
        seeds: runs of each cell.
        changes: settings of all trials by dotted path, over the recipes'.
        depends_on: what else decides on results, such as the collection's state; in JSON's types.

    Raises:
        UsageError: a setting is not one, or is one that the sweep varies.
    """
    varied = {path for cell in sweep.cells for path in cell.changes} | set(sweep.seeded)
    if taken := sorted(varied & set(changes)):
        raise UsageError(f"--set {taken[0]}: this sweep varies it; set something else")
    names = [cell.name for cell in sweep.cells]
    assert len(set(names)) == len(names), names
    return [
        _trial(sweep, cell, seed, output=output, changes=changes, depends_on=depends_on)
        for seed in range(seeds)
        for cell in sweep.cells
    ]


def _trial(
    sweep: Sweep,
    cell: Cell,
    seed: int,
    *,
    output: str,
    changes: Mapping[str, Any],
    depends_on: Mapping[str, Any],
) -> Trial:
    own = {**changes, **cell.changes, **dict.fromkeys(sweep.seeded, seed)}
    config = read_recipe(cell.recipe).override(own)
    if config.data.follow:
        raise UsageError("data.follow: all trials of a sweep learn from one state: set it to false")
    measure = replace(sweep.measure, rounds=cell.rounds or sweep.measure.rounds)
    if missing := sorted({*measure.rounds} - {*config.round_ends}):
        raise UsageError(
            f"method.rounds: trial {trial_name(cell, seed)} is scored after round {missing[-1]} "
            f"and ends after {max(config.round_ends, default=0)}: let it have {missing[-1]}"
        )
    told = {
        # Of the method's name, a default everywhere, depends which the others are.
        "method": config.method.name,
        "settings": config.model_dump(mode="json", exclude_defaults=True),
        "measure": without_defaults(measure),
        **depends_on,
    }
    identity = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    url = storage.join(output, "trials", trial_name(cell, seed))
    return Trial(cell, seed, config, measure, url, identity)
