"""The commands that would produce a number that is missing from a table."""

import re
import shlex
from collections.abc import Sequence

from selfseg.prediction.benchmarks import SPLITS
from selfseg.reporting.papers import Conditions
from selfseg.reporting.results import ScoredRun, Situation

RUN = "RUN"
"""Stands for the URL of a run that is still to be trained."""


def train(recipe: str, options: str, conditions: Conditions) -> str:
    """Return the command that trains a run for which the conditions hold, as a recipe does."""
    videos = conditions.get("collection.videos")
    collection = "URL" if videos is None else f"{videos}_VIDEOS"
    command = f"selfseg train {recipe} --collection {collection} --run {RUN}"
    return f"{command} {options}" if options else command


def evaluate(runs: Sequence[ScoredRun], benchmark: str, situation: Situation) -> str:
    """Return the command that scores runs on a benchmark; no runs: the one that `train` trains."""
    options = _where(runs, benchmark) + "".join(_option(*chosen) for chosen in situation)
    urls = [shlex.quote(run.url) for run in runs] or [RUN]
    if len(urls) == 1:
        return f"selfseg evaluate {urls[0]}{options}"
    return f'for RUN in {" ".join(urls)}; do selfseg evaluate "$RUN"{options}; done'


def _where(runs: Sequence[ScoredRun], benchmark: str) -> str:
    """Return the options that choose a benchmark by its name in records: "davis16 val, every 5"."""
    held_out = re.fullmatch(r"(.+) without \d+ for validation", benchmark)
    name, *restrictions = (held_out[1] if held_out else benchmark).split(", ")
    less = "".join(f" --{each}" for each in restrictions if each.startswith("every "))
    less += " --validation NAMES" if held_out else ""
    official, _, split = name.partition(" ")
    if official in SPLITS:
        chosen = f" --split {split}" if split else ""
        return f" --benchmark {official}{chosen} --root DIR{less}"
    known = [run.collection for run in runs if run.collection.rstrip("/").endswith(f"/{name}")]
    return f" --collection {shlex.quote(known[0] if known else name)}{less}"


def _option(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" --{name}"
    return f" --{name} {','.join(map(str, value)) if isinstance(value, tuple) else value}"
