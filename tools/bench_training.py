"""What Ray and accelerate cost beside the same loop in a bare process.

    tools/bench_training.py [RECIPE] [--steps N] [--rounds R]

Both train the recipe's method on the same batches, held in memory, on one thread. The bare
process has the loop and plain PyTorch; the other is a whole run: Ray Train, accelerate, journal,
reports. Each measurement is a program of its own, rounds alternate, starting up is not
counted, and the best of each counts. Prints JSON.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from selfseg.contracts import FramePairs
from selfseg.experiment import ExperimentConfig, build_method, recipe_path
from selfseg.runtime.cluster import connect
from selfseg.runtime.launch import launch
from selfseg.training import session
from selfseg.training.checkpoint import RunRecord
from selfseg.training.journal import read_lines
from selfseg.training.loop import Progress, train
from selfseg.training.optimisers import build_optimisers
from selfseg.training.worker import AcceleratedWorker, set_up_process

WARM_UP = 5
"""Steps that are not counted."""


class HalfPrecision(nn.Module):
    """A player whose inside computes in bfloat16, as accelerate arranges it."""

    def __init__(self, player: nn.Module) -> None:
        super().__init__()
        self.player = player

    def forward(self, *inputs: Tensor) -> Tensor:
        """Compute in bfloat16, answer in float32."""
        with torch.autocast("cpu", torch.bfloat16):
            return self.player(*inputs).float()


class BareWorker:
    """One process and plain PyTorch."""

    rank = 0
    world_size = 1
    device = torch.device("cpu")
    scales_loss = False

    def __init__(self, precision: str) -> None:
        self._precision = precision

    def wrap_player(self, player: nn.Module) -> nn.Module:
        """Choose the precision."""
        return HalfPrecision(player) if self._precision == "bf16" else player

    def wrap_optimiser(self, optimiser: Optimizer) -> Optimizer:
        """Leave it alone."""
        return optimiser

    def backward(self, loss: Tensor) -> None:
        """Differentiate."""
        loss.backward()

    def clip(
        self,
        optimiser: Optimizer,
        parameters: Sequence[nn.Parameter],
        *,
        norm: float | None,
        value: float | None,
    ) -> Tensor:
        """Bound the gradients."""
        del optimiser
        before = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if value is not None:
            clip_grad_value_(parameters, value)
        if norm is not None:
            clip_grads_with_norm_(parameters, norm, before)
        return before

    def all_finite(self, values: Iterable[Tensor]) -> bool:
        """Look at each value."""
        return all(bool(value.isfinite()) for value in values)

    def gather(self, text: str) -> list[str]:
        """There is only this one."""
        return [text]

    def state(self) -> dict[str, Any]:
        """Nothing to remember."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to take over."""


def held_batches(config: ExperimentConfig) -> Iterator[FramePairs]:
    """Yield a few made-up batches for ever."""
    generator = Generator().manual_seed(0)
    size = (config.data.batch_size, 2, config.data.height, config.data.width)
    batches = []
    for _ in range(4):
        flows = [torch.randn(size, generator=generator) for _ in range(4)]
        image = torch.rand(size[0], 3, *size[2:], generator=generator)
        batches.append(FramePairs(image, *flows, keys=("made up",) * size[0]))
    return itertools.cycle(batches)


def time_bare(config: ExperimentConfig) -> float:
    """Return steps per second of the loop alone."""
    set_up_process(1)
    torch.manual_seed(config.seed)
    method = build_method(config.method)
    method.players.train()
    steps = train(
        method,
        held_batches(config),
        optimisers=build_optimisers(method.players, config.optim),
        optim=config.optim,
        worker=BareWorker(config.loop.precision),
        config=config.loop,
        seed=config.seed,
        progress=Progress(),
    )
    times = [time.time() for _ in steps]
    return rate(times)


def time_ray(config: ExperimentConfig) -> float:
    """Return steps per second of a whole run on Ray, from its journal."""
    connect(1)
    with tempfile.TemporaryDirectory() as folder:
        launch(ray_worker, {"config": config.model_dump(mode="json"), "run": folder}, workers=1)
        return rate([line["time"] for line in read_lines(folder)])


def ray_worker(payload: dict[str, Any]) -> None:
    """Train on held batches, as a worker of a run."""
    config = ExperimentConfig.model_validate(payload["config"])
    set_up_process(1)
    torch.manual_seed(config.seed)
    record = RunRecord(settings=payload["config"], collection="held", manifest="", ingest={})
    plan = session.Plan(payload["run"], record, config.seed, config.optim, config.loop)
    session.run(
        plan,
        build_method(config.method),
        lambda step: itertools.islice(held_batches(config), step, None),
        worker=AcceleratedWorker(config.loop.precision),
        audience=payload["audience"],
    )


def rate(times: list[float]) -> float:
    """Steps per second after the warm-up, from the times at which steps ended."""
    return (len(times) - WARM_UP) / (times[-1] - times[WARM_UP - 1])


def read_config(recipe: str, steps: int) -> ExperimentConfig:
    """Shorten a recipe; one checkpoint at the end, after the last step is timed."""
    changes = {"loop.steps": steps, "loop.checkpoint_every": steps, "optim.average": 0.0}
    return ExperimentConfig.read(recipe_path(recipe)).override(changes)


def measure(kind: str, recipe: str, steps: int) -> float:
    """Time one kind in a program of its own."""
    command = [sys.executable, __file__, recipe, "--steps", str(steps), "--only", kind]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Alternate, and compare the best."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", default="dystab_dynamic_cpu")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["bare", "ray"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    timers = {"bare": time_bare, "ray": time_ray}
    if arguments.only:
        print(timers[arguments.only](read_config(arguments.recipe, arguments.steps)))
        return
    rates: dict[str, list[float]] = {kind: [] for kind in timers}
    for _ in range(arguments.rounds):
        for kind, measured in rates.items():
            measured.append(measure(kind, arguments.recipe, arguments.steps))
            print(f"{kind:5} {measured[-1]:.3f} steps/s", file=sys.stderr)
    best = {kind: max(measured) for kind, measured in rates.items()}
    print(json.dumps({"steps_per_s": rates, "share_kept": best["ray"] / best["bare"]}))


if __name__ == "__main__":
    main()
