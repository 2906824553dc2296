"""A run's time on the page: what it went into, the attempts, and what a model expects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from selfseg.reporting import wording
from selfseg.reporting.collect import Run
from selfseg.reporting.stragglers import Pace, name_stragglers, read_paces
from selfseg.training.attempts import Attempt
from selfseg.training.goodput import Goodput, Use, best_interval_s, count_time, expected_share

PARTS: dict[Use, tuple[str, str, str]] = {
    "productive": ("productive", "computing steps that the run still has", "c2"),
    "startup": ("start-up", "from the command to the first batch", "c0"),
    "wait": ("data wait", "steps waited for data", "c1"),
    "checkpoint": ("checkpoint", "training waited for a checkpoint", "c3"),
    "recovery": ("recovery", "from a failure to the next attempt's first batch", "c4"),
    "redone": ("redone", "steps that were lost, since no checkpoint had them", "accent"),
    "other": ("other", "between steps, and at the end of the command", "line"),
}
"""What each part of a run's time is called, what it is, and its colour."""


@dataclass(frozen=True, slots=True)
class Part:
    """A share of a run's time; `hue` names one of the page's colours."""

    name: str
    meaning: str
    hue: str
    time: str
    share: float


@dataclass(frozen=True, slots=True)
class Account:
    """What the page says about a run's time.

    notes: sentences about idle time, lost steps and what the model of goodput expects
    attempts: number, first step, workers and cause of each, if there are several
    stragglers: sentences, one for each worker that holds up the others
    """

    share: float
    total: str
    parts: list[Part]
    notes: list[str]
    attempts: list[Attempt]
    paces: list[Pace]
    stragglers: list[str]


def account(run: Run) -> Account | None:
    """Say where a run's time went; None: it has no attempt on record."""
    if not run.attempts:
        return None
    goodput = count_time(run.attempts, run.commands, run.lines)
    whole = goodput.total_s or 1.0
    paces = read_paces(run.lines)
    return Account(
        share=goodput.share,
        total=wording.duration(goodput.total_s),
        parts=[
            Part(*PARTS[use], wording.duration(seconds), seconds / whole)
            for use, seconds in goodput.parts.items()
        ],
        notes=_notes(goodput, run.attempts, run.lines),
        attempts=run.attempts if len(run.attempts) > 1 else [],
        paces=paces,
        stragglers=name_stragglers(paces),
    )


def _notes(
    goodput: Goodput, attempts: Sequence[Attempt], lines: Sequence[Mapping[str, Any]]
) -> list[str]:
    notes = []
    if goodput.redone_steps:
        lost = wording.plural(goodput.redone_steps, "step")
        notes.append(f"At least {lost} of stopped attempts had to be taken again.")
    if goodput.idle_s:
        idle = wording.duration(goodput.idle_s)
        notes.append(f"For another {idle} nobody ran the command; that does not count.")
    if model := _model(goodput, attempts, lines):
        notes.append(model)
    return notes


def _model(
    goodput: Goodput, attempts: Sequence[Attempt], lines: Sequence[Mapping[str, Any]]
) -> str:
    """Set what a model expects beside what was measured, from the run's own failures and costs."""
    # An attempt that came to its end was paused, or all was done.
    failures = sum(attempt.ended is None for attempt in attempts[:-1])
    own = [line for line in lines if line["rank"] == 0]
    saves = [number for number, line in enumerate(own) if line["checkpoint_s"]]
    if not failures or not saves:
        return ""
    after_s = goodput.total_s - goodput.startup_s
    every_s = after_s / failures
    cost_s = median(own[number]["checkpoint_s"] for number in saves)
    step_s = median(line["wait_s"] + line["compute_s"] for line in own)
    interval_s = step_s * (saves[-1] / len(saves))
    recovery_s = goodput.recovery_s / failures
    share = expected_share(every_s, cost_s, interval_s, recovery_s)
    kept_s = goodput.productive_s + goodput.wait_s + goodput.other_s
    kept = wording.percent(kept_s / after_s)
    best_s = best_interval_s(every_s, cost_s)
    return (
        f"After start-up {kept} of the time went into steps that were kept, data wait included. "
        f"In the long run the model expects {wording.percent(share)}, with a failure every "
        f"{wording.duration(every_s)}, {wording.duration(recovery_s)} of recovery from it, and "
        f"{wording.duration(cost_s)} of waiting for a checkpoint every "
        f"{wording.duration(interval_s)}. Best would be one every {wording.duration(best_s)}: "
        f"loop.checkpoint_every of about {wording.count(max(1, round(best_s / step_s)))}."
    )
