"""What a checkpoint costs the steps beside which it is written."""

import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from selfseg.experiment import build_method, read_recipe
from selfseg.training import session
from selfseg.training.checkpoint import RunRecord
from selfseg.training.journal import read_lines
from selfseg.training.worker import AcceleratedWorker, set_up_process
from tests.toy import Listener
from tools.bench_training import held_batches
from tools.runtime_bench.steps import RECIPES, config_of

WINDOW = 16
"""Steps from one checkpoint to the next; the later half has nothing beside it any more."""


def cost_of_checkpoints(windows: int) -> dict[str, Any]:
    """Train each recipe with a checkpoint every few steps; say what one costs, and which share."""
    set_up_process(1)
    return {recipe: _cost(recipe, windows) for recipe in RECIPES}


def _cost(recipe: str, windows: int) -> dict[str, float]:
    config = config_of(recipe)
    steps = WINDOW * (windows + 1)
    loop = config.loop.override({"checkpoint_every": WINDOW, "keep_checkpoints": 2})
    torch.manual_seed(config.seed)
    with tempfile.TemporaryDirectory() as folder:
        record = RunRecord(settings=config.model_dump(mode="json"), collection="", manifest="",
                           ingest={})  # fmt: skip
        plan = session.Plan(
            str(Path(folder, "run")), record, config.seed, config.optim, loop, steps
        )
        session.run(
            plan,
            build_method(config.method),
            lambda _: held_batches(config),
            worker=AcceleratedWorker(loop.precision),
            audience=Listener(),
        )
        lines = read_lines(plan.run_url)
    ended = [line["time"] for line in lines]
    lasted = [later - earlier for earlier, later in pairwise(ended)]  # of step 1, 2, ...
    costs, free = [], []
    for window in range(1, windows + 1):
        # The step after a save has waited for the copy.
        mine = lasted[window * WINDOW - 1 : (window + 1) * WINDOW - 1]
        alone = median(mine[WINDOW // 2 :])
        costs.append(sum(mine) - WINDOW * alone)
        free.append(alone)
    every = read_recipe(recipe).loop.checkpoint_every
    return {
        "step_s": median(free),
        "training_waits_s": median(line["checkpoint_s"] for line in lines[WINDOW::WINDOW]),
        "costs_s": median(costs),
        "share_of_time": median(costs) / (every * median(free)),
        "checkpoint_every": every,
    }
