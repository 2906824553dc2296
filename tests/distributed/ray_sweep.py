"""Sweep the game on Ray, to be killed: `python -m tests.distributed.ray_sweep OUTPUT [asha]`.

In rungs nobody trains: who goes on is all that matters there.
"""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from selfseg.runtime.cluster import connect
from selfseg.runtime.launch import launch
from selfseg.runtime.sweep import run, slots
from selfseg.runtime.trial import Work
from selfseg.sweep.plan import Halving, Trial
from tests.distributed.ray_game import program
from tests.unit.sweep.toy_sweep import trials_of

BROKEN = "box=0.2-0.5,lambda=0.001,seed=0"

TRIALS = {"grid": 3, "asha": 4}
"""By scheduler; where trials train, each takes a good while."""


def swept(output: Path, scheduler: str) -> list[Trial]:
    return trials_of(output)[: TRIALS[scheduler]]


def log_of(trial: Trial) -> Path:
    return Path(trial.url).parents[1] / "attempts" / trial.name


def attempt(trial: Trial, step: int) -> None:
    log = log_of(trial)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as lines:
        lines.write(f"{step}\n")
    if trial.name == BROKEN:
        raise ZeroDivisionError("a bug")


def train(trial: Trial, step: int) -> None:
    attempt(trial, step)
    Path(trial.url).parent.mkdir(exist_ok=True)  # the game leaves its workers' ids beside its run
    launch(program, {"run_url": trial.url, "fail": ""}, workers=1, hang_timeout_s=600)


def score(trial: Trial, step: int) -> list[dict[str, Any]]:
    del step
    return [{"j_mean": trial.config.method.model_dump()["mask_lambda"]}]


def main(output: str, scheduler: str = "grid") -> None:
    connect(2)
    asha = scheduler == "asha"
    ran = run(
        swept(Path(output), scheduler),
        Work(attempt if asha else train, score),
        halving=Halving(3, 2) if asha else Halving(rungs=1),
        at_once=slots(1),
        retries=1,
        console=Console(),
    )
    sys.stdout.write(f"{[(each.trial, each.cause) for each in ran.failures]}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
