"""The cell that is best on the validation part, scored once on the test part."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from selfseg import storage
from selfseg.config import Config
from selfseg.sweep.plan import Cell, Trial
from selfseg.sweep.results import Result, read_kept, slim, write_kept

TEST = "test.json"


class Chosen(Config):
    """What the chosen cell scores on the test part."""

    cell: str
    identities: tuple[str, ...]
    """Of its trials."""

    records: tuple[dict[str, Any], ...]
    """One for each trial, of its end."""


def choose(trials: Sequence[Trial], results: Mapping[str, Result]) -> Cell | None:
    """Return the cell with the best mean over seeds; one of which a seed was stopped is none.

    None: not all trials are over yet, so that a later choice may be another.
    """
    if not all(trial.name in results and results[trial.name].over for trial in trials):
        return None
    cells = {trial.cell.name: trial.cell for trial in trials}
    own = {
        name: [results[trial.name] for trial in trials if trial.cell.name == name] for name in cells
    }
    means = {
        name: fmean(result.score for result in runs)
        for name, runs in own.items()
        if all(result.status == "finished" for result in runs)
    }
    return cells[max(means, key=lambda name: means[name])] if means else None


def score_chosen(
    output: str, trials: Sequence[Trial], score: Callable[[str], list[dict[str, Any]]]
) -> Chosen:
    """Score the chosen cell's trials on the test part, unless that was done before.

    Args:
        output: the sweep's folder.
        trials: of the chosen cell.
        score: a run's URL to its records on the test part.
    """
    found = read_chosen(output)
    identities = tuple(trial.identity for trial in trials)
    if found is not None and found.identities == identities:
        return found
    records = tuple(slim(score(trial.url)[-1]) for trial in trials)
    result = Chosen(cell=trials[0].cell.name, identities=identities, records=records)
    write_kept(storage.join(output, TEST), result)
    return result


def read_chosen(output: str) -> Chosen | None:
    """Return what was scored on the test part; None: nothing yet.

    Raises:
        UserError: the file is something else.
    """
    otherwise = "not the scores of a chosen cell: delete it"
    return read_kept(storage.join(output, TEST), Chosen, otherwise=otherwise)
