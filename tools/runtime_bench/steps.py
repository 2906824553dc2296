"""Steps of a recipe in bare processes: how two share the machine, and what averaging costs them."""

import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import GradBucket  # pyright: ignore[reportPrivateImportUsage] # the hook's documented argument
from torch.futures import Future

from selfseg.experiment import ExperimentConfig, build_method, read_recipe
from selfseg.training import worker as workers
from selfseg.training.loop import Progress, train
from selfseg.training.optimisers import build_optimisers
from selfseg.training.worker import AcceleratedWorker, average_gradients
from tests.distributed.replicas import in_group
from tools.bench_training import held_batches

BATCH = 8
"""Of each process: what each of two workers has of the recipes' 16."""

RECIPES = {
    "dystab_dynamic_cpu": {},
    # From the stage in which D and S learn, which is three quarters of the run.
    "proposal_cpu": {"method.inpainter_steps": 0, "loop.steps": 9000},
}

WARM_UP, BLOCK = 2, 4
"""Steps that are not counted; steps before the next way's turn."""

Way = Literal["each", "bucket", "after", "none"]
"""each: each gradient by itself, as soon as its bucket is full: what selfseg does on CPUs
bucket: a bucket at a time: torch's way
after: each gradient, but only when the backward pass is over: nothing is hidden
none: no exchange"""


class Exchange:
    """Averages gradients in a way that can be changed between steps."""

    def __init__(self) -> None:
        self.way: Way = "each"
        self._waiting: list[Tensor] = []

    def average(self, state: None, bucket: GradBucket) -> Future[Tensor]:
        """Answer DDP's call for a full bucket."""
        match self.way:
            case "each":
                return average_gradients(state, bucket)
            case "bucket":
                work = dist.all_reduce(bucket.buffer(), async_op=True)
                return work.get_future().then(lambda done: done.value()[0])
            case "after":
                self._waiting += bucket.gradients()
                if bucket.is_last():
                    for gradient in self._waiting:
                        dist.all_reduce(gradient)
                    self._waiting.clear()
        there: Future[Tensor] = Future()
        there.set_result(bucket.buffer())
        return there


def config_of(recipe: str) -> ExperimentConfig:
    """Read a recipe, with the batch of one process."""
    return read_recipe(recipe).override({**RECIPES[recipe], "data.batch_size": BATCH})


def time_steps(recipe: str, rounds: int, ways: tuple[Way, ...], result: Path) -> None:
    """Take blocks of steps, each way in turn; worker 0 writes the seconds of each, by way.

    A step is timed up to the next one, so all that the loop does between counts.
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
    for _ in range(WARM_UP):
        next(steps)
    seconds: dict[Way, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            exchange.way = way
            for _ in range(BLOCK):
                began = time.perf_counter()
                next(steps)
                seconds[way].append(time.perf_counter() - began)
    if worker.rank == 0:
        result.write_text(json.dumps(seconds))


def measured(recipe: str, processes: int, rounds: int, ways: tuple[Way, ...]) -> dict[str, float]:
    """Return the median seconds of a step, by way, of so many processes with a thread each."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "seconds.json")
        in_group(
            time_steps, Path(folder, "meet"), processes,
            recipe=recipe, rounds=rounds, ways=ways, result=result,
        )  # fmt: skip
        return {way: median(times) for way, times in json.loads(result.read_text()).items()}


def weak_scaling(repetitions: int, rounds: int) -> dict[str, Any]:
    """Compare one process with two, each with its own batch, in turn; medians over repetitions."""
    found: dict[str, Any] = {}
    for recipe in RECIPES:
        ones, twos = [], []
        for _ in range(repetitions):
            ones.append(measured(recipe, 1, rounds, ("each",))["each"])
            twos.append(measured(recipe, 2, rounds, get_args(Way)))
        two = {way: median(each[way] for each in twos) for way in get_args(Way)}
        exposed = {way: two[way] - two["none"] for way in ("each", "bucket", "after")}
        found[recipe] = {
            "one_process_step_s": median(ones),
            "two_processes_step_s": two["each"],
            "efficiency": median(a / b["each"] for a, b in zip(ones, twos, strict=True)),
            "efficiency_without_exchange": median(
                a / b["none"] for a, b in zip(ones, twos, strict=True)
            ),
            "exposed_exchange_s": exposed,
            "hidden_share": 1 - exposed["each"] / exposed["after"] if exposed["after"] else None,
            "steps_s_by_way": two,
        }
    return found
