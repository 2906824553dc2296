"""A run's checkpoints as a person looks after them: what is there, what is whole, what may go."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from rich.filesize import decimal
from rich.table import Table

from selfseg import storage
from selfseg.errors import UsageError, UserError
from selfseg.experiment import ExperimentConfig
from selfseg.reporting import scores, wording
from selfseg.reporting.collect import read_evaluations
from selfseg.reporting.scores import Scored
from selfseg.training import checkpoint, commit, retention, run_folder
from selfseg.training.commit import COMMIT, DamagedCheckpoint
from selfseg.training.run_folder import AT_ONCE

MEASURES = scores.VIDEO_MEASURES | scores.STILL_MEASURES | scores.DETECTION_MEASURES
"""By what checkpoints can be ranked."""

LESS_IS_BETTER = {"mae_mean"}
"""Of these the lowest are best."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A checkpoint as the listing of its run tells it; its files are not read.

    saved: when it was committed; None: it was not, or before commits noted it
    size: bytes of all files
    round: of the method that it completes, which keeps it for good
    scores: of this checkpoint, in words
    state: intact: all files have the sizes that were committed; unfinished: it was never
        committed, by a process that died or that is at it
    """

    url: str
    step: int
    saved: datetime | None
    size: int
    round: int | None
    scores: str
    state: Literal["intact", "damaged", "unfinished"]


@dataclass(frozen=True, slots=True)
class Score:
    """What a run's own model scored on a benchmark, at the newest step that was scored there."""

    benchmark: str
    measure: str
    value: float
    step: int

    def __str__(self) -> str:
        return f"{self.benchmark} {MEASURES[self.measure]} {wording.score(self.value)}"


def list_all(run_urls: Sequence[str]) -> dict[str, list[Listed]]:
    """Return the checkpoints of many runs by the runs' URLs."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(run_urls, pool.map(list_checkpoints, run_urls), strict=True))


def list_checkpoints(run_url: str) -> list[Listed]:
    """Return a run's checkpoints, oldest first."""
    folder = storage.join(run_url, "checkpoints")
    files: dict[str, dict[str, int]] = defaultdict(dict)
    for name, size in storage.sizes(folder).items():
        if found := re.fullmatch(r"(step_\d+)/(.+)", name):
            files[found[1]][found[2]] = size
    rounds = {step: number for number, step in _round_ends(run_url).items()}
    tables = read_tables(run_url)
    listed = []
    for name in sorted(files):
        url = storage.join(folder, name)
        step = retention.step_of(url)
        saved, state = _commit_of(url, files[name])
        told = ", ".join(map(str, own_scores(tables, step)))
        size = sum(files[name].values())
        listed.append(Listed(url, step, saved, size, rounds.get(step), told, state))
    return listed


def read_tables(run_url: str) -> list[scores.Table]:
    """Return what a run was scored on."""
    folder = storage.join(run_url, "evaluations")
    names = [f"evaluations/{name}" for name in storage.listing(folder)]
    return scores.tables(read_evaluations(run_url, names)[0])


def own_scores(tables: Iterable[scores.Table], step: int | None = None) -> list[Score]:
    """Return what a run's model scored, at `step` or at the newest that was scored."""
    found = []
    for table in tables:
        own = replace(
            table, entries=[each for each in table.entries if step in {None, _step(each)}]
        ).own
        if own is not None and (at := _step(own)) is not None:
            found.append(Score(table.benchmark, table.rank, own.means[table.rank], at))
    return found


def listing_table(runs: Mapping[str, Sequence[Listed]]) -> Table:
    """Lay out the checkpoints of runs, a row each."""
    table = Table(caption="intact: by the files' sizes; `selfseg checkpoint verify` reads them")
    for title in ("run", "step", "saved", "size", "round", "score", "state"):
        table.add_column(title, justify="right" if title in {"step", "size", "round"} else "left")
    for name, listed in runs.items():
        for each in listed:
            table.add_row(
                name,
                str(each.step),
                f"{each.saved.astimezone():%Y-%m-%d %H:%M:%S}" if each.saved else "",
                decimal(each.size),
                "" if each.round is None else str(each.round),
                each.scores,
                each.state,
            )
    return table


def verify_run(run_url: str) -> tuple[list[str], str]:
    """Read all of a run's checkpoints; return a line on each damaged file, and one on the whole."""
    lines, whole = [], []
    for url in checkpoint.committed(run_url):
        damages = list(map(str, commit.damages(url)))
        lines += damages
        whole += [] if damages else [url]
    start = f"step {retention.step_of(whole[-1])}" if whole else "its beginning"
    told = f"{wording.plural(len(whole), 'whole checkpoint')}; it would go on from {start}"
    return lines, f"{run_url}: {told}"


def prunable(run_url: str, keep: int, *, best: int = 0, by: str | None = None) -> list[str]:
    """Return the URLs of the checkpoints of a run that may go, oldest first.

    Those stay that end a round, the newest whole one and all that is later. What is unfinished
    and older was left by a process that died: a run that lives writes behind the newest.

    Args:
        run_url: the run; without a whole checkpoint it has nothing that may go.
        keep: how many of the newest stay.
        best: how many stay besides of those with the best scores: on each benchmark, of each view
            and way of treating masks, since other scores do not compare.
        by: the score's measure.

    Raises:
        UserError: no checkpoint has such a score, or the run's rounds cannot be told.
    """
    whole, _ = checkpoint.newest_whole(run_url)
    if whole is None:
        return []
    always = {*_round_ends(run_url, needed=True).values()}
    if best and by is not None:
        always |= _best_by(run_url, best, by)
    newest = retention.step_of(whole)
    superfluous = retention.superfluous(run_url, keep, newest=newest, always=always)
    return sorted([*superfluous, *(url for url in retention.unfinished(run_url) if url < whole)])


def best_scored(run_url: str) -> set[int]:
    """Return the steps that score best by the measure that ranks, wherever scores compare."""
    tables = read_tables(run_url)
    return {step for table in tables for step in _best([table], 1, table.rank)}


def _best_by(run_url: str, count: int, by: str) -> set[int]:
    """Return the steps that score best by a measure, wherever scores compare."""
    if by not in MEASURES:
        raise UsageError(f"--by {by}: no such score; choose from {', '.join(MEASURES)}")
    kept = _best(read_tables(run_url), count, by)
    if not kept:
        raise UserError(
            f"{run_url}: no checkpoint has a score {by}: `selfseg evaluate` them, or leave out "
            "--best"
        )
    return kept


def _best(tables: Iterable[scores.Table], count: int, by: str) -> set[int]:
    kept: set[int] = set()
    for alike in _comparable(tables, by):
        ranked = sorted(alike.items(), key=lambda entry: (entry[1], entry[0]), reverse=True)
        kept.update(step for step, _ in ranked[:count])
    return kept


def _comparable(tables: Iterable[scores.Table], by: str) -> Iterator[dict[int, float]]:
    """Yield scores by step that were had in the same way; more is better in all of them."""
    sign = -1 if by in LESS_IS_BETTER else 1
    for table in tables:
        alike: dict[tuple[object, str], dict[int, float]] = defaultdict(dict)
        for each in table.entries:
            if (step := _step(each)) is not None and by in each.means:
                alike[each.view, each.treatment][step] = sign * each.means[by]
        yield from alike.values()


def _step(entry: Scored) -> int | None:
    """Return the step of what was scored; the run may lie elsewhere by now. None: a baseline."""
    found = re.search(r"/step_(\d+)/?$", entry.checkpoint)
    return int(found[1]) if found else None


def _commit_of(
    url: str, sizes: Mapping[str, int]
) -> tuple[datetime | None, Literal["intact", "damaged", "unfinished"]]:
    """Return when a checkpoint with files of these sizes was committed, and what it is worth."""
    if COMMIT not in sizes:
        return None, "unfinished"
    try:
        told = commit.read_commit(url)
        saved = datetime.fromisoformat(told["time"]) if "time" in told else None
        intact = all(sizes.get(name) == noted["size"] for name, noted in told["files"].items())
    except (DamagedCheckpoint, KeyError, TypeError, ValueError):
        return None, "damaged"
    return saved, "intact" if intact else "damaged"


def _round_ends(run_url: str, *, needed: bool = False) -> dict[int, int]:
    """Return after how many steps each of a run's rounds is complete."""
    record = run_folder.read_record(run_url)
    try:
        if record is not None:
            return ExperimentConfig.parse(record.settings, origin=run_url).round_ends
    except UsageError as error:
        if needed:
            raise UserError(f"{error}; so which checkpoints end a round, nobody can tell") from None
    return {}
