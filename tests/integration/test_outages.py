"""A run whose bucket is away for a while: it trains on, misses checkpoints, and loses nothing."""

import time
from collections.abc import Callable, Iterator, Mapping

import pytest
import torch

from selfseg import storage
from selfseg.contracts import FramePairs
from selfseg.stores import patience
from selfseg.training import checkpoint, session
from selfseg.training.journal import read_lines
from selfseg.training.worker import AcceleratedWorker
from tests.integration.broken_network import Proxy
from tests.toy import Game, Listener, toy_batches, toy_plan

STEPS, EVERY = 40, 4
AWAY, NOTICED, BACK = 6, 10, 30
"""Steps: the bucket goes after a checkpoint; the next meets that; it returns many later."""


@pytest.fixture(autouse=True)
def _tell_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "TELL_AFTER_S", 0)


def train(
    run_url: str, listener: Listener, events: Mapping[int, Callable[[], object]]
) -> session.Plan:
    def open_batches(step: int) -> Iterator[FramePairs]:
        for number, batch in enumerate(toy_batches(step), start=step):
            events.get(number, lambda: None)()
            yield batch

    plan = toy_plan(run_url, steps=STEPS, checkpoint_every=EVERY, keep_checkpoints=99)
    worker = AcceleratedWorker()
    session.run(plan, Game(dropout=0.5), open_batches, worker=worker, audience=listener)
    return plan


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def test_a_run_trains_on_while_its_bucket_is_away_and_ends_as_if_nothing_had_been(
    prefix: str, proxy: Proxy, tmp_path, monkeypatch
):
    listener = Listener()
    told: list[str] = []
    monkeypatch.setattr(patience._outages, "tell", told.append)

    def go_away() -> None:
        until(lambda: listener.checkpoints == [EVERY])
        proxy.down = True

    events = {
        AWAY: go_away,
        NOTICED: lambda: until(storage.is_waiting),
        BACK: lambda: setattr(proxy, "down", False),
    }
    plan = train(prefix, listener, events)
    due = range(EVERY, STEPS + 1, EVERY)
    missed = [step for step in due if NOTICED < step < BACK]
    left_out = [int(n.split()[1].strip(":")) for n in listener.notes() if "no checkpoint" in n]
    assert left_out[: len(missed)] == missed
    assert listener.checkpoints == [step for step in due if step not in left_out]
    assert listener.checkpoints[:2] == [4, 8]
    assert listener.checkpoints[-1] == STEPS
    assert "the store is away" in told[0]
    assert "answers again" in told[-1]
    assert [line["step"] for line in read_lines(prefix)] == list(range(STEPS))
    undisturbed = train(str(tmp_path), Listener(), {})
    ends = [checkpoint.load(checkpoint.step_url(p.run_url, STEPS))[0] for p in (plan, undisturbed)]
    assert all(torch.equal(ends[0].weights[n], ends[1].weights[n]) for n in ends[1].weights)


def test_a_checkpoint_is_not_committed_before_the_journal_of_its_steps(prefix: str, proxy: Proxy):
    """A kill just after the bucket is back leaves no gap: what is resumed from is told of."""
    listener, known = Listener(), []

    def go_away() -> None:
        until(lambda: listener.checkpoints == [EVERY])
        proxy.down = True

    def come_back() -> None:
        proxy.down = False
        until(lambda: len(listener.checkpoints) == 2)
        known.extend(line["step"] for line in read_lines(prefix))

    train(prefix, listener, {AWAY: go_away, NOTICED: come_back})
    assert listener.checkpoints[:2] == [EVERY, 2 * EVERY]
    assert known == list(range(2 * EVERY))
    assert [line["step"] for line in read_lines(prefix)] == list(range(STEPS))


def test_a_bucket_that_never_returns_ends_the_run_in_one_line_and_it_goes_on_later(
    prefix: str, proxy: Proxy, monkeypatch
):
    monkeypatch.setenv("SELFSEG_STORAGE_PATIENCE", "1")
    listener = Listener()

    def go_away() -> None:
        until(lambda: listener.checkpoints == [EVERY])
        proxy.down = True

    with pytest.raises(storage.Unreachable, match=f"^{prefix}/.*: no connection to") as caught:
        train(prefix, listener, {AWAY: go_away})
    assert "\n" not in str(caught.value)
    proxy.down = False
    listener = Listener()
    train(prefix, listener, {})
    assert listener.notes()[0] == f"going on from step {EVERY}"
    assert [line["step"] for line in read_lines(prefix)] == list(range(STEPS))
