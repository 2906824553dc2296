"""What became of a suite of faulted runs, for people (Markdown) and for programs (JSON)."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from tools.fault_suite.schedule import METHODS
from tools.fault_suite.trial import Outcome

HEAD = ("kind", "runs", "ended right", "bit-equal", "steps redone", "standstill, s")


def as_json(seed: int, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return all that is known."""
    return {"seed": seed, "runs": [asdict(outcome) for outcome in outcomes]}


def markdown(seed: int, outcomes: Sequence[Outcome]) -> str:
    """Return a table with a row for each kind, in the order of their names, and their sum."""
    kinds = sorted({outcome.planned.kind for outcome in outcomes})
    rows = [_row(kind, [each for each in outcomes if each.planned.kind == kind]) for kind in kinds]
    rows.append(_row("all", outcomes))
    runs = {method: sum(each.planned.method == method for each in outcomes) for method in METHODS}
    methods = ", ".join(f"{num} of {method}" for method, num in runs.items())
    lines = [HEAD, ["---", *["---:"] * (len(HEAD) - 1)], *rows]
    return "\n".join(
        [
            f"{len(outcomes)} faulted runs ({methods}), seed {seed}. Steps redone and standstill "
            "(longest time without a step from the fault on, the fault's own length included) are "
            "medians.\n",
            *("| " + " | ".join(line) + " |" for line in lines),
            "",
        ]
    )


def line(outcome: Outcome, count: int) -> str:
    """Say in a line how a run went; what is wrong follows, a line each."""
    planned = outcome.planned
    verdict = "WRONG" if outcome.wrong else "right"
    said = (
        f"{planned.number:3d}/{count} {verdict}  {planned.kind}, {planned.method}, at step "
        f"{planned.step}: {outcome.redone} steps redone, {outcome.standstill_s:.1f} s standstill, "
        f"{outcome.took_s:.0f} s in all"
    )
    return "\n".join([said, *(f"      {each}" for each in outcome.wrong)])


def _row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    return [
        name,
        str(len(outcomes)),
        str(sum(not each.wrong for each in outcomes)),
        str(sum(each.bit_equal for each in outcomes)),
        f"{median(each.redone for each in outcomes):g}",
        f"{median(each.standstill_s for each in outcomes):.1f}",
    ]
