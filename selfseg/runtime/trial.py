"""One trial of a sweep: trained and scored rung by rung, from wherever it was stopped."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from selfseg.data.reading.collection import Collection
from selfseg.reporting.curves import read_clock
from selfseg.runtime import ray_train
from selfseg.runtime.launch import gpus_for
from selfseg.runtime.tasks import each
from selfseg.sweep.plan import Halving, Measure, Trial
from selfseg.sweep.results import Result, of_videos, read_result, slim, write_result
from selfseg.sweep.scoring import Ground, score
from selfseg.training import checkpoint, run_folder
from selfseg.training.journal import read_lines
from selfseg.training.wandb_log import WandbMode


@dataclass(frozen=True, slots=True)
class Work:
    """What is done in a trial.

    train: trains a trial up to a step, from its newest checkpoint
    score: scores it there; returns records, of which the last ranks
    """

    train: Callable[[Trial, int], None]
    score: Callable[[Trial, int], list[dict[str, Any]]]


def take(trial: Trial, step: int, halving: Halving, work: Work) -> Result:
    """Train a trial up to a rung, and score it there; what was done before is not done again.

    One that is trained further already is scored at the next rung: what it scored at a step that
    has passed nobody can tell.
    """
    result = read_result(trial)
    reached = max(step, _trained(trial))
    step = next(rung for rung in halving.steps(trial.config) if rung >= reached)
    return result if result and step in result.rungs else _climb(trial, step, work, result)


def _trained(trial: Trial) -> int:
    """Return the step of a trial's newest checkpoint."""
    urls = checkpoint.committed(trial.url)
    return int(urls[-1].rpartition("_")[2]) if urls else 0


def _climb(trial: Trial, step: int, work: Work, before: Result | None) -> Result:
    """Train to a rung and score there; the result is kept."""
    work.train(trial, step)
    started = time.perf_counter()
    records = work.score(trial, step)
    passed = time.perf_counter() - started
    name, lines = trial.measure.name, read_lines(trial.url)
    result = Result(
        identity=trial.identity,
        status="finished" if step == trial.steps else "running",
        seed=trial.seed,
        steps=step,
        seconds=read_clock(lines).total_s,
        scoring_s=passed + (before.scoring_s if before else 0),
        rungs={**(before.rungs if before else {}), step: records[-1][name]},
        records=tuple(map(slim, records)),
        clock=tuple(_seconds_until(trial, record, lines) for record in records),
        videos=tuple(of_videos(record, name) for record in records),
    )
    write_result(trial, result)
    return result


def _seconds_until(
    trial: Trial, record: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]
) -> float:
    """Return how long a trial trained until the round that a record is of, or until its end."""
    ends = {None: trial.steps, **trial.config.round_ends}
    stop = ends[record.get("round")]
    return read_clock([line for line in lines if line["step"] < stop]).total_s


def experiment(
    collection_url: str,
    ground: Ground,
    *,
    workers: int,
    beside: int,
    command: str,
    held: Callable[[], None] = lambda: None,
    wandb: WandbMode | None = None,
    group: str | None = None,
) -> Work:
    """Return the work of a sweep over experiments.

    Args:
        collection_url: what all learn from.
        ground: what they are scored on.
        workers: processes that train a trial.
        beside: trials that share the machine.
        command: what the user typed.
        held: called before a trial trains; raises where another command has the sweep by now.
        wandb: whether curves go to Weights & Biases as well.
        group: of all trials there.
    """

    def train(trial: Trial, step: int) -> None:
        held()
        ray_train.train(
            trial.config,
            collection_url=collection_url,
            run_url=trial.url,
            workers=workers,
            wandb=wandb,
            group=group,
            command=command,
            until=step if step < trial.steps else None,
            beside=beside,
        )

    def score_validation(trial: Trial, step: int) -> list[dict[str, Any]]:
        whole = step == trial.steps
        return _score_elsewhere(trial.url, trial.measure, ground, workers, test=False, rounds=whole)

    return Work(train, score_validation)


def check_folders(trials: Iterable[Trial], collection: Collection, *, output: str) -> None:
    """See, before the work begins, that no folder holds a run of other settings or data.

    Args:
        trials: whose folders are looked at.
        collection: what they are to learn from.
        output: the sweep's folder.

    Raises:
        UsageError: one does; names what differs.
    """
    for trial in trials:
        found = run_folder.read_record(trial.url)
        if found is not None and checkpoint.committed(trial.url):
            wanted = ray_train.record_of(trial.config, collection, found)
            origin = f"--output {output}: trial {trial.name}"
            run_folder.check_same(wanted, found, origin=origin, option="--output")


def score_test(url: str, *, measure: Measure, ground: Ground, workers: int) -> list[dict[str, Any]]:
    """Score a finished trial on the test part."""
    return _score_elsewhere(url, measure, ground, workers, test=True, rounds=True)


def _score_elsewhere(
    url: str, measure: Measure, ground: Ground, workers: int, *, test: bool, rounds: bool
) -> list[dict[str, Any]]:
    """Score a run on a device of the cluster: whoever waits for a trial has none."""
    call = partial(
        _score_part, measure=measure, ground=ground, test=test, rounds=rounds, processes=workers
    )
    ((_, records),) = each(call, [url], at_once=1, gpus=1 if gpus_for(1) else 0)
    return records


def _score_part(
    url: str, *, measure: Measure, ground: Ground, test: bool, rounds: bool, processes: int
) -> list[dict[str, Any]]:
    validation_part, test_part = ground.parts()
    return score(
        url,
        measure,
        test_part if test else validation_part,
        validation=validation_part,
        rounds=rounds,
        processes=processes,
    )
