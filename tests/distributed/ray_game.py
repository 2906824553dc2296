"""Train the game on Ray: `python -m tests.distributed.ray_game RUN WORKERS`, to be killed."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfseg.config import parse_workers
from selfseg.contracts import FramePairs
from selfseg.errors import UserError
from selfseg.runtime.cluster import connect
from selfseg.runtime.launch import launch
from selfseg.training import session
from selfseg.training.trainee import Leaving, Plan
from selfseg.training.worker import AcceleratedWorker, set_up_process
from tests.toy import Game, toy_batches, toy_plan

STEP_S = 0.05
STEPS = 40
HANG_AT, HANG_TIMEOUT_S = 12, 10


def plan_of(run_url: str) -> Plan:
    return toy_plan(run_url, steps=STEPS, checkpoint_every=5, hang_timeout_s=HANG_TIMEOUT_S)


def program(settings: dict[str, Any]) -> None:
    set_up_process(1)
    worker = AcceleratedWorker(must_leave=settings["meeting"].must_leave)
    pids = Path(settings["run_url"]).with_suffix(".pids")
    pids.mkdir(exist_ok=True)
    (pids / str(worker.rank)).write_text(str(os.getpid()))
    if settings["fail"] == "user" and worker.rank == 1:
        raise UserError("shard 7: damaged: ingest it again")
    if settings["fail"] == "bug":
        raise ZeroDivisionError("a bug")

    def open_batches(step: int) -> Iterator[FramePairs]:
        fresh = step == 0
        for number, batch in enumerate(toy_batches(step, worker.rank, worker.world_size), step):
            hangs = fresh and settings["fail"] == "hang" and (worker.rank, number) == (1, HANG_AT)
            # Slower where it is to be stopped on the way.
            step_s = 4 * STEP_S if settings["fail"] == "hang" else STEP_S
            time.sleep(3600 if hangs else step_s)
            yield batch

    session.run(
        replace(plan_of(settings["run_url"]), launched=settings.get("launched")),
        Game(dropout=0.5),
        open_batches,
        worker=worker,
        audience=settings["audience"],
        meeting=settings["meeting"],
    )


def main(run_url: str, workers: str, fail: str = "") -> None:
    connect(parse_workers(workers)[1])
    try:
        launch(
            program,
            {"run_url": run_url, "fail": fail},
            workers=parse_workers(workers),
            hang_timeout_s=HANG_TIMEOUT_S,
        )
    except Leaving as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(128 + signal.SIGTERM)
    except (UserError, ZeroDivisionError) as error:
        sys.exit(json.dumps([type(error).__name__, str(error)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
