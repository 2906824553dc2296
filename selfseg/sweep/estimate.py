"""How long a sweep will take: from trials that are over, else from what recipes' headers state."""

import re
from collections.abc import Mapping, Sequence

from selfseg.config import read_tree
from selfseg.experiment import read_recipe, recipe_path
from selfseg.sweep.plan import Trial
from selfseg.sweep.results import Result

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def seconds_left(
    trials: Sequence[Trial], results: Mapping[str, Result]
) -> tuple[float | None, str]:
    """Estimate the device time of the trials that are not over.

    Returns:
        Seconds, None where nothing is known, and what says so.
    """
    left = [trial for trial in trials if not _over(trial, results)]
    measured = [results[trial.name] for trial in trials if _over(trial, results)]
    steps = sum(result.steps for result in measured)
    if steps:
        rate = sum(result.seconds + result.scoring_s for result in measured) / steps
        return rate * sum(trial.steps for trial in left), "from the trials that are over"
    total = 0.0
    for trial in left:
        stated = _stated(trial.cell.recipe)
        if stated is None:
            return None, f"recipe {trial.cell.recipe} does not say for how long it trains"
        total += stated * trial.steps
    return total, "from the recipes' headers"


def _over(trial: Trial, results: Mapping[str, Result]) -> bool:
    return trial.name in results and results[trial.name].over


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
