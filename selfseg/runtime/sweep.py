"""Ray Tune around trials: so many at a time, retried within a budget, rung by rung."""

import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import RayTaskError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher
from rich.console import Console

from selfseg.errors import UsageError, UserError
from selfseg.reporting import wording
from selfseg.reporting.curves import read_clock
from selfseg.runtime.launch import first_line, gpus_for
from selfseg.runtime.trial import Work, take
from selfseg.sweep.halving import Queue
from selfseg.sweep.plan import Halving, Trial
from selfseg.sweep.ran import Ran, Span
from selfseg.sweep.results import Failure, read_result, read_results, write_result
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
    return int(ray.cluster_resources()[_devices(workers)]) // workers


def neighbours(workers: int) -> int:
    """Return how many trials share a machine of the connected cluster, at most."""
    devices = _devices(workers)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return max(1, *(int(resources.get(devices, 0)) // workers for resources in nodes))


def _devices(workers: int) -> str:
    return "GPU" if gpus_for(workers) else "CPU"


def rungs(scheduler: str, halving: Halving) -> Halving:
    """Return the rungs of a way to schedule trials.

    Raises:
        UsageError: there is no such way, or none that does something.
    """
    match scheduler:
        case "grid":
            return Halving(rungs=1)
        case "asha":
            return halving
        case "pbt":
            raise UsageError(
                "--scheduler pbt: it copies checkpoints that Ray Tune keeps, and those of trials "
                "that train on workers of their own are not, so it would silently do nothing: "
                "take grid or asha"
            )
        case _:
            raise UsageError(f"--scheduler {scheduler}: choose grid or asha")


def run(
    trials: Sequence[Trial],
    work: Work,
    *,
    halving: Halving,
    at_once: int,
    retries: int,
    console: Console,
) -> Ran:
    """Bring every trial to its end, or to where others are better; what is done is not run again.

    Args:
        trials: in order.
        work: what is done in each.
        halving: when they are scored, and which go on.
        at_once: trials under way at the same time.
        retries: how often a trial that fails on its way to a rung is begun again, from its newest
            checkpoint.
        console: hears of every trial.

    Returns:
        What ran, and what failed for good.
    """
    ran = Ran(at_once)
    results = read_results(trials)
    queue = Queue(trials, halving, results)
    by_name = {trial.name: trial for trial in trials}
    if not queue.over:
        done = sum(result.status == "finished" for result in results.values())
        watch = Watch(by_name, ran, console, done=done)
        climb(queue, by_name, work, halving=halving, retries=retries, watch=watch)
    for name in queue.left_behind:
        result = read_result(by_name[name])
        if result is not None and not result.over:
            write_result(by_name[name], result.override({"status": "stopped"}))
    return ran


def climb(
    queue: Queue,
    trials: Mapping[str, Trial],
    work: Work,
    *,
    halving: Halving,
    retries: int,
    watch: "Watch",
) -> None:
    """Have Ray Tune train whom the queue names, until it names nobody.

    To Ray Tune each way from a rung to the next is a trial of its own; trials go on from their
    checkpoints anyway, so that who waits to go on need not be there.
    """

    def trainable(config: dict[str, Any]) -> None:
        result = take(trials[config["trial"]], config["step"], halving, work)
        tune.report({"score": result.score})

    # Failures are reported by us, each once.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    for name, value in PLAIN_TUNE.items():
        os.environ.setdefault(name, value)
    with tempfile.TemporaryDirectory(prefix="selfseg-") as bookkeeping:
        tuner = tune.Tuner(
            tune.with_resources(trainable, tune.PlacementGroupFactory([NEXT_TO_NOTHING])),
            tune_config=tune.TuneConfig(
                search_alg=FromQueue(queue, trials),
                num_samples=len(trials) * halving.rungs,
                max_concurrent_trials=watch.ran.at_once,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=bookkeeping,
                failure_config=tune.FailureConfig(max_failures=retries),
                callbacks=[watch],
                verbose=0,
            ),
        )
        tuner.fit()


class FromQueue(Searcher):
    """Tells Ray Tune what a queue of trials says, and the queue what came of it."""

    def __init__(self, queue: Queue, trials: Mapping[str, Trial]) -> None:
        super().__init__()
        self._queue, self._trials = queue, trials
        self._names: dict[str, str] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # pyright: ignore[reportIncompatibleMethodOverride]  # FINISHED is a word
        """Return who trains next, and to which step."""
        found = self._queue.next()
        if found is None:
            return self.FINISHED if self._queue.over else None
        self._names[trial_id], step = found
        return {"trial": found[0], "step": step}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Hear that somebody is at a rung, or failed for good."""
        del result
        name = self._names[trial_id]
        found = None if error else read_result(self._trials[name])
        # Not before: where the store fails, Ray Tune comes again with an error.
        del self._names[trial_id]
        if found is None:
            self._queue.failed(name)
        else:
            self._queue.scored(name, found.rungs)

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Keep nothing: results are what a sweep goes on from."""


class Watch(tune.Callback):
    """Notes what becomes of each trial, and says it."""

    def __init__(
        self, trials: Mapping[str, Trial], ran: Ran, console: Console, *, done: int
    ) -> None:
        self._trials, self.ran, self._console, self._done = trials, ran, console, done
        self._began: dict[str, float] = {}
        self._worked: dict[str, float] = {}

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Be nobody where Ray Tune keeps a copy, to restore a sweep from: ours is not."""
        return tune.Callback, ()

    def on_trial_start(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        """Note when it began, the first time of all that it is tried."""
        del iteration, trials, info
        name = _name(trial)
        if name not in self._began:
            self._began[name] = time.monotonic()
            self._worked[name] = _worked_s(self._trials[name])

    def on_trial_complete(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        """Say what it scored."""
        del iteration, trials, info
        name = _name(trial)
        result = read_result(self._trials[name])
        assert result is not None, name
        at_end = result.status == "finished"
        outcome = f"{result.score:.3f} after {wording.plural(result.steps, 'step')}"
        self._end(name, f"finished, {outcome}" if at_end else outcome, at_end=at_end)

    def on_trial_error(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        """Keep why it failed for good."""
        del iteration, trials, info
        name = _name(trial)
        error = _error(trial)
        failure = Failure(trial=name, cause=_cause(error), traceback=str(error))
        self.ran.failures.append(failure)
        self._end(name, f"failed: {failure.cause}", at_end=True)

    def _end(self, name: str, outcome: str, *, at_end: bool) -> None:
        span = Span(name, self._began.pop(name), time.monotonic())
        self.ran.spans.append(span)
        self.ran.worked_s += _worked_s(self._trials[name]) - self._worked.pop(name)
        self._done += at_end
        passed = wording.duration(span.ended - span.began)
        line = f"[{self._done}/{len(self._trials)}] {name}: {outcome}, {passed}"
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
