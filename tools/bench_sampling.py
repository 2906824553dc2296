"""What one draw costs beside the whole sum of Eq. 2, and how noisy its gradient is.

    tools/bench_sampling.py [RECIPE] [--frame PIXELS] [--rounds N] [--figure FILE.svg]

First: time and memory of one step (forward, backward, Adam) of the proposal method on grids of
C = 64, 256 and 1024 cells, all of them live; on made-up frames, random weights and one thread.
The grids of one draw take turns, a step each, so that all see the same machine; the median counts,
and of the ratio to C = 64 the median round by round, in processor time, which other programs
disturb less than the clock. Memory is the peak of a process of its own for each row, less what it
held before its first step. The whole sum is of one image, and left out where it would take more
than half of the memory that is free.

Second: variance of the gradient in the logits of p, over the square of its mean, exactly, by
enumeration. Rewards are made up: 1, and as much again on the object, which is a quarter of the
image wide and fades; p is a softmax of them that has learned more or less. With a baseline they
are less the mean of the 15 others in a batch of such images.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from panels import Panel, figure
from rich import box
from rich.console import Console
from rich.table import Table
from sampling_noise import SHARPNESS, noises
from torch import Generator
from torch.optim import Adam

from selfseg.contracts import FramePairs
from selfseg.experiment import ExperimentConfig, build_method, recipe_path
from selfseg.methods.proposal.config import ProposalConfig
from selfseg.training.worker import set_up_process

SIDES = (8, 16, 32)
"""Cells along each side of the grid."""

WARM_UP = 1
"""Steps that are not counted."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step costs, for each of its images.

    cells: C
    seconds: of the clock
    processor_s: of one processor
    megabytes: at most, beyond weights and program
    """

    cells: int
    seconds: float
    processor_s: float
    megabytes: float


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured: a recipe on a grid.

    side: cells along one side of the grid
    everything: the whole sum, of one image; otherwise one draw, of the recipe's batch
    frame: side of the frames in pixels; None: the recipe's
    """

    recipe: str
    side: int
    everything: bool
    frame: int | None

    def arguments(self) -> list[str]:
        """Return the command line that measures it alone."""
        frame = [] if self.frame is None else ["--frame", str(self.frame)]
        return [self.recipe, "--alone", str(self.side), *frame, *["--all"] * self.everything]


def settings_of(case: Case) -> ExperimentConfig:
    """Return a recipe's settings on another grid; nothing in them needs a download."""
    config = ExperimentConfig.read(recipe_path(case.recipe))
    changes = {
        "detector.cells": case.side,
        "detector.outer_ring": True,
        "detector.weights": "none",
        "autoencoder.weights": "none",
        "perceptual.weights": "none",
        "sampling": "all" if case.everything else "importance",
        "reward_baseline": "none",
        "inpainter_steps": 0,
    }
    assert isinstance(config.method, ProposalConfig)
    others = {
        "loop.steps": config.method.proposal_steps,
        "data.batch_size": 1 if case.everything else config.data.batch_size,
        "data.height": case.frame or config.data.height,
        "data.width": case.frame or config.data.width,
    }
    return config.override(
        {**{f"method.{name}": value for name, value in changes.items()}, **others}
    )


def made_up_batch(config: ExperimentConfig) -> FramePairs:
    """Return frames of noise, with flow that is noise."""
    generator = Generator().manual_seed(0)
    images, *grid = config.data.batch_size, config.data.height, config.data.width
    flows = [torch.randn(images, 2, *grid, generator=generator) for _ in range(4)]
    image = torch.rand(images, 3, *grid, generator=generator)
    return FramePairs(image, *flows, keys=("made up",) * images)


def stepper(config: ExperimentConfig) -> Callable[[], None]:
    """Return what takes one step of the method's last stage."""
    torch.manual_seed(0)
    method = build_method(config.method)
    batch, generator = made_up_batch(config), Generator().manual_seed(0)
    for name, player in method.players.items():
        player.requires_grad_(name == "proposer")
    optimiser = Adam(method.players["proposer"].parameters())

    def step() -> None:
        optimiser.zero_grad()
        method.objective("proposer", batch, config.loop.steps, generator).loss.backward()
        optimiser.step()

    return step


def timed(step: Callable[[], None]) -> tuple[float, float]:
    """Return clock and processor time of a step, in seconds."""
    started, used = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - started, time.process_time() - used


def measure_alone(case: Case) -> dict[str, float]:
    """Take a few steps in this process, which has done nothing else; return what they cost."""
    config = settings_of(case)
    images = config.data.batch_size
    step = stepper(config)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = [timed(step) for _ in range(WARM_UP + 1)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": times[-1][0] / images,
        "processor_s": times[-1][1] / images,
        "megabytes": (peak - before) / 1024 / images,
    }


def in_a_fresh_process(case: Case) -> dict[str, float]:
    """Run `measure_alone` where no other case has left memory."""
    command = [sys.executable, __file__, *case.arguments()]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def one_draw(recipe: str, frame: int | None, rounds: int) -> tuple[list[Cost], list[float]]:
    """Return what one draw costs on every grid, and its time over that on the first."""
    cases = [Case(recipe, side, False, frame) for side in SIDES]
    memory = [in_a_fresh_process(case)["megabytes"] for case in cases]
    images = settings_of(cases[0]).data.batch_size
    steps = [stepper(settings_of(case)) for case in cases]
    turns = [[timed(step) for step in steps] for _ in range(WARM_UP + rounds)][WARM_UP:]
    costs, ratios = [], []
    for case, megabytes, column in zip(cases, memory, zip(*turns, strict=True), strict=True):
        clock, used = (statistics.median(pair[i] for pair in column) / images for i in (0, 1))
        costs.append(Cost(case.side**2, clock, used, megabytes))
        pairs = zip(column, turns, strict=True)
        ratios.append(statistics.median(own[1] / turn[0][1] for own, turn in pairs))
    return costs, ratios


def whole_sum(recipe: str, frame: int | None) -> list[Cost]:
    """Return what the sum over all cells costs, on the grids on which it fits."""
    costs: list[Cost] = []
    for side in SIDES:
        free = psutil.virtual_memory().available / 2**20
        if costs and costs[-1].megabytes * side**2 / costs[-1].cells > free / 2:
            break
        costs.append(Cost(side**2, **in_a_fresh_process(Case(recipe, side, True, frame))))
    return costs


def cost_table(single: list[Cost], ratios: list[float], whole: list[Cost]) -> Table:
    """Lay out what steps cost."""
    names = ("C", "", "ms an image", "of a processor", "MB an image", "beside C = 64")
    table = Table(*names, box=box.SIMPLE)
    rows = [("one draw", *row) for row in zip(single, ratios, strict=True)]
    rows += [("whole sum", cost, cost.processor_s / whole[0].processor_s) for cost in whole]
    for name, cost, ratio in rows:
        times = (f"{1000 * seconds:,.1f}" for seconds in (cost.seconds, cost.processor_s))
        table.add_row(str(cost.cells), name, *times, f"{cost.megabytes:,.1f}", f"{ratio:.3f}")
    for side in SIDES[len(whole) :]:
        table.add_row(str(side**2), "whole sum", "", "", "does not fit", "")
    return table


def noise_table() -> Table:
    """Lay out the variance of a draw's gradient over the gradient's square."""
    ways = ("q ~ p", "uniform", "factor")
    table = Table("C", "p on object", *ways, *(f"{way} *" for way in ways), box=box.SIMPLE)
    for side in SIDES:
        for sharpness in SHARPNESS:
            share, noise = noises(side**2, sharpness)
            pairs = (noise[:2], noise[2:])
            values = (v for near, far in pairs for v in (near, far, far / near))
            cells = [f"{v:,.0f}" if v >= 100 else f"{v:.1f}" for v in values]
            table.add_row(str(side**2), f"{share:.2f}", *cells)
    table.caption = "* less the mean reward of the batch's others"
    return table


def figure_of(single: list[Cost], whole: list[Cost]) -> str:
    """Draw time and memory of an image over C, as SVG."""
    lines = {"one draw": single, "whole sum, Eq. 2": whole}
    places = [f"C = {side**2}" for side in SIDES]
    return figure(
        "One draw and the whole sum",
        [
            Panel(
                "seconds of a processor, an image",
                places,
                {name: [cost.processor_s for cost in line] for name, line in lines.items()},
            ),
            Panel(
                "megabytes, an image",
                places,
                {name: [cost.megabytes for cost in line] for name, line in lines.items()},
            ),
        ],
    )


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", nargs="?", default="proposal_cpu")
    parser.add_argument("--frame", type=int, help="side of the frames (default: the recipe's)")
    parser.add_argument("--rounds", type=int, default=20, help="steps of one draw (default: 20)")
    parser.add_argument("--figure", type=Path, help="also draw time and memory over C, as SVG")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--all", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    set_up_process(1)
    if arguments.alone:
        case = Case(arguments.recipe, arguments.alone, arguments.all, arguments.frame)
        print(json.dumps(measure_alone(case)))
        return
    console = Console()
    single, ratios = one_draw(arguments.recipe, arguments.frame, arguments.rounds)
    whole = whole_sum(arguments.recipe, arguments.frame)
    console.print(cost_table(single, ratios, whole))
    console.print("Variance of the gradient over its square, exactly:")
    console.print(noise_table())
    if arguments.figure:
        arguments.figure.write_text(figure_of(single, whole))


if __name__ == "__main__":
    main()
