"""The suite of faults by itself: its schedule, and that it sees what a run lost or did twice."""

import json
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from selfseg.experiment import read_recipe
from selfseg.training import checkpoint, commit, session
from selfseg.training.worker import AcceleratedWorker
from tests.toy import Game, Listener, toy_batches, toy_plan
from tools.fault_suite import spied
from tools.fault_suite.history import (
    Attempt,
    faults_in_attempts,
    faults_in_journal,
    faults_in_state,
    read_attempts,
    same_bits,
    standstill_s,
    steps_redone,
)
from tools.fault_suite.kinds import KINDS
from tools.fault_suite.schedule import (
    CHECKPOINT_EVERY,
    LAST_STRIKE,
    METHODS,
    STEPS,
    schedule,
)
from tools.fault_suite.table import markdown
from tools.fault_suite.trial import Outcome, recipe

NAMES = tuple(KINDS)


def test_a_seed_decides_everything_and_another_seed_decides_otherwise():
    assert schedule(3, 50, NAMES, workers=2) == schedule(3, 50, NAMES, workers=2)
    assert schedule(3, 50, NAMES, workers=2) != schedule(4, 50, NAMES, workers=2)


def test_a_shorter_schedule_is_the_beginning_of_a_longer_one():
    assert schedule(0, 50, NAMES, workers=2)[:7] == schedule(0, 7, NAMES, workers=2)


def test_fifty_faults_are_of_all_kinds_at_least_ten_and_strike_both_methods():
    plan = schedule(0, 50, NAMES, workers=2)
    counts = Counter(each.kind for each in plan)
    assert len(NAMES) >= 10
    assert counts.keys() == set(NAMES)
    assert max(counts.values()) - min(counts.values()) <= 1
    twice = [kind for kind, count in counts.items() if count >= 2]
    for kind in twice:
        assert {each.method for each in plan if each.kind == kind} == set(METHODS)


def test_faults_strike_after_the_first_checkpoint_and_leave_the_run_something_to_do():
    steps = [each.step for each in schedule(0, 500, NAMES, workers=2)]
    assert min(steps) == CHECKPOINT_EVERY + 1
    assert max(steps) == LAST_STRIKE < STEPS
    assert len({each.rank for each in schedule(0, 50, NAMES, workers=2)}) == 2


@pytest.mark.parametrize("method", METHODS)
def test_the_recipes_are_as_long_as_the_schedule_believes(method):
    loop = read_recipe(str(recipe(method))).loop
    assert (loop.steps, loop.checkpoint_every) == (STEPS, CHECKPOINT_EVERY)


def attempt(first: int, stop: int, begun_at: float) -> Attempt:
    """An attempt that ends a step each second."""
    steps = tuple(range(first, stop))
    return Attempt(first, begun_at, first, steps, tuple(begun_at + 1 + s - first for s in steps))


WELL = [attempt(0, 10, begun_at=0), attempt(8, 20, begun_at=15)]


def wrong_with(attempts: list[Attempt], *, safe: int = 8) -> list[str]:
    return faults_in_attempts(attempts, steps=20, struck_at=12.0, safe=safe)


def test_a_run_that_went_on_from_its_newest_checkpoint_is_right():
    assert wrong_with(WELL) == []
    assert steps_redone(WELL) == 2
    # The last step before the fault ended at 10 s, the first one after it at 16 s.
    assert standstill_s(WELL, since=12.0) == 6.0


@pytest.mark.parametrize(
    ("attempts", "safe", "complaint"),
    [
        ([], 0, "did not begin at step 0"),
        ([attempt(0, 19, 0)], 8, "ended at step 19 of 20"),
        ([attempt(0, 10, 0), attempt(12, 20, 15)], 8, "a gap"),
        (WELL, 9, "went back to step 8 with step 9 saved"),
        ([replace(attempt(0, 20, 0), steps=(*range(19), 18))], 8, "not one after another"),
    ],
)
def test_what_is_lost_or_trained_twice_is_seen(attempts, safe, complaint):
    assert any(complaint in each for each in wrong_with(attempts, safe=safe))


def test_notes_are_read_by_attempt_and_a_line_that_was_cut_is_not(tmp_path):
    notes = tmp_path / "rank_0.jsonl"
    events = [("begin", 0), ("step", 0), ("step", 1), ("begin", 1), ("step", 1)]
    lines = [
        json.dumps({"event": event, "pid": 7, "step": step, "time": float(at)})
        for at, (event, step) in enumerate(events)
    ]
    notes.write_text("\n".join(lines) + '\n{"event": "st')
    assert [each.steps for each in read_attempts(notes)] == [(0, 1), (1,)]
    assert read_attempts(tmp_path / "none") == []


def train(folder: Path, name: str, *, learning_rate: float = 1e-2, stop: int | None = None) -> str:
    """Train the game in this process, noted as workers' runs are; return the run's URL."""
    plan = toy_plan(folder / name, learning_rate=learning_rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "Journal", partial(spied.NotingJournal, folder))
        session.run(
            replace(plan, until=stop),
            Game(),
            toy_batches,
            worker=AcceleratedWorker(),
            audience=Listener(),
        )
    return plan.run_url


def test_a_run_that_was_stopped_and_went_on_is_found_equal_and_another_is_not(tmp_path):
    reference = train(tmp_path, "whole")
    train(tmp_path, "stopped", stop=8)
    stopped = train(tmp_path, "stopped")
    assert faults_in_journal(stopped, reference) == []
    assert faults_in_state(stopped, reference, steps=12) == []
    first, *stopped_twice = read_attempts(tmp_path / "rank_0.jsonl")
    assert first.steps == tuple(range(12))
    assert [each.first for each in stopped_twice] == [0, 8]

    other = train(tmp_path, "other", learning_rate=2e-2)
    assert "other losses from step 1 on" in faults_in_journal(other, reference)[0]
    assert "last checkpoint: other weights" in faults_in_state(other, reference, steps=12)


def test_a_step_that_is_missing_or_there_twice_in_the_journal_is_named(tmp_path):
    reference = train(tmp_path, "whole")
    run = train(tmp_path, "cut")
    segment = max((tmp_path / "cut" / "metrics" / "rank_00000").iterdir())
    lines = segment.read_text().splitlines(keepends=True)
    segment.write_text("".join(lines[:-1]))
    assert faults_in_journal(run, reference)[0].endswith("not every step once: [11]")
    segment.write_text("".join([*lines, lines[-1]]))
    assert "not every step once" in faults_in_journal(run, reference)[0]


def test_a_run_whose_last_checkpoint_is_damaged_is_not_right(tmp_path):
    reference, run = train(tmp_path, "whole"), train(tmp_path, "run")
    (Path(checkpoint.step_url(run, 12)) / commit.WEIGHTS).write_bytes(b"")
    assert any("damaged" in each for each in faults_in_state(run, reference, steps=12))


def test_bits_are_compared_not_values():
    assert same_bits({"a": torch.tensor([torch.nan])}, {"a": torch.tensor([torch.nan])})
    assert not same_bits(torch.tensor(0.0), torch.tensor(-0.0))
    assert not same_bits(torch.zeros(2), torch.zeros(1, 2))
    assert not same_bits([torch.zeros(1)], [torch.zeros(1), torch.zeros(1)])


def test_the_table_has_a_row_for_each_kind_and_counts_what_went_wrong():
    plan = schedule(0, 2, ("node lost", "disk full"), workers=2)
    right = Outcome(plan[0], bit_equal=True, redone=3, standstill_s=2.0)
    text = markdown(0, [right, Outcome(plan[1], wrong=["other weights"])])
    assert f"| {plan[0].kind} | 1 | 1 | 1 | 3 | 2.0 |" in text
    assert f"| {plan[1].kind} | 1 | 0 | 0 | 0 | 0.0 |" in text
    assert "| all | 2 | 1 | 1 | 1.5 | 1.0 |" in text
