"""All runs of a folder at a glance: how each stands, how far and how fast it is, what it scored.

Of each run a few small objects are read, and of its journal the newest lines alone: a hundred
runs in a bucket take seconds. Only the goodput takes a whole journal.
"""

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal, Self

from rich.table import Table

from selfseg import storage
from selfseg.errors import UserError
from selfseg.reporting import wording
from selfseg.reporting.checkpoints import Score, own_scores, read_tables
from selfseg.training import attempts, checkpoint, retention
from selfseg.training.attempts import Attempt, Command
from selfseg.training.goodput import read_goodput
from selfseg.training.journal import FLUSH_S, read_tail
from selfseg.training.run_folder import AT_ONCE, RUN

SILENCE_S = 5 * FLUSH_S
"""How long a run that goes on may write nothing, besides three of its longest steps."""

AFFORDABLE_SEGMENTS = 500
"""Segments of journals that are read for goodputs without being asked: about 3 hours of steps."""

State = Literal["running", "finished", "failed", "stopped"]

RULE = (
    "finished: its last checkpoint is committed. failed, stopped: its command said so when it "
    "ended. Else running if it wrote anything in the last "
    f"{SILENCE_S:.0f} s and three of its longest steps, stopped if not: nobody could say why."
)


@dataclass(frozen=True, slots=True)
class Overview:
    """A run at a glance.

    name: its path from the folder that was looked through
    recipe: as its command named it; empty: another program began it
    failure: what its command failed of, in a line; empty: nothing that it could tell
    step: steps taken of `steps`
    steps_per_s: by the newest lines of worker 0, checkpoints included; None: no step yet
    scores: of its newest checkpoint that was scored, benchmark by benchmark
    goodput: productive share of its time; None: nothing on record, or not asked for
    seen: the last sign of life, in seconds since 1970
    segments: of worker 0's journal
    """

    name: str
    url: str
    recipe: str
    method: str
    state: State
    failure: str
    step: int
    steps: int
    steps_per_s: float | None
    scores: tuple[Score, ...]
    goodput: float | None
    seen: float
    segments: int


def overview(
    run_urls: Mapping[str, str], *, goodput: bool = False
) -> tuple[list[Overview], list[str]]:
    """Look at runs, several at a time; also return a line on all that cannot be read.

    Args:
        run_urls: by the names they are to have.
        goodput: tell it in any case; else only where all journals together are short.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        looks = list(pool.map(_look, run_urls.keys(), run_urls.values()))
        runs = [look for look in looks if isinstance(look, Overview)]
        notes = [look for look in looks if isinstance(look, str)]
        if goodput or sum(run.segments for run in runs) <= AFFORDABLE_SEGMENTS:
            told = list(pool.map(_with_goodput, runs))
            runs = [run for run, _ in told]
            notes += [note for _, note in told if note]
    return runs, notes


def overview_table(runs: Sequence[Overview], *, now: float | None = None) -> Table:
    """Lay out runs, a row each; `now` in seconds since 1970, None for the time it is."""
    now = now or time.time()
    told = any(run.goodput is not None for run in runs)
    table = Table(caption=RULE if told else f"{RULE} Goodput: add --goodput; reads all journals.")
    left = {"run", "recipe", "state", "score"}
    for title in ("run", "recipe", "state", "step", "steps/s", "score", "goodput", "last sign"):
        table.add_column(title, justify="left" if title in left else "right")
    for run in runs:
        table.add_row(
            run.name,
            run.recipe or run.method,
            f"{run.state}: {run.failure}" if run.failure else run.state,
            f"{run.step}/{run.steps}",
            "" if run.steps_per_s is None else wording.figure(run.steps_per_s),
            ", ".join(map(str, run.scores)),
            "" if run.goodput is None else wording.percent(run.goodput),
            f"{wording.duration(max(0.0, now - run.seen))} ago",
        )
    return table


def as_json(runs: Sequence[Overview]) -> str:
    """Write runs for other programs."""
    return json.dumps([asdict(run) for run in runs], indent=1)


def state_of(
    newest: tuple[Attempt | None, Command | None],
    *,
    finished: bool,
    silent_s: float,
    longest_step_s: float,
) -> tuple[State, str]:
    """Tell how a run stands, and what it failed of; `RULE` says how.

    Args:
        newest: its newest attempt, and its newest command that came to an end.
        finished: whether the checkpoint of its last step is committed.
        silent_s: how long ago it last wrote anything.
        longest_step_s: of its newest steps.
    """
    attempt, command = newest
    if finished:
        return "finished", ""
    # An attempt notes when its command was given; a later one than that which ended is at work.
    if command is not None and (attempt is None or attempt.launched <= command.began):
        return ("failed" if command.failure else "stopped"), command.failure
    alive = silent_s <= SILENCE_S + 3 * longest_step_s
    return ("running" if alive else "stopped"), ""


def _look(name: str, url: str) -> Overview | str:
    """Look at a run; a line where something of it cannot be read."""
    try:
        return _seen(name, url)
    except UserError as error:
        return f"run {name} is unreadable: {error}"


def _seen(name: str, url: str) -> Overview:
    told = _Told.read(storage.join(url, RUN))
    newest = attempts.newest(url)
    lines, segments = read_tail(url)
    costs = [line["wait_s"] + line["compute_s"] + line["checkpoint_s"] for line in lines]
    signs = [told.started]
    signs += [newest[0].began] if newest[0] else []
    signs += [newest[1].ended] if newest[1] else []
    signs += [lines[-1]["time"]] if lines else []
    saved = retention.step_of(last[-1]) if (last := checkpoint.committed(url)) else 0
    state, failure = state_of(
        newest,
        finished=saved >= told.steps,
        silent_s=time.time() - max(signs),
        longest_step_s=max(costs, default=0.0),
    )
    return Overview(
        name=name,
        url=url,
        recipe=told.recipe,
        method=told.method,
        state=state,
        failure=failure,
        step=_reached(newest[0], lines, saved),
        steps=told.steps,
        steps_per_s=len(costs) / sum(costs) if sum(costs) else None,
        scores=tuple(own_scores(read_tables(url))),
        goodput=None,
        seen=max(signs),
        segments=segments,
    )


@dataclass(frozen=True, slots=True)
class _Told:
    """What run.json says that is shown."""

    recipe: str
    method: str
    steps: int
    started: float

    @classmethod
    def read(cls, url: str) -> Self:
        try:
            document = json.loads(storage.read(url))
            words = shlex.split(document["command"])
            settings = document["settings"]
            return cls(
                recipe=words[2] if words[:2] == ["selfseg", "train"] else "",
                method=settings["method"]["name"],
                steps=int(settings["loop"]["steps"]),
                started=datetime.fromisoformat(document["started"]).timestamp(),
            )
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{url}: not one of a run; left out") from None


def _reached(attempt: Attempt | None, lines: Sequence[Mapping[str, Any]], saved: int) -> int:
    """Return how many steps were taken; those that an attempt is to take again do not count."""
    if attempt is not None and (not lines or lines[-1]["time"] < attempt.began):
        return attempt.first_step
    return lines[-1]["step"] + 1 if lines else saved


def _with_goodput(run: Overview) -> tuple[Overview, str]:
    """Return a run with its goodput, and a line where its journal cannot be read."""
    try:
        found = read_goodput(run.url)
    except UserError as error:
        return run, f"run {run.name} has an unreadable journal: {error}"
    return replace(run, goodput=None if found is None else found.share), ""
