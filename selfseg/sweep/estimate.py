"""How long a sweep will take: from what trials took so far, or what recipes' headers state."""

import re
from collections.abc import Mapping, Sequence

from selfseg.config import read_tree
from selfseg.experiment import read_recipe, recipe_path
from selfseg.sweep.halving import Queue
from selfseg.sweep.plan import Halving, Trial
from selfseg.sweep.results import Result

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def steps_left(
    trials: Sequence[Trial], halving: Halving, results: Mapping[str, Result]
) -> dict[str, int]:
    """Return the steps that each trial has before it; where scores decide, as if all were equal."""
    queue = Queue(trials, halving, results)
    rungs = {name: dict(result.rungs) for name, result in results.items()}
    left: dict[str, int] = {}
    while found := queue.next():
        name, step = found
        known = rungs.setdefault(name, {})
        left[name] = left.get(name, 0) + max(0, step - max(known, default=0))
        known[step] = 0.0
        queue.scored(name, known)
    return left


def seconds_left(
    trials: Sequence[Trial], halving: Halving, results: Mapping[str, Result]
) -> tuple[float | None, str]:
    """Estimate the device time of what trials have before them.

    Returns:
        Seconds, None where nothing is known, and what says so.
    """
    left = steps_left(trials, halving, results)
    steps = sum(result.steps for result in results.values())
    if steps:
        seconds = sum(result.seconds + result.scoring_s for result in results.values())
        return seconds / steps * sum(left.values()), "from what trials took so far"
    total = 0.0
    for trial in trials:
        stated = _stated(trial.cell.recipe)
        if stated is None:
            return None, f"recipe {trial.cell.recipe} does not say for how long it trains"
        total += stated * left.get(trial.name, 0)
    return total, "from the recipes' headers"


def _stated(recipe: str) -> float | None:
    """Return the seconds a step that a recipe's header states, or that of what it builds on."""
    path = recipe_path(recipe)
    found = re.search(r"^# Time: .*?([\d.]+) (second|minute|hour|day)", path.read_text(), re.M)
    if found:
        return float(found[1]) * SECONDS[found[2]] / read_recipe(recipe).loop.steps
    base = read_tree(path).get("base")
    if base is None:
        return None
    return _stated(str(path.parent / base) if base.endswith(".toml") else base)
