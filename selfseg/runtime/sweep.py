"""Ray Tune around trials: so many at a time, retried within a budget, stopped by ASHA."""

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import RayTaskError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from rich.console import Console

from selfseg.data.reading.draws import permutation
from selfseg.errors import UsageError, UserError
from selfseg.reporting import wording
from selfseg.reporting.curves import read_clock
from selfseg.runtime.launch import first_line, gpus_for
from selfseg.runtime.trial import Work, take
from selfseg.sweep.plan import Halving, Trial
from selfseg.sweep.ran import Ran, Span
from selfseg.sweep.results import Failure, read_result, write_result
from selfseg.training.journal import read_lines

NEXT_TO_NOTHING: dict[str, int | float] = {"memory": 1}
"""What a trial itself reserves: one byte, for Ray Tune wants something. Its workers reserve their
own devices; a trial that held one while it waits for them could wait for ever."""

PLAIN_TUNE = {
    # Ours are `selfseg.sweep.results`.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # An interrupt ends the command, and the same command goes on.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def slots(workers: int) -> int:
    """Return how many trials the connected cluster can train at once.

    Raises:
        UsageError: not even one.
    """
    have = ray.cluster_resources()
    devices = have.get("GPU", 0) if gpus_for(workers) else have.get("CPU", 0)
    return int(devices) // workers


def scheduler(name: str, halving: Halving) -> tuple[Halving, TrialScheduler]:
    """Return the rungs of a way to schedule trials, and who decides at them.

    Raises:
        UsageError: there is no such way, or none that does something.
    """
    match name:
        case "grid":
            return Halving(rungs=1), FIFOScheduler()
        case "asha":
            return halving, ASHAScheduler(
                time_attr="time",
                metric="score",
                mode="max",
                max_t=halving.times[-1],
                grace_period=1,
                reduction_factor=halving.factor,
            )
        case "pbt":
            raise UsageError(
                "--scheduler pbt: it copies checkpoints that Ray Tune keeps, and those of trials "
                "that train on workers of their own are not, so it would silently do nothing: "
                "take grid or asha"
            )
        case _:
            raise UsageError(f"--scheduler {name}: choose grid or asha")


def run(
    trials: Sequence[Trial],
    work: Work,
    *,
    halving: Halving,
    decides: TrialScheduler,
    at_once: int,
    retries: int,
    console: Console,
) -> Ran:
    """Bring every trial to its end, or to where it is stopped; those that are there are not run.

    Args:
        trials: in order.
        work: what is done in each.
        halving: when they are scored.
        decides: which go on.
        at_once: trials under way at the same time.
        retries: how often a trial that fails is begun again, from its newest checkpoint.
        console: hears of every trial.

    Returns:
        What ran, and what failed for good.
    """
    ran = Ran(at_once)
    by_name = {trial.name: trial for trial in submitted(trials, halving)}
    if not by_name:
        return ran

    def trainable(config: dict[str, Any]) -> None:
        def tell(moment: int, score: float) -> None:
            tune.report({"time": moment, "score": score})

        take(by_name[config["trial"]], halving, work, tell)

    # Failures are reported by us, each once.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    for name, value in PLAIN_TUNE.items():
        os.environ.setdefault(name, value)
    with tempfile.TemporaryDirectory(prefix="selfseg-") as bookkeeping:
        tuner = tune.Tuner(
            tune.with_resources(trainable, tune.PlacementGroupFactory([NEXT_TO_NOTHING])),
            param_space={"trial": tune.grid_search(list(by_name))},
            tune_config=tune.TuneConfig(
                scheduler=decides,
                max_concurrent_trials=at_once,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=bookkeeping,
                failure_config=tune.FailureConfig(max_failures=retries),
                callbacks=[Watch(by_name, len(trials), ran, console)],
                verbose=0,
            ),
        )
        tuner.fit()
    return ran


def submitted(trials: Sequence[Trial], halving: Halving) -> list[Trial]:
    """Return the trials that Ray Tune has to know of.

    Where it decides who goes on, those that are over come first and tell their scores again:
    what an earlier command learned counts. The others come in a drawn order, the same each time:
    the first few go on whatever they score, and in a grid's order neighbours are much alike.
    """
    results = {trial.name: read_result(trial) for trial in trials}
    ends = {"finished", "stopped"} if halving.rungs > 1 else {"finished"}
    over = [trial for trial in trials if (found := results[trial.name]) and found.status in ends]
    rest = [trial for trial in trials if trial not in over]
    if not rest or halving.rungs == 1:
        return rest
    return [*over, *(rest[place] for place in permutation(len(rest), "trials"))]


class Watch(tune.Callback):
    """Notes what becomes of each trial, and says it."""

    def __init__(self, trials: dict[str, Trial], total: int, ran: Ran, console: Console) -> None:
        self._trials, self._total, self._ran, self._console = trials, total, ran, console
        self._done = total - len(trials)
        self._began: dict[str, float] = {}
        self._worked = {name: _worked_s(trial) for name, trial in trials.items()}

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Be nobody where Ray Tune keeps a copy, to restore a sweep from: ours is not."""
        return tune.Callback, ()

    def on_trial_start(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        """Note when it first began."""
        del iteration, trials, info
        self._began.setdefault(_name(trial), time.monotonic())

    def on_trial_complete(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        """Keep that it was stopped, if it was."""
        del iteration, trials, info
        name = _name(trial)
        ours = self._trials[name]
        result = read_result(ours)
        if result is not None and not result.over:
            result = result.override({"status": "stopped"})
            write_result(ours, result)
        outcome = f"{result.status}, {result.score:.3f}" if result else "nothing to do"
        self._end(name, f"{outcome} after {result.steps if result else 0} steps")

    def on_trial_error(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        """Keep why it failed for good."""
        del iteration, trials, info
        name = _name(trial)
        error = _error(trial)
        failure = Failure(trial=name, cause=_cause(error), traceback=str(error))
        self._ran.failures.append(failure)
        self._end(name, f"failed: {failure.cause}", failed=True)

    def _end(self, name: str, outcome: str, *, failed: bool = False) -> None:
        now = time.monotonic()
        passed = now - self._began[name]
        self._done += 1
        worked_s = _worked_s(self._trials[name]) - self._worked[name]
        if worked_s > 0 or failed:
            self._ran.spans.append(Span(name, self._began[name], now))
            self._ran.worked_s += worked_s
        line = f"[{self._done}/{self._total}] {name}: {outcome}, {wording.duration(passed)}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _worked_s(trial: Trial) -> float:
    """Return the seconds that a trial has trained and scored for, whenever, finished or not."""
    result = read_result(trial)
    return read_clock(read_lines(trial.url)).total_s + (result.scoring_s if result else 0.0)


def _name(trial: TuneTrial) -> str:
    return trial.config["trial"]


def _error(trial: TuneTrial) -> Exception | None:
    """Return why a trial failed, as Ray Tune has just noted it beside itself.

    `Trial.get_pickled_error` looks where the note is copied to later.
    """
    path = trial.pickled_error_file
    return cloudpickle.loads(Path(path).read_bytes()) if path else None


def _cause(error: Exception | None) -> str:
    """Say in a line why a trial failed: a mistake in its own words, anything else with its name."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if cause is None:
        return "no cause is known"
    return str(cause).partition("\n")[0] if isinstance(cause, UserError) else first_line(cause)
