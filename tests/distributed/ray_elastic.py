"""Train with as many workers as there are nodes, of which one is lost and another comes.

python -m tests.distributed.ray_elastic RUN COLLECTION          on nodes of its own
python -m tests.distributed.ray_elastic RUN COLLECTION train    on those of RAY_ADDRESS
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cluster.local_cluster import cluster_folder, set_environment
from selfseg.contracts import FramePairs
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.loader import batches
from selfseg.training import checkpoint, session
from selfseg.training.attempts import read_attempts
from selfseg.training.retention import step_of
from selfseg.training.trainee import Plan
from selfseg.training.worker import AcceleratedWorker, set_up_process
from tests.toy import Game, plain_descent, toy_plan
from tests.unit.data import tiny

STEPS, STEP_S = 60, 0.05
HOLD = 30
"""Steps after which an attempt waits for the change that is to come."""


def plan_of(run_url: str) -> Plan:
    return toy_plan(run_url, steps=STEPS, checkpoint_every=5)


def opened(collection_url: str, rank: int, world_size: int) -> Callable[..., Iterator[FramePairs]]:
    whole = Collection.open(collection_url)
    return partial(batches, whole, tiny.CONFIG, seed=5, rank=rank, world_size=world_size)


def program(settings: dict[str, Any]) -> None:
    """Train; note which samples this worker reads at each step."""
    set_up_process(1)
    worker, game = AcceleratedWorker(), Game()
    read = opened(settings["collection"], worker.rank, worker.world_size)

    def open_batches(step: int) -> Iterator[FramePairs]:
        is_last = step > 0 and worker.world_size == 2
        notes = notes_of(settings["run_url"]) / f"{worker.rank}_{os.getpid()}.jsonl"
        with notes.open("w", buffering=1) as noted:
            for number, batch in enumerate(read(step=step), step):
                time.sleep(STEP_S if is_last or number < step + HOLD else 3600)
                noted.write(json.dumps([worker.world_size, number, worker.rank, batch.keys]) + "\n")
                yield batch

    session.run(
        replace(plan_of(settings["run_url"]), launched=settings["launched"]),
        game,
        open_batches,
        worker=worker,
        audience=settings["audience"],
        optimisers=plain_descent(game),
        meeting=settings["meeting"],
    )


def notes_of(run_url: str) -> Path:
    """Return where workers note what they read, a file each, and the command what it says."""
    folder = Path(run_url).with_suffix(".read")
    folder.mkdir(exist_ok=True)
    return folder


def train(run_url: str, collection_url: str) -> None:
    """Train with one or two workers; look every second, and not once a minute, for room."""
    # Ray reads variables when it is imported.
    import ray  # noqa: PLC0415
    from ray.data._internal.cluster_autoscaler import (  # noqa: PLC0415
        default_autoscaling_coordinator as coordinator,
    )

    from selfseg.runtime import launch  # noqa: PLC0415
    from selfseg.runtime.cluster import connect  # noqa: PLC0415

    def count_nodes_often(counter: Any) -> None:
        counter.TICK_INTERVAL_S = 1  # and not 20

    def scaling(crew: launch.Crew, *, use_gpu: bool) -> Any:
        return replace(ours(crew, use_gpu=use_gpu), elastic_resize_monitor_interval_s=1)

    ours, launch.scaling = launch.scaling, scaling
    connect(2)
    counter: Any = coordinator.get_or_create_autoscaling_coordinator()
    ray.get(counter.__ray_call__.remote(count_nodes_often))
    settings = {"run_url": run_url, "collection": collection_url, "launched": time.time()}
    launch.launch(program, settings, workers=(1, 2), hang_timeout_s=60)


def train_on_nodes(run_url: str, collection_url: str) -> int | None:
    """Lose worker 0's node, and add one, each when the run has saved something before."""
    from tools.fault_suite.bed import Command, Nodes, wait_until  # noqa: PLC0415

    def saved(behind: int) -> Callable[[], bool]:
        return lambda: any(step_of(url) > behind for url in checkpoint.committed(run_url))

    with cluster_folder() as folder:
        set_environment(folder / "token")
        nodes, notes = Nodes(2, folder), notes_of(run_url)
        program = [sys.executable, "-m", __spec__.name, run_url, collection_url, "train"]
        command = Command(program, nodes, notes)
        try:
            nodes.start()
            command.give()
            assert wait_until(saved(5), 90)
            (worker,) = notes.glob("0_*.jsonl")
            nodes.kill(nodes.hosting(int(worker.stem.partition("_")[2])))
            assert wait_until(lambda: read_attempts(run_url)[-1].workers == 1, 60)
            assert wait_until(saved(read_attempts(run_url)[-1].first_step), 30)
            nodes.add()
            return command.wait(60)
        finally:
            if command.given:
                command.kill()
            nodes.stop()


if __name__ == "__main__":
    run_url, collection_url, *part = sys.argv[1:]
    sys.exit((train if part else train_on_nodes)(run_url, collection_url))
