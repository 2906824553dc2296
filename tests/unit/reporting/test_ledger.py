"""What the page says about a run's time: parts that make up the whole, and the model beside it."""

from dataclasses import replace

import pytest

from selfseg.reporting.collect import Run
from selfseg.reporting.ledger import account
from selfseg.training.attempts import Attempt, Lost
from selfseg.training.goodput import best_interval_s, expected_share

EMPTY = Run("run", {}, {}, "", "", {}, "", [], [], {})


def steps(first: int, last: int, began: float) -> list[dict[str, object]]:
    """Steps of 1 s; every tenth comes after a checkpoint that held up training for 0.2 s."""
    lines, now = [], began
    for step in range(first, last):
        cost = 0.2 if step and step % 10 == 0 else 0.0
        now += 1 + cost
        costs = {"wait_s": 0.25, "compute_s": 0.75, "checkpoint_s": cost}
        lines.append({"step": step, "rank": 0, "time": now, **costs})
    return lines


def test_the_parts_make_up_the_whole_and_the_model_stands_beside_what_was_measured():
    # Attempt 1: launched at 0, its first batch at 10.25; steps 0 .. 29 end at 40.4, 5 more are
    # lost until 45.4. Attempt 2 has its batch at 65.65; steps 30 .. 59 end at 95.8 + 0.2.
    run = replace(
        EMPTY,
        attempts=[
            Attempt(1, "the command", 0.0, 5.0, 0, 1),
            Attempt(2, "worker 0 was lost", 0.0, 60.0, 30, 1, (Lost(1, 5, 40.65, 45.4),)),
        ],
        lines=[*steps(0, 30, 10.0), *steps(30, 60, 65.2)],
    )
    found = account(run)
    assert found is not None
    assert sum(part.share for part in found.parts) == pytest.approx(1)
    shown = {part.name: part.time for part in found.parts}
    assert shown["productive"] == "45 s"  # 60 of 0.75 s
    assert shown["start-up"] == "10 s"
    assert shown["redone"] == "5.00 s"
    assert [each.cause for each in found.attempts] == ["the command", "worker 0 was lost"]
    lost, model = found.notes
    assert lost == "At least 5 steps of stopped attempts had to be taken again."
    after_s = run.lines[-1]["time"] - 10.25
    recovery_s = 65.45 + 0.2 - 45.4
    expected = expected_share(after_s, 0.2, 10.0, recovery_s)
    assert f"In the long run the model expects {100 * expected:.0f} %" in model
    best = best_interval_s(after_s, 0.2)
    assert model.endswith(f"loop.checkpoint_every of about {best:.0f}.")


def test_a_run_that_was_never_stopped_is_not_compared_with_the_model():
    run = replace(
        EMPTY,
        attempts=[Attempt(1, "the command", 0.0, 5.0, 0, 1)],
        lines=steps(0, 30, 10.0),
    )
    found = account(run)
    assert found is not None
    assert (found.notes, found.attempts) == ([], [])


def test_an_attempt_that_was_paused_is_no_failure():
    run = replace(
        EMPTY,
        attempts=[
            Attempt(1, "the command", 0.0, 5.0, 0, 1, ended=41.0),
            Attempt(2, "the command was given again", 50.0, 55.0, 30, 1),
        ],
        lines=[*steps(0, 30, 10.0), *steps(30, 60, 65.2)],
    )
    found = account(run)
    assert found is not None
    assert not any("failure" in note for note in found.notes)


def test_a_run_of_before_there_was_a_record_has_no_account():
    assert account(replace(EMPTY, lines=steps(0, 30, 10.0))) is None
