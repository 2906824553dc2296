"""Numbers that are not finite: what a run goes back to, and that it does so bit for bit."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator
from torch.optim import SGD, Optimizer

from selfseg.contracts import FramePairs, Objective
from selfseg.errors import UserError
from selfseg.training import checkpoint, session
from selfseg.training.checkpoint import TrainingState
from selfseg.training.journal import read_lines
from selfseg.training.ladder import step_of
from selfseg.training.loop import MOST_OVERFLOWS
from selfseg.training.trainee import Plan
from selfseg.training.worker import AcceleratedWorker
from tests.toy import Game, Listener, toy_batches, toy_batches_until, toy_plan

SPIKE = frozenset({5, 6, 7})


def run(plan: Plan, poison: frozenset[int] = SPIKE, stop_before: int | None = None) -> Listener:
    """Train the game; with `stop_before`, break down while fetching that step's batch."""

    open_batches, listener = toy_batches_until(stop_before), Listener()
    game = Game(dropout=0.5, poison=poison)
    session.run(plan, game, open_batches, worker=AcceleratedWorker(), audience=listener)
    return listener


def state(plan: Plan, step: int) -> TrainingState:
    return checkpoint.load(checkpoint.step_url(plan.run_url, step))[0]


def assert_same_weights(one: TrainingState, other: TrainingState) -> None:
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def spiky_plan(folder: Path, **loop: object) -> Plan:
    return toy_plan(folder, **{"max_skipped": 2, "keep_checkpoints": 9, **loop})


def test_with_one_step_too_many_the_run_takes_the_weights_before_them_and_goes_on(tmp_path):
    plan = spiky_plan(tmp_path)
    listener = run(plan)
    assert listener.checkpoints == [4, 8, 12]
    before, after, last = (state(plan, step) for step in (4, 8, 12))
    assert_same_weights(before, after)
    first = next(iter(before.weights))
    assert not torch.equal(last.weights[first], after.weights[first])
    assert last.rollbacks == [[4, 8]]
    assert last.skipped == len(SPIKE)
    [note] = listener.notes()
    assert note == (
        "step 7: player guesser: term loss on worker 0 is not finite, too often: "
        "going on from here with the weights of step 4"
    )
    assert [line["step"] for line in read_lines(plan.run_url)] == list(range(12))
    # Who counts steps that were left out must not take a note for a report of none.
    assert {(told.step, told.steps) for told in listener.reports if note in told.notes} == {(0, 0)}


def test_the_optimisers_go_back_with_the_weights(tmp_path):
    plan = spiky_plan(tmp_path)
    run(plan)
    before, after = (state(plan, step).optimisers["guesser"]["state"][0] for step in (4, 8))
    assert torch.equal(before["exp_avg"], after["exp_avg"])


@pytest.mark.parametrize("stop_before", [5, 7, 8, 10])
def test_stopped_before_within_or_after_the_spike_it_ends_in_the_same_weights(
    tmp_path, stop_before
):
    whole, broken = (spiky_plan(tmp_path / name) for name in ("whole", "broken"))
    run(whole)
    with pytest.raises(ConnectionAbortedError):
        run(broken, stop_before=stop_before)
    run(broken)
    assert_same_weights(state(whole, 12), state(broken, 12))
    assert state(broken, 12).rollbacks == [[4, 8]]


def test_a_checkpoint_that_is_only_there_because_the_run_was_stopped_is_not_gone_back_to(tmp_path):
    """Weights of step 5 would lead elsewhere than those of step 4, which every run has."""
    whole, stopped = (spiky_plan(tmp_path / name, max_skipped=1) for name in ("whole", "stopped"))
    late = frozenset({6, 7})
    run(whole, late)
    checkpoints = tmp_path / "stopped/checkpoints"
    run(replace(stopped, until=5), late)
    assert (checkpoints / "step_00000005").exists()
    run(stopped, late)
    assert_same_weights(state(whole, 12), state(stopped, 12))
    assert not (checkpoints / "step_00000005").exists()


def test_what_went_wrong_at_once_goes_back_one_further_and_leaves_nothing_of_the_way(tmp_path):
    """Checkpoints 2 and 4; 5, 6 fail: back to 4, gone on from at 7; 7, 8 fail: back to 2."""
    plan = spiky_plan(tmp_path, checkpoint_every=2, max_skipped=1)
    run(plan, frozenset({5, 6, 7, 8}))
    assert state(plan, 12).rollbacks == [[4, 7], [2, 9]]
    assert_same_weights(state(plan, 2), state(plan, 9))
    assert [step_of(url) for url in checkpoint.committed(plan.run_url)] == [2, 9, 10, 12]


def test_a_damaged_checkpoint_is_not_gone_back_to(tmp_path):
    plan = spiky_plan(tmp_path, checkpoint_every=2, max_skipped=1)
    with pytest.raises(ConnectionAbortedError):
        run(plan, frozenset({7, 8}), stop_before=7)
    (tmp_path / "checkpoints/step_00000004/method.safetensors").write_bytes(b"torn")
    run(plan, frozenset({6, 7}))
    assert state(plan, 12).rollbacks == [[2, 8]]


def test_gone_back_too_often_the_run_ends_and_names_step_player_term_and_worker(tmp_path):
    plan = spiky_plan(tmp_path, checkpoint_every=2, max_skipped=1, max_rollbacks=1)
    with pytest.raises(
        UserError,
        match=r"^step 8: player judge: term loss on worker 0 is not finite, and 1 steps before it "
        r"were not; 1 rollbacks did not help: lower optim.learning_rate",
    ):
        run(plan, frozenset({5, 6, 7, 8}))


def test_before_the_first_checkpoint_there_is_nothing_to_go_back_to(tmp_path):
    plan = spiky_plan(tmp_path, max_skipped=0)
    with pytest.raises(UserError, match=r"^step 3: .* no older checkpoint to go back to"):
        run(plan, frozenset({3}))


def test_steps_that_are_far_apart_are_only_left_out(tmp_path):
    """Every window of 4 steps holds one of them."""
    plan = spiky_plan(tmp_path, max_skipped=1)
    run(plan, frozenset({2, 6, 10}))
    progress = json.loads((tmp_path / "checkpoints/step_00000012/progress.json").read_text())
    assert progress == {"recent": [10], "skipped": 3, "step": 12}


def test_a_method_prepares_for_the_steps_that_are_not_taken_again(tmp_path):
    """What it does between two phases, say, must follow from the weights it goes on with."""
    plan = spiky_plan(tmp_path)
    game = Game(poison=SPIKE)
    session.run(plan, game, toy_batches, worker=AcceleratedWorker(), audience=Listener())
    assert game.prepared == [*range(8), 4, 5, 6, 7, *range(8, 12)]


class Overflowing(Game):
    """Its loss is always finite; from a step on, its gradients are not."""

    def __init__(self, *, first: int, stop: int) -> None:
        super().__init__()
        self.overflows: Sequence[int] = range(first, stop)

    def objective(
        self, player: str, batch: FramePairs, step: int, generator: Generator
    ) -> Objective:
        found = super().objective(player, batch, step, generator)
        if step not in self.overflows:
            return found
        steep = sum((0 * p).sqrt().sum() for p in self.players[player].parameters())
        return replace(found, loss=found.loss + steep)


class Scaled(SGD):
    """Skips what is not finite, as a loss scaler lets an optimiser do."""

    def step(self, closure=None):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        if all(gradient is None or gradient.isfinite().all() for gradient in gradients):
            return super().step(closure)
        return None


def run_scaled(plan: Plan, game: Game) -> None:
    worker = AcceleratedWorker()
    worker.scales_loss = True
    optimisers: dict[str, Optimizer] = {
        name: Scaled(player.parameters(), 0.1) for name, player in game.players.items()
    }
    session.run(plan, game, toy_batches, worker=worker, audience=Listener(), optimisers=optimisers)


def test_gradients_that_overflow_at_every_step_of_a_scaler_are_a_fault_in_the_end(tmp_path):
    plan = spiky_plan(tmp_path, steps=60, max_rollbacks=0)
    begun, last = 5, 5 + MOST_OVERFLOWS + plan.loop.max_skipped
    with pytest.raises(UserError, match=rf"^step {last}: .* the gradient, of finite terms, is not"):
        run_scaled(plan, Overflowing(first=begun, stop=60))


def test_as_many_as_a_scaler_needs_to_find_its_scale_are_none(tmp_path):
    """Twice as many in a row as it may need, with one sound step between."""
    plan = spiky_plan(tmp_path, steps=2 * MOST_OVERFLOWS + 1, max_skipped=0)
    game = Overflowing(first=0, stop=plan.loop.steps)
    game.overflows = [step for step in game.overflows if step != MOST_OVERFLOWS]
    run_scaled(plan, game)
    assert state(plan, plan.loop.steps).skipped == 0
