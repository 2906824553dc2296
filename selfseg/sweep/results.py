"""What trials came to: a file in each trial's folder, and a table of all in two formats."""

import contextlib
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import pyarrow
from pyarrow import parquet

from selfseg import storage
from selfseg.config import Config
from selfseg.errors import UsageError, UserError
from selfseg.sweep.plan import Trial

RESULT = "result.json"

Kept = TypeVar("Kept", bound=Config)


class Result(Config):
    """What one trial came to, or how far it has come."""

    identity: str
    """The trial's, see `Trial`."""

    status: Literal["running", "finished", "stopped"]
    """Stopped: others were better at the same step."""

    seed: int

    steps: int
    """Taken by the last score."""

    seconds: float
    """That training took, whenever; of the slowest worker."""

    scoring_s: float
    """That scoring took."""

    rungs: dict[int, float]
    """The score by steps, wherever it was looked at."""

    records: tuple[dict[str, Any], ...]
    """The last scores on the validation part, as `selfseg evaluate` says them, without the single
    videos; one for each round that was asked for."""

    clock: tuple[float, ...] = ()
    """Seconds that training took until each record."""

    videos: tuple[dict[str, float], ...] = ()
    """What ranks, of each single video in each record, by its name; of images nothing is kept."""

    @property
    def score(self) -> float:
        """What ranks."""
        return self.rungs[self.steps]

    @property
    def over(self) -> bool:
        """Whether the trial needs no more work."""
        return self.status != "running"


class Failure(Config):
    """Why a trial has no result."""

    trial: str
    cause: str
    """In a line."""

    traceback: str


def read_result(trial: Trial) -> Result | None:
    """Return what a trial came to under its settings; None: nothing yet, or under others.

    Raises:
        UserError: the file is not a result.
    """
    url = storage.join(trial.url, RESULT)
    result = read_kept(url, Result, otherwise="not a trial's result: delete it to score again")
    return result if result and result.identity == trial.identity else None


def read_results(trials: Iterable[Trial]) -> dict[str, Result]:
    """Read what trials came to, by name; those that scored nothing yet are left out."""
    found = {trial.name: read_result(trial) for trial in trials}
    return {name: result for name, result in found.items() if result is not None}


def write_result(trial: Trial, result: Result) -> None:
    """Keep what a trial came to."""
    write_kept(storage.join(trial.url, RESULT), result)


def read_kept(url: str, kind: type[Kept], *, otherwise: str) -> Kept | None:
    """Read what `write_kept` wrote; None: nothing yet.

    Raises:
        UserError: the file is something else; it says `otherwise`.
    """
    try:
        return kind.parse(json.loads(storage.read(url)), origin=url)
    except storage.MissingObject:
        return None
    except (ValueError, TypeError, UsageError):
        raise UserError(f"{url}: {otherwise}") from None


def write_kept(url: str, content: Config) -> None:
    """Keep what a sweep found out, for the next command."""
    text = json.dumps(content.model_dump(mode="json"), indent=1)
    storage.write(url, text.encode() + b"\n")


def slim(record: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the single videos or images out of a record."""
    return {name: value for name, value in record.items() if name not in ("sequences", "images")}


def of_videos(record: Mapping[str, Any], measure: str) -> dict[str, float]:
    """Return what single videos score in a record, by name; empty where that is not measured.

    Args:
        record: as `selfseg evaluate` says it.
        measure: a mean's name, e.g. "j_mean".
    """
    own = measure.removesuffix("_mean")
    videos = record.get("sequences", {})
    return {name: scores[own] for name, scores in videos.items() if own in scores}


def as_csv(
    trials: Sequence[Trial], results: Mapping[str, Result], failures: Iterable[Failure]
) -> str:
    """Write a row for each trial, in order."""
    return table_of(_rows(trials, results, failures))


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as CSV; what one of them lacks is left empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_parquet(
    trials: Sequence[Trial], results: Mapping[str, Result], failures: Iterable[Failure]
) -> bytes:
    """Write the same rows; a column that holds nothing but numbers is one of numbers."""
    rows = _rows(trials, results, failures)
    table = {name: _column([row.get(name) for row in rows]) for name in _columns(rows)}
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(table), sink)
    return sink.getvalue().to_pybytes()


def _column(values: Sequence[Any]) -> pyarrow.Array:
    """Return values as numbers if all that are there are some: labels are written as text."""
    column = pyarrow.array(values)
    with contextlib.suppress(pyarrow.ArrowInvalid):
        return column.cast(pyarrow.float64()) if pyarrow.types.is_string(column.type) else column
    return column


def _rows(
    trials: Sequence[Trial], results: Mapping[str, Result], failures: Iterable[Failure]
) -> list[dict[str, Any]]:
    """Return a row for each trial."""
    causes = {failure.trial: failure.cause for failure in failures}
    return [_row(trial, results.get(trial.name), causes.get(trial.name)) for trial in trials]


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all columns, in the order in which they first come."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _row(trial: Trial, result: Result | None, cause: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"trial": trial.name, "recipe": trial.cell.recipe}
    row |= {**trial.cell.labels, "seed": trial.seed, "status": "waiting", "cause": ""}
    if result is not None:
        row |= {
            "status": result.status,
            "steps": result.steps,
            "seconds": round(result.seconds, 1),
            "scoring_s": round(result.scoring_s, 1),
            "score": result.score,
        }
        for record in result.records:
            after = f"_round_{record['round']}" if len(result.records) > 1 else ""
            found = {"threshold": record.get("threshold"), **means_of(record)}
            row |= {f"{name}{after}": value for name, value in found.items()}
    if cause is not None:
        row |= {"status": "failed", "cause": cause}
    return row


def means_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Return a record's averages by their names."""
    named = {"j_bump", "box_hit", "box_iou50", "map50"}
    return {
        name: value for name, value in record.items() if name.endswith("_mean") or name in named
    }
