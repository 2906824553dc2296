"""Training on Ray: one function that launches a run, one that is each of its workers."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from selfseg import storage
from selfseg.contracts import FramePairs, Method
from selfseg.data.format.manifest import SHOWN_DIGITS, manifest_url, newest_id
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.following import Follower
from selfseg.data.reading.loader import batches
from selfseg.data.reading.order import share_of
from selfseg.data.reading.quarantine import Quarantine
from selfseg.errors import UsageError
from selfseg.experiment import ExperimentConfig, begin, build_method, of_today, round_ends
from selfseg.reporting.checkpoints import best_scored
from selfseg.runtime.board import RayAudience
from selfseg.runtime.cluster import connect
from selfseg.runtime.launch import Crew, launch
from selfseg.training import attempts, checkpoint, run_folder, session, wandb_log
from selfseg.training.audience import Audience, Report
from selfseg.training.checkpoint import RunRecord
from selfseg.training.trainee import Leaving, Plan
from selfseg.training.wandb_log import WandbLog, WandbMode
from selfseg.training.worker import AcceleratedWorker, Worker, set_up_process

JOB_FOLDERS = "working_dir_files"
"""Where Ray keeps the folders that jobs brought along."""


def train(
    config: ExperimentConfig,
    *,
    collection_url: str,
    run_url: str,
    workers: int | Crew = 1,
    wandb: WandbMode | None = None,
    group: str | None = None,
    command: str = "",
    until: int | None = None,
    beside: int = 1,
) -> None:
    """Train to the end, from the run's newest checkpoint if there is one; returns when done.

    Args:
        config: the run's settings.
        collection_url: what it learns from.
        run_url: its folder.
        workers: processes that train; fewest and most: as many as there is room for.
        wandb: whether curves go to Weights & Biases as well.
        group: of runs there, that it belongs to.
        command: what the user typed, for the run's record.
        until: step to pause at; the run goes on from there as if it had never stopped.
        beside: runs of this size that share the machine, this one included.

    Raises:
        UserError: one line that names what is wrong and the remedy; in a worker or here.
        KeyboardInterrupt: stopped; the same call goes on from the newest checkpoint.
        SystemExit: stopped by SIGTERM; the same call goes on from the very step.
    """
    launched = time.time()
    collection_url, run_url = anywhere(collection_url), anywhere(run_url)
    crew = (workers, workers) if isinstance(workers, int) else workers
    for count in range(crew[0], crew[1] + 1):
        share_of(config.data.batch_size, count)
    if storage.is_remote(run_url) or storage.is_remote(collection_url):
        _check_patience(config.loop.hang_timeout_s)
    if wandb is not None:
        wandb_log.check(run_url, wandb)
    begun = run_folder.read_record(run_url)
    collection = _open_collection(collection_url, begun, follows=config.data.follow)
    storage.probe(run_url)
    record = record_of(config, collection, begun)
    run_folder.claim(run_url, record, command=command)
    goal = until or config.loop.steps
    if checkpoint.newest_whole(run_url)[0] == checkpoint.step_url(run_url, goal):
        print(f"{run_url}: finished already, all {goal} steps")  # noqa: T201
        return
    payload = {
        "record": record.model_dump(mode="json"),
        "run_url": run_url,
        "wandb": wandb,
        "group": group,
        "until": until,
        "beside": beside,
        "launched": launched,
    }
    attempts.take_over(run_url, launched)
    with attempts.command(run_url, launched):
        connect(crew[1])
        _launch(payload, crew, config)


def _check_patience(hang_timeout_s: float) -> None:
    """See that who waits for a store that is away is not taken for one that hangs."""
    if storage.patience_s() >= hang_timeout_s:
        raise UsageError(
            f"setting loop.hang_timeout_s: {hang_timeout_s:.0f} s is no longer than a store is "
            f"waited for, {storage.patience_s():.0f} s: raise it, or lower SELFSEG_STORAGE_PATIENCE"
        )


def record_of(
    config: ExperimentConfig, collection: Collection, begun: RunRecord | None
) -> RunRecord:
    """Return what a run is claimed with; begun: what it was claimed with before, if it was."""
    settings = config.model_dump(mode="json")
    return RunRecord(
        # As they were written then: settings that are younger than the run have their defaults.
        settings=begun.settings if begun and of_today(begun.settings) == settings else settings,
        collection=collection.url,
        manifest=collection.manifest_id,
        ingest=collection.manifest.settings.model_dump(mode="json"),
    )


def train_worker(payload: dict[str, Any]) -> None:
    """Train one replica; everything is rebuilt from settings and URLs."""
    record = RunRecord.model_validate(payload["record"])
    config = ExperimentConfig.model_validate(record.settings)
    set_up_process(
        config.loop.threads,
        local_world_size=workers_here() * payload["beside"],
        helpers=config.data.loader_processes,
    )
    meeting = payload["meeting"]
    worker = AcceleratedWorker(config.loop.precision, must_leave=meeting.must_leave)
    torch.manual_seed(config.seed)  # the same fresh weights on every worker
    method = build_method(config.method)
    audience: RayAudience = payload["audience"]
    tell = _teller(worker, audience)
    storage.expect_answers()  # the command has reached collection and run
    storage.tell_of_waiting(partial(audience.outage, worker.rank))
    follower = _follower(record, worker, tell) if config.data.follow else None
    quarantine = _quarantine(config, worker, tell)
    plan = Plan(
        payload["run_url"],
        record,
        config.seed,
        config.optim,
        config.loop,
        payload["until"],
        payload["launched"],
    )
    log = None
    if payload["wandb"] and worker.rank == 0:
        log = WandbLog(plan.run_url, payload["wandb"], record.settings, group=payload["group"])
    session.run(
        plan,
        method,
        _reader(record, config, method, worker, follower=follower, quarantine=quarantine),
        worker=worker,
        audience=audience,
        log=log,
        begin=partial(begin, method, config),
        courses=[course for course in (follower, quarantine) if course],
        best=partial(best_scored, plan.run_url),
        meeting=meeting,
    )


def _reader(
    record: RunRecord,
    config: ExperimentConfig,
    method: Method,
    worker: Worker,
    *,
    follower: Follower | None,
    quarantine: Quarantine | None,
) -> Callable[[int], Iterator[FramePairs]]:
    """Return what opens a worker's batches from a step on."""
    ends = round_ends(method.phases).values()
    opened = partial(
        batches,
        Collection.open(record.collection, record.manifest, verify=config.data.verify),
        config.data,
        seed=config.seed,
        rank=worker.rank,
        world_size=worker.world_size,
        annotated=method.supervised,
        moving=method.wants_motion,
        background=method.wants_background,
        starts=(0, *ends)[:-1] if config.data.growth else (0,),
        follower=follower,
        quarantine=quarantine,
    )
    return lambda step: opened(step=step)


def _teller(worker: Worker, audience: Audience) -> Callable[[str], None]:
    """Return what worker 0 tells of in a line, and the others, who know it too, do not."""
    return lambda line: audience.report(Report(0, 0, notes=(line,))) if worker.rank == 0 else None


def _follower(record: RunRecord, worker: Worker, tell: Callable[[str], None]) -> Follower:
    """Let worker 0 look whether the run's collection has grown, and tell of it."""
    return Follower(
        record.collection,
        record.manifest,
        looks=worker.rank == 0,
        agree=lambda text: worker.gather(text)[0],
        tell=tell,
    )


def _quarantine(
    config: ExperimentConfig, worker: Worker, tell: Callable[[str], None]
) -> Quarantine | None:
    """Let all workers tell each other of damaged shards, if the run may do without some."""
    budget = config.data.quarantine
    return Quarantine(budget, gather=worker.gather, tell=tell) if budget else None


def _open_collection(collection_url: str, begun: RunRecord | None, *, follows: bool) -> Collection:
    """Open what the run began with, also once the collection has grown; else what the URL names."""
    if begun is None or not storage.exists(manifest_url(collection_url, begun.manifest)):
        return Collection.open(collection_url)
    if not follows and begun.manifest != newest_id(collection_url):
        print(  # noqa: T201
            f"{collection_url}: has grown; the run goes on with manifest "
            f"{begun.manifest[:SHOWN_DIGITS]}, which it began with"
        )
    return Collection.open(collection_url, begun.manifest)


def _launch(payload: dict[str, Any], crew: Crew, config: ExperimentConfig) -> None:
    try:
        launch(
            train_worker,
            payload,
            workers=crew,
            hang_timeout_s=config.loop.hang_timeout_s,
            loaders=config.data.loader_processes > 0,
        )
    except Leaving as error:
        print(f"stopped: {error}; the same command goes on from there")  # noqa: T201
        raise SystemExit(128 + signal.SIGTERM) from None
    except KeyboardInterrupt:
        print("stopped: the same command goes on from the newest checkpoint")  # noqa: T201
        raise


def workers_here() -> int:
    """Count the workers on this machine; a cluster may run several nodes on one."""
    name = socket.gethostname()
    names: list[str] = [name]
    if dist.is_initialized():
        names = [""] * dist.get_world_size()
        dist.all_gather_object(names, name)
    return names.count(name)


def anywhere(url: str) -> str:
    """Make a path mean the same in every process of this machine.

    Raises:
        UsageError: it is relative to a job's copy of its folder, which Ray removes after the job.
    """
    if "://" in url or Path(url).is_absolute():
        return url
    if JOB_FOLDERS in Path.cwd().parts:
        raise UsageError(f"{url}: this folder is the job's own: give an absolute path, or s3://")
    return str(Path(url).absolute())
