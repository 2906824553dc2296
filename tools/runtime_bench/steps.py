"""Steps of a recipe in bare processes: how two share the machine, and what averaging costs them."""

import json
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import GradBucket  # pyright: ignore[reportPrivateImportUsage] # the hook's documented argument
from torch.futures import Future

from selfseg.experiment import ExperimentConfig, build_method, read_recipe
from selfseg.methods.proposal.config import ProposalConfig
from selfseg.runtime.cluster import KEEP_MEMORY
from selfseg.training import worker as workers
from selfseg.training.loop import Progress, train
from selfseg.training.optimisers import build_optimisers
from selfseg.training.worker import AcceleratedWorker, average_gradients
from tests.distributed.replicas import in_group
from tools.bench_training import held_batches

BATCH = 8
"""Of each process: what each of two workers has of the recipes' 16."""

RECIPES = ("dystab_dynamic_cpu", "proposal_cpu")

WARM_UP, LEAD, BLOCK = 2, 1, 4
"""Steps that are not counted: at first, and of each turn; then those that are."""

POLL_S, PATIENCE_S = 0.005, 600.0
"""Between two looks at whose turn it is; after so long the other group has failed."""

LIMIT_S = 3600.0
"""For all of a group's turns."""

Way = Literal["ours", "after", "none"]
"""ours: as selfseg does, each bucket as soon as it is full
after: the same buckets, but only when the backward pass is over: nothing is hidden
none: no exchange"""

Turn = tuple[int, Way]
"""Processes that take steps, and how they average."""

TURNS: tuple[Turn, ...] = ((1, "ours"), *((2, way) for way in get_args(Way)))
"""Of a round. The machine's speed drifts by a third within minutes, so only steps that were taken
seconds apart are compared."""


class Exchange:
    """Averages gradients in a way that can be changed between steps."""

    def __init__(self) -> None:
        self.way: Way = "ours"
        self._waiting: list[Tensor] = []

    def average(self, state: None, bucket: GradBucket) -> Future[Tensor]:
        """Answer DDP's call for a full bucket."""
        match self.way:
            case "ours":
                return average_gradients(state, bucket)
            case "after":
                self._waiting.append(bucket.buffer())
                if bucket.is_last():
                    for buffer in self._waiting:
                        dist.all_reduce(buffer)
                        buffer.div_(dist.get_world_size())
                    self._waiting.clear()
        there: Future[Tensor] = Future()
        there.set_result(bucket.buffer())
        return there


def config_of(recipe: str) -> ExperimentConfig:
    """Read a recipe, with the batch of one process; from its last stage, the longest, on."""
    config = read_recipe(recipe).override({"data.batch_size": BATCH})
    if isinstance(config.method, ProposalConfig):
        steps = config.method.proposal_steps
        return config.override({"method.inpainter_steps": 0, "loop.steps": steps})
    return config


def take_turns(recipe: str, rounds: int, folder: Path) -> None:
    """Take blocks of steps when it is this group's turn; worker 0 notes the seconds of each step.

    A step is timed up to the next one, so all that the loop does between counts. `folder/turn`
    holds the number of the turn, from 0; `folder/N.json` gets its steps.
    """
    config, exchange = config_of(recipe), Exchange()
    workers.average_gradients = exchange.average
    worker = AcceleratedWorker(config.loop.precision)
    torch.manual_seed(config.seed)
    method = build_method(config.method)
    steps = train(
        method,
        held_batches(config),
        optimisers=build_optimisers(method.players, config.optim),
        optim=config.optim,
        worker=worker,
        config=config.loop,
        seed=config.seed,
        progress=Progress(),
    )
    for number, (processes, way) in enumerate(TURNS * rounds):
        if processes != worker.world_size:
            continue
        _await_turn(folder / "turn", number, worker)
        exchange.way = way
        for _ in range(LEAD if number >= len(TURNS) else WARM_UP):
            next(steps)
        seconds = []
        for _ in range(BLOCK):
            began = time.perf_counter()
            next(steps)
            seconds.append(time.perf_counter() - began)
        if worker.rank == 0:
            (folder / f"{number}.json").write_text(json.dumps(seconds))
            _pass_on(folder / "turn", number + 1)


def _await_turn(turn: Path, number: int, worker: AcceleratedWorker) -> None:
    """Return in all of a group when a turn has come; nobody computes until then."""
    deadline = time.monotonic() + PATIENCE_S
    while worker.rank == 0 and int(turn.read_text()) != number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"turn {number} does not come")
        time.sleep(POLL_S)
    worker.gather("my turn")


def _pass_on(turn: Path, number: int) -> None:
    upcoming = turn.with_suffix(".new")
    upcoming.write_text(str(number))
    upcoming.replace(turn)


def measured(recipe: str, rounds: int) -> dict[Turn, list[float]]:
    """Return the median seconds of a step in each round, by turn; a thread for each process."""
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor() as groups:
        folder = Path(name)
        _pass_on(folder / "turn", 0)
        ended = [
            groups.submit(
                in_group, take_turns, folder / f"meet_{processes}", processes,
                limit_s=LIMIT_S, recipe=recipe, rounds=rounds, folder=folder,
            )
            for processes in (1, 2)
        ]  # fmt: skip
        for each in ended:
            each.result()
        medians = [
            median(json.loads((folder / f"{number}.json").read_text()))
            for number in range(len(TURNS) * rounds)
        ]
    return {turn: medians[index :: len(TURNS)] for index, turn in enumerate(TURNS)}


def weak_scaling(rounds: int, recipes: Sequence[str] = RECIPES) -> dict[str, Any]:
    """Compare one process with two, each with its own batch, in turn; medians over rounds."""
    os.environ.update(KEEP_MEMORY)
    return {recipe: _compared(measured(recipe, rounds)) for recipe in recipes}


def _compared(found: dict[Turn, list[float]]) -> dict[str, Any]:
    """Compare steps of the same round; medians over all rounds but the first, which warms up."""
    one, ours, after, none = (found[turn][1:] for turn in TURNS)
    efficiencies = _ratios(one, ours)
    exposed = {"ours": _excess(ours, none), "after": _excess(after, none)}
    return {
        "rounds": len(ours),
        "one_process_step_s": median(one),
        "two_processes_step_s": median(ours),
        "efficiency": median(efficiencies),
        "efficiency_quartiles": quantiles(efficiencies)[::2],
        "efficiency_without_exchange": median(_ratios(one, none)),
        "exposed_exchange_s": exposed,
        # Nothing can be said where even a whole exchange is lost in the noise.
        "hidden_share": 1 - exposed["ours"] / exposed["after"] if exposed["after"] > 0 else None,
    }


def _ratios(ones: Sequence[float], others: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(ones, others, strict=True)]


def _excess(ones: Sequence[float], others: Sequence[float]) -> float:
    return median(a - b for a, b in zip(ones, others, strict=True))
