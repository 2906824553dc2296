"""Checkpoints are written beside training: of a copy, one after another, and none is lost."""

import threading
import time
from collections.abc import Sequence

import pytest
import torch

from selfseg.errors import UserError
from selfseg.training import saving
from selfseg.training.checkpoint import TrainingState
from selfseg.training.saving import Saver

PATIENCE_S = 20


def state(step: int, weight: torch.Tensor) -> TrainingState:
    moments = {"state": {0: {"exp_avg": weight}}, "param_groups": [{"betas": (0.9, 0.99)}]}
    return TrainingState(
        step=step,
        skipped=0,
        weights={"w": weight},
        average={"w": weight},
        optimisers={"one": moments},
        worker={},
    )


def test_what_is_written_is_the_state_at_its_step_though_training_goes_on():
    may_write, written = threading.Event(), []

    def write(saved: TrainingState, lines: Sequence[str]) -> None:
        assert not lines
        assert may_write.wait(PATIENCE_S)
        written.append(saved)

    saver, weight = Saver(write), torch.zeros(3)
    saver.begin(state(1, weight))
    assert written == []
    weight += 1
    may_write.set()
    saver.close()
    (saved,) = written
    moments = saved.optimisers["one"]
    assert moments["param_groups"] == [{"betas": (0.9, 0.99)}]
    for tensor in (saved.weights["w"], saved.average["w"], moments["state"][0]["exp_avg"]):
        assert torch.equal(tensor, torch.zeros(3))


def test_checkpoints_are_written_one_after_another():
    steps, writing = [], threading.Lock()

    def write(saved: TrainingState, lines: Sequence[str]) -> None:
        assert not lines
        assert writing.acquire(blocking=False)
        steps.append(saved.step)
        writing.release()

    saver = Saver(write)
    for step in range(5):
        saver.begin(state(step, torch.zeros(1)))
    saver.close()
    assert steps == list(range(5))


@pytest.mark.parametrize("then", ["begin", "close"])
def test_a_checkpoint_that_could_not_be_written_ends_the_run(then):
    def write(saved: TrainingState, lines: Sequence[str]) -> None:
        del saved, lines
        raise UserError("s3://bucket/run: access denied")

    saver = Saver(write)
    saver.begin(state(1, torch.zeros(1)))
    with pytest.raises(UserError, match="access denied"):
        saver.begin(state(2, torch.zeros(1))) if then == "begin" else saver.close()
    saver.close()


def test_there_may_be_nothing_to_write():
    saver = Saver(lambda *_: None)
    saver.finish()
    saver.close()


@pytest.mark.parametrize("must", [False, True])
def test_while_a_store_is_away_a_checkpoint_is_left_out_unless_it_must_be(must, monkeypatch):
    monkeypatch.setattr("selfseg.storage.is_waiting", lambda: True)
    store_is_back, steps = threading.Event(), []

    def write(saved: TrainingState, lines: Sequence[str]) -> None:
        assert not lines
        assert store_is_back.wait(PATIENCE_S)
        steps.append(saved.step)

    saver = Saver(write)
    assert saver.begin(state(1, torch.zeros(1)), must=must)
    if must:
        threading.Timer(0.1, store_is_back.set).start()
    assert saver.begin(state(2, torch.zeros(1)), must=must) == must
    store_is_back.set()
    saver.close()
    assert steps == ([1, 2] if must else [1])


def test_a_checkpoint_that_takes_too_long_holds_training_up_once(monkeypatch):
    """A store that is silent is not known to be away yet."""
    monkeypatch.setattr(saving, "SLOWEST_S", 1.0)
    answer, steps = threading.Event(), []

    def write(saved: TrainingState, lines: Sequence[str]) -> None:
        assert not lines
        assert answer.wait(PATIENCE_S)
        steps.append(saved.step)

    saver, began = Saver(write), time.monotonic()
    assert saver.begin(state(1, torch.zeros(1)))
    waited = []
    for step in (2, 3):
        assert not saver.begin(state(step, torch.zeros(1)), must=False)
        waited.append(time.monotonic() - began)
    assert 1.0 <= waited[0] <= waited[1] < waited[0] + 0.9
    answer.set()
    saver.finish()
    assert saver.begin(state(4, torch.zeros(1)), must=False)
    saver.close()
    assert steps == [1, 4]
