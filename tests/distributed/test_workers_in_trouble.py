"""Several real workers, of whom one meets something: all do the same about it."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from selfseg import storage
from selfseg.contracts import FramePairs
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.loader import batches
from selfseg.data.reading.quarantine import Quarantine
from selfseg.training import checkpoint, session
from selfseg.training.journal import read_lines
from selfseg.training.trainee import Plan
from selfseg.training.worker import AcceleratedWorker
from tests.distributed.replicas import in_group
from tests.exact_collection import damage, write_collection
from tests.synthetic import moving_disc
from tests.toy import Game, Listener, toy_batches, toy_plan
from tests.unit.data import tiny

pytestmark = pytest.mark.distributed

SPIKE = frozenset({5, 6, 7})
SCENES = {"swan": moving_disc(14), "car": moving_disc(12, seed=5)}
STEPS = 18
"""Of 24 samples with a next frame, in batches of 4: three epochs."""


def tell_of(worker: AcceleratedWorker, folder: Path, **known: Any) -> None:
    (folder / f"{worker.rank}.json").write_text(json.dumps(known))


def told(notes: Path) -> list[dict[str, Any]]:
    return [json.loads((notes / f"{rank}.json").read_text()) for rank in range(2)]


def train_with_a_spike_on_worker_1(plan: Plan, notes: Path) -> None:
    worker, listener = AcceleratedWorker(), Listener()
    game = Game(dropout=0.5, poison=SPIKE if worker.rank == 1 else frozenset())
    session.run(
        plan,
        game,
        partial(toy_batches, rank=worker.rank, world_size=2),
        worker=worker,
        audience=listener,
    )
    weights = [
        float(value) for value in torch.cat([p.flatten() for p in game.players.parameters()])
    ]
    tell_of(worker, notes, weights=weights, prepared=game.prepared, notes=listener.notes())


def test_numbers_that_are_not_finite_on_one_worker_take_all_back_to_the_same_weights(tmp_path):
    plan = toy_plan(tmp_path / "run", max_skipped=2, keep_checkpoints=9)
    in_group(train_with_a_spike_on_worker_1, tmp_path / "meet", 2, plan=plan, notes=tmp_path)
    one, other = told(tmp_path)
    assert one["weights"] == other["weights"]
    assert one["prepared"] == other["prepared"] == [*range(8), 4, 5, 6, 7, *range(8, 12)]
    assert one["notes"] == [
        "step 7: player guesser: term loss on worker 1 is not finite, too often: "
        "going on from here with the weights of step 4"
    ]
    before, after, last = (
        checkpoint.load(checkpoint.step_url(plan.run_url, step))[0] for step in (4, 8, 12)
    )
    assert all(torch.equal(before.weights[name], after.weights[name]) for name in before.weights)
    assert last.rollbacks == [[4, 8]]
    assert last.skipped == len(SPIKE)
    steps = [(line["rank"], line["step"]) for line in read_lines(plan.run_url)]
    assert steps == [(rank, step) for rank in range(2) for step in range(12)]


def train_with_worker_1_cut_off(plan: Plan) -> None:
    """Break down between two checkpoints; worker 1 cannot write a line."""
    worker = AcceleratedWorker()
    if worker.rank == 1:
        storage.is_waiting = lambda: True  # in this process alone, which ends with the program

    def open_batches(step: int) -> Iterator[FramePairs]:
        yield from islice(toy_batches(step, worker.rank, 2), 10)
        raise ConnectionAbortedError

    with suppress(ConnectionAbortedError):
        session.run(plan, Game(), open_batches, worker=worker, audience=Listener())


def test_a_checkpoint_brings_the_lines_that_another_worker_could_not_write(tmp_path):
    plan = toy_plan(tmp_path / "run")
    in_group(train_with_worker_1_cut_off, tmp_path / "meet", 2, plan=plan)
    assert checkpoint.resolve(plan.run_url) == checkpoint.step_url(plan.run_url, 8)
    steps = [line["step"] for line in read_lines(plan.run_url) if line["rank"] == 1]
    assert steps == list(range(8))


def open_collection(
    url: str, gather: Callable[[str], list[str]], *, rank: int, world_size: int
) -> tuple[Quarantine, Callable[[int], Iterator[FramePairs]]]:
    quarantine = Quarantine(2, gather=gather, tell=lambda line: None)
    opened = partial(
        batches,
        Collection.open(url),
        tiny.CONFIG,
        seed=5,
        rank=rank,
        world_size=world_size,
        quarantine=quarantine,
    )
    return quarantine, lambda step: opened(step=step)


def train_on_damaged_shards(plan: Plan, url: str, notes: Path) -> None:
    worker = AcceleratedWorker()
    quarantine, opened = open_collection(url, worker.gather, rank=worker.rank, world_size=2)
    met: list[Sequence[str]] = []

    def noting(step: int) -> Iterator[FramePairs]:
        for batch in opened(step):
            met.append(batch.keys)
            yield batch

    session.run(plan, Game(), noting, worker=worker, audience=Listener(), courses=[quarantine])
    tell_of(worker, notes, keys=met, losses=quarantine.state())


def keys_alone(url: str) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Read what one worker alone reads, and what it does without."""
    quarantine, opened = open_collection(url, lambda text: [text], rank=0, world_size=1)
    found = [list(batch.keys) for batch in islice(opened(0), STEPS)]
    return found, quarantine.state()


def test_workers_leave_out_the_same_shards_from_the_same_step_on_and_checkpoints_know(
    tmp_path,
):
    url = str(tmp_path / "c")
    write_collection(url, SCENES, gaps=(1,), shares=(0.25, 0.25, 0.25, 0.25))
    damage(Collection.open(url), keys_alone(url)[0][2][1])  # of worker 0's half of step 2
    after_one, _ = keys_alone(url)
    seen = {key for keys in after_one[:5] for key in keys}
    step, key = next(
        (step, key) for step in range(5, STEPS) for key in after_one[step][2:] if key not in seen
    )
    damage(Collection.open(url), key)  # of worker 1's
    whole, losses = keys_alone(url)
    assert [loss["step"] for loss in losses] == [2, step]

    plan = toy_plan(tmp_path / "run", steps=STEPS, checkpoint_every=6)
    in_group(train_on_damaged_shards, tmp_path / "meet", 2, plan=plan, url=url, notes=tmp_path)
    one, other = told(tmp_path)
    assert one["losses"] == other["losses"] == losses
    assert [a + b for a, b in zip(one["keys"], other["keys"], strict=True)] == whole
    assert checkpoint.read_course(plan.run_url) == losses
