"""Real processes with a gloo group between them, as Ray Train would set them up."""

import json
import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import parameters_to_vector

from selfseg.training import session
from selfseg.training.trainee import Plan
from selfseg.training.worker import AcceleratedWorker, set_up_process
from tests.toy import Game, Listener, plain_descent, toy_batches


def train_replica(plan: Plan, *, dropout: float, descent: bool) -> None:
    """Train the game as one of the processes of the group."""
    game = Game(dropout=dropout)
    worker = AcceleratedWorker(plan.loop.precision)
    session.run(
        plan,
        game,
        partial(toy_batches, rank=worker.rank, world_size=worker.world_size),
        worker=worker,
        audience=Listener(),
        optimisers=plain_descent(game) if descent else None,
    )


def average_twice(result: Path, sums: Path) -> None:
    """Average the same gradients in one bucket, then in two; worker 0 writes what came of it.

    DDP has no order of the gradients before the first backward pass, and takes all together;
    then it fills a first bucket of 1 MiB. `sums` gets both means, float "2 parameters"; `result`
    the exchanges that each pass took.
    """
    exchanges: list[int] = []
    reduce = dist.all_reduce

    def counted(*arguments: Any, **options: Any) -> Any:
        exchanges[-1] += 1
        return reduce(*arguments, **options)

    dist.all_reduce = counted
    worker = AcceleratedWorker()
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(256, 1024), nn.Tanh(), nn.Linear(1024, 512))
    net = worker.wrap_player(layers)
    images = torch.randn(8, 256, generator=torch.Generator().manual_seed(worker.rank))
    means = []
    for _ in range(2):
        exchanges.append(0)
        layers.zero_grad()
        worker.backward(net(images).square().mean())
        means.append(
            parameters_to_vector([p.grad for p in layers.parameters() if p.grad is not None])
        )
    if worker.rank == 0:
        result.write_text(json.dumps(exchanges))
        torch.save(torch.stack(means), sums)


def in_group(
    program: Callable[..., None],
    meet: Path,
    world_size: int,
    *,
    limit_s: float = 300,
    **arguments: Any,
) -> None:
    """Run `program` in `world_size` processes; fails if one of them does, or takes too long."""
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_replica, args=(rank, world_size, meet, program, arguments))
        for rank in range(world_size)
    ]
    for process in processes:
        process.start()
    deadline = time.monotonic() + limit_s
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
    ended = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert ended == [0] * world_size


def _replica(
    rank: int, world_size: int, meet: Path, program: Callable[..., None], arguments: dict[str, Any]
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
    }
    set_up_process(1)
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=world_size)
    torch.manual_seed(rank)  # replicas must not depend on agreeing by accident
    try:
        program(**arguments)
    finally:
        dist.destroy_process_group()
