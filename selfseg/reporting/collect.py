"""Everything a run's folder says about the run, read through storage."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from selfseg import storage
from selfseg.errors import UserError
from selfseg.experiment import of_today
from selfseg.reporting.scores import lacking
from selfseg.training.attempts import Attempt, Command, read_attempts, read_commands
from selfseg.training.checkpoint import read_course
from selfseg.training.journal import read_lines
from selfseg.training.run_folder import RUN

TOLD = ("settings", "ingest", "collection", "manifest", "versions", "command")
"""What run.json says."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its folder tells it.

    settings, ingest: resolved settings of the experiment, and of the ingest of its collection
    lines: the journal of all workers, in order of steps
    checkpoints: steps that have a committed checkpoint
    course: from which step on it read which manifest, where it followed a collection that grew
    evaluations: the run's score files by name
    gaps: sentences about what is missing or unreadable
    attempts, commands: when it was worked on
    """

    url: str
    settings: Mapping[str, Any]
    ingest: Mapping[str, Any]
    collection: str
    manifest: str
    versions: Mapping[str, str]
    command: str
    lines: list[dict[str, Any]]
    checkpoints: list[int]
    evaluations: dict[str, dict[str, Any]]
    course: list[dict[str, Any]] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The last part of the run's URL."""
        return self.url.rstrip("/").rpartition("/")[2]


def read_run(url: str) -> Run:
    """Read a run's folder.

    Raises:
        UserError: there is no run at `url`, or its run.json is damaged.
    """
    told = read_facts(url)
    names = storage.listing(url)
    evaluations, gaps = read_evaluations(url, names)
    return Run(
        url=url,
        **told,
        lines=read_lines(url),
        checkpoints=_committed(names),
        evaluations=evaluations,
        course=read_course(url),
        attempts=read_attempts(url),
        commands=read_commands(url),
        gaps=gaps,
    )


def read_facts(url: str) -> dict[str, Any]:
    """Read what a run was started with, by the names of TOLD.

    Raises:
        UserError: there is no run at `url`, or its run.json is damaged.
    """
    address = storage.join(url, RUN)
    try:
        facts = json.loads(storage.read(address))
        told = {name: facts[name] for name in TOLD}
    except storage.MissingObject:
        raise UserError(f"{url}: no run here: name the folder given to selfseg train") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{address}: not one of a run: name the folder of one") from None
    return {**told, "settings": of_today(told["settings"])}


def read_evaluations(url: str, names: Iterable[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Read the score files among a run's `names`; also return sentences on those that cannot be."""
    evaluations, gaps = {}, []
    for name in names:
        if found := re.fullmatch(r"evaluations/([^/]+)\.json", name):
            try:
                evaluation = json.loads(storage.read(storage.join(url, name)))
                if missing := lacking(evaluation):
                    raise ValueError(f"lacks {missing}")
                evaluations[found[1]] = evaluation
            except (ValueError, TypeError) as error:
                gaps.append(f"{name} cannot be shown ({error}): evaluate again.")
    return evaluations, gaps


def _committed(names: Iterable[str]) -> list[int]:
    found = (re.fullmatch(r"checkpoints/step_(\d+)/COMMIT\.json", name) for name in names)
    return sorted(int(match[1]) for match in found if match)
