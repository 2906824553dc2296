"""What the page says: sentence, figures, tables and lists, ready for the template."""

import datetime
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfseg.config import dotted
from selfseg.reporting import wording
from selfseg.reporting.collect import Run
from selfseg.reporting.curves import (
    SMOOTHING,
    Clock,
    Panel,
    machine_panel,
    player_panels,
    read_clock,
)
from selfseg.reporting.gallery import Gallery
from selfseg.reporting.ledger import Account, account
from selfseg.reporting.pictures import GRID, Film, Row
from selfseg.reporting.plan import Plan, read_plan
from selfseg.reporting.rounds import Matrix
from selfseg.reporting.scores import Table, tables

Pairs = list[tuple[str, str]]

LABELS = {
    "none": ", without a single label",
    "names": ", without a single annotated mask",
    "masks": " and was shown annotated masks",
    None: "",
}
"""How the sentence at the top ends, by what people had to give the run."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A headline figure."""

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The best score of the run, what got it, and how it compares."""

    j: str
    of: str
    beside: str


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the template shows."""

    url: str
    name: str
    finished: str
    sentence: str
    claim: Claim | None
    figures: list[Figure]
    gaps: list[str]
    films: list[Film]
    rows: list[Row]
    columns: list[str]
    rows_note: str
    matrices: list[Matrix]
    players: list[Panel]
    machine: Panel
    account: Account | None
    smoothing: float
    tables: list[Table]
    scoring_command: str
    command: str
    data: Pairs
    videos: list[tuple[str, int]]
    settings: list[tuple[str, Pairs]]
    versions: Pairs


def compose(run: Run, gallery: Gallery) -> Page:
    """Say everything that is known of a run."""
    clock, scored, plan = read_clock(run.lines), tables(run.evaluations), read_plan(run.settings)
    drawn = {tile.name for row in gallery.rows for tile in row.tiles}
    return Page(
        url=run.url,
        name=run.name,
        finished=_finished(run.lines),
        sentence=_sentence(run, plan, clock, gallery),
        claim=_claim(scored),
        figures=list(_figures(run, clock, scored, gallery)),
        gaps=[
            *run.gaps,
            *gallery.gaps,
            *gallery.rounds.gaps,
            *([] if run.lines else ["No step has been logged yet."]),
        ],
        films=gallery.films,
        rows=gallery.rows,
        columns=[name for name in GRID if name in drawn],
        rows_note=gallery.note,
        matrices=gallery.rounds.matrices,
        players=player_panels(run.lines, plan.phases),
        machine=machine_panel(run.lines, plan.phases),
        account=account(run),
        smoothing=SMOOTHING,
        tables=scored,
        scoring_command=fold(f"selfseg evaluate {run.url} --collection {run.collection}"),
        command=fold(run.command),
        data=_data(run, gallery),
        videos=gallery.videos,
        settings=group_settings(run.settings),
        versions=[(name, str(version)) for name, version in run.versions.items()],
    )


def _finished(lines: Sequence[Mapping[str, Any]]) -> str:
    if not lines:
        return ""
    moment = datetime.datetime.fromtimestamp(max(line["time"] for line in lines), datetime.UTC)
    return f"last step on {moment:%-d %B %Y, %H:%M} UTC"


def _sentence(run: Run, plan: Plan, clock: Clock, gallery: Gallery) -> str:
    method = run.settings["method"]["name"].replace("_", " ")
    if not clock.steps:
        return f"The {method} model has not taken a step yet."
    frames = sum(frames for _, frames in gallery.videos)
    what = (
        f"{wording.count(frames)} frames of {wording.plural(len(gallery.videos), 'video')}"
        if frames
        else "videos"
    )
    steps = wording.plural(clock.steps, "step")
    return f"The {method} model watched {what} for {steps}{LABELS[plan.labels]}."


def _claim(scored: Sequence[Table]) -> Claim | None:
    """Say how well it does on the videos that most things were scored on, baseline beside it."""
    told = [table for table in scored if table.own and not table.still]
    if not told:
        return None
    table = max(told, key=lambda table: len(table.entries))
    own, rival = table.own, table.rival
    assert own is not None
    j = wording.score(own.means["j_mean"])
    where = f" on {table.benchmark}"
    if rival is None:
        return Claim(j, own.name, where)
    lead = own.means["j_mean"] - rival.means["j_mean"]
    side = "above" if lead >= 0 else "below"
    return Claim(
        j, own.name, f"{where}, {wording.score(abs(lead))} {side} {rival.name}, the best baseline"
    )


def _figures(run: Run, clock: Clock, scored: Sequence[Table], gallery: Gallery) -> Iterator[Figure]:
    if claim := _claim(scored):
        yield Figure("Region similarity J", claim.j, claim.of)
    planned = run.settings["loop"]["steps"]
    yield Figure("Steps", wording.count(clock.steps), f"of {wording.count(planned)} planned")
    if clock.total_s:
        workers = len({line["rank"] for line in run.lines})
        yield Figure(
            "Speed",
            f"{wording.figure(clock.steps_per_s)} steps/s",
            wording.plural(workers, "worker"),
        )
        yield Figure("Time", wording.duration(clock.total_s), "checkpoints included")
        yield Figure("Data wait", wording.percent(clock.wait_share), "of the median step")
    if gallery.videos:
        frames = sum(frames for _, frames in gallery.videos)
        yield Figure(
            "Frames", wording.count(frames), f"of {wording.plural(len(gallery.videos), 'video')}"
        )
    newest = f"newest at {wording.count(run.checkpoints[-1])}" if run.checkpoints else "none yet"
    yield Figure("Checkpoints", str(len(run.checkpoints)), newest)


def _data(run: Run, gallery: Gallery) -> Pairs:
    known = [("collection", run.collection), ("manifest", run.manifest)]
    moves = [entry for entry in run.course if "manifest" in entry]
    known += [(f"from step {move['step']} on", move["manifest"]) for move in moves[1:]]
    known += [
        (f"from step {entry['step']} on, without shard {entry['shard']}", entry["cause"])
        for entry in run.course
        if "shard" in entry
    ]
    if gallery.videos:
        known += [
            ("videos", wording.count(len(gallery.videos))),
            ("frames", wording.count(sum(frames for _, frames in gallery.videos))),
        ]
    return known + flatten(run.ingest, "ingest.")


def fold(command: str) -> str:
    """Break a shell command before each option, so that it still can be pasted."""
    lines = [""]
    for word in shlex.split(command):
        if word.startswith("--"):
            lines.append("  ")
        lines[-1] += shlex.quote(word) + " "
    return "\\\n".join(lines).rstrip()


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Pairs:
    """List a tree of settings by dotted path, in words."""
    return [(name, wording.setting(value)) for name, value in dotted(tree, prefix)]


def group_settings(settings: Mapping[str, Any]) -> list[tuple[str, Pairs]]:
    """List settings by component; those of the experiment itself come first."""
    own = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    groups = [("experiment", flatten(own))] if own else []
    return groups + [
        (name, flatten(value)) for name, value in settings.items() if isinstance(value, Mapping)
    ]
