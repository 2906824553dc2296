"""What papers report, table by table, and which records of ours stand beside it: all of it data.

published/PAPER.toml holds a paper's tables. Another table is another entry there, another paper
another file; nothing else changes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, cast

from pydantic import Field, model_validator

from selfseg.config import Config
from selfseg.errors import UsageError

PUBLISHED = Path(__file__).parent / "published"

Plain = bool | int | float | str | tuple[float, ...]


class Excluded(Config):
    """Any value but these."""

    not_in: tuple[Plain, ...]


Conditions = dict[str, Plain | Excluded]
"""Facts that must hold. Dotted paths are settings of the run, and `collection.videos` counts what
it learned from; other names are what its evaluation says: `view`, `round`, `crf`. False holds also
where nothing is said (`round = false`: the end of the run); nothing else does."""


class Counterpart(Config):
    """Which of our records stand below a row of a paper."""

    label: str
    """What is scored, in a word or two."""

    where: tuple[Conditions, ...]
    """The conditions of a record; of several sets one must hold. The recipe meets the first."""

    recipe: str | None = None
    """Recipe that it comes from, if not the table's."""

    options: str = ""
    """What training by this recipe must be told beside a collection."""


class Row(Config):
    """One row of a paper's table."""

    label: str
    paper: tuple[str, ...]
    """Its cells as printed."""

    section: str = ""
    """Heading above it."""

    ours: tuple[Counterpart, ...] = ()
    """Lines of ours below it."""


class Column(Config):
    """What the numbers of a column were measured on."""

    benchmarks: tuple[str, ...]
    """Their names in our records; of several, all images count alike. None: it holds no scores."""

    score: str | None = None
    """Key of the score in our records, if not the first of the table's."""


class PaperTable(Config):
    """One table of a paper."""

    caption: str
    """As printed."""

    measure: str
    """What the numbers are, with their unit."""

    scores: Annotated[dict[str, str], Field(min_length=1)]
    """Keys of scores in our records, by what the table calls them. The first is what its columns
    hold; a benchmark of our own has a column for each that is there."""

    columns: tuple[str, ...]
    """Headings, each one of the paper's `columns`."""

    rows: tuple[Row, ...]

    recipe: str
    """Recipe that our numbers come from."""

    in_per_cent: bool = True
    """How the numbers are printed; false: as shares of 1."""

    stub: str = ""
    """Heading of the rows' labels."""

    note: str = ""
    """What a reader must know to compare."""

    folds_collections: bool = False
    """Whether runs on other videos, but as many, fold into one line as other seeds do."""

    @property
    def score(self) -> str:
        """Key of the score that its columns hold."""
        return next(iter(self.scores.values()))


class Paper(Config):
    """All tables of a paper, by number; figures that are one, by name."""

    columns: dict[str, Column]
    """By heading."""

    tables: dict[str, PaperTable]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for number, table in self.tables.items():
            if unknown := set(table.columns) - set(self.columns):
                raise ValueError(f"table {number}: no column {min(unknown)}")
            for row in table.rows:
                if len(row.paper) != len(table.columns):
                    raise ValueError(f"table {number}: row {row.label} has {len(row.paper)} cells")
        return self


def holds(conditions: Conditions, facts: Mapping[str, Any]) -> bool:
    """Tell whether every condition holds for these facts."""
    return all(_meets(facts.get(name), wanted) for name, wanted in conditions.items())


def find_table(name: str) -> tuple[PaperTable, dict[str, Column]]:
    """Find a table by paper and number, e.g. "dystab/5"; with what its paper's columns mean.

    A figure that compares numbers is one, too: "proposal/figure10".

    Raises:
        UsageError: there is none of this name.
    """
    papers = {path.stem: Paper.read(path) for path in sorted(PUBLISHED.glob("*.toml"))}
    stem, _, number = name.partition("/")
    if stem in papers and number in papers[stem].tables:
        return papers[stem].tables[number], papers[stem].columns
    known = ", ".join(f"{paper}/{table}" for paper in papers for table in papers[paper].tables)
    raise UsageError(f"no table {name}: choose from {known}")


def _meets(fact: object, wanted: Plain | Excluded) -> bool:
    if isinstance(wanted, Excluded):
        return fact is not None and fact not in wanted.not_in
    if wanted is False:
        return fact is None or fact is False
    if isinstance(wanted, tuple):
        return isinstance(fact, list | tuple) and tuple(cast(Sequence[object], fact)) == wanted
    return fact == wanted
