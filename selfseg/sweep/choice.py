"""The cell that is best on the validation part, scored once on the test part."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from statistics import fmean
from typing import Any

from selfseg import storage
from selfseg.config import Config
from selfseg.sweep.plan import Trial
from selfseg.sweep.results import Result, read_kept, slim, write_kept

TEST = "test.json"


class Chosen(Config):
    """What the chosen cell scores on the test part."""

    cell: str
    identities: tuple[str, ...]
    """Of its trials."""

    records: tuple[dict[str, Any], ...]
    """One for each trial, of its end."""

    before: tuple[str, ...] = ()
    """Cells that had been chosen before, of fewer trials or under other settings, and were scored
    on the test part as well."""


def choose(trials: Sequence[Trial], results: Mapping[str, Result]) -> list[Trial]:
    """Return the runs that came to their end of the cell with the best mean over them.

    Runs that were stopped early count for nothing, so a cell of which all were is not chosen.
    None at all: not all trials are over yet, so that a later choice may be another.
    """
    if not all(trial.name in results and results[trial.name].over for trial in trials):
        return []
    ended: dict[str, list[Trial]] = {}
    for trial in trials:
        if results[trial.name].status == "finished":
            ended.setdefault(trial.cell.name, []).append(trial)
    means = (fmean(results[trial.name].score for trial in own) for own in ended.values())
    return max(zip(means, ended.values(), strict=True), key=itemgetter(0), default=(0, []))[1]


def score_chosen(
    output: str, trials: Sequence[Trial], score: Callable[[str], list[dict[str, Any]]]
) -> Chosen:
    """Score the chosen trials on the test part, unless that was done before.

    Args:
        output: the sweep's folder.
        trials: of one cell.
        score: a run's URL to its records on the test part.
    """
    found = read_chosen(output)
    identities = tuple(trial.identity for trial in trials)
    if found is not None and found.identities == identities:
        return found
    records = tuple(slim(score(trial.url)[-1]) for trial in trials)
    before = (*found.before, found.cell) if found else ()
    result = Chosen(cell=trials[0].cell.name, identities=identities, records=records, before=before)
    write_kept(storage.join(output, TEST), result)
    return result


def read_chosen(output: str) -> Chosen | None:
    """Return what was scored on the test part; None: nothing yet.

    Raises:
        UserError: the file is something else.
    """
    otherwise = "not the scores of a chosen cell: delete it"
    return read_kept(storage.join(output, TEST), Chosen, otherwise=otherwise)
