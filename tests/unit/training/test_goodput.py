"""The ledger counts every second of a run once, whatever became of it."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from selfseg import storage
from selfseg.training import attempts, goodput, starting
from selfseg.training.attempts import Attempt, Command, Lost, read_attempts
from selfseg.training.audience import Failure
from selfseg.training.goodput import Goodput, best_interval_s, count_time, expected_share
from selfseg.training.journal import FLUSH_S, read_lines


def line(step: int, time: float, **changes: float) -> dict[str, object]:
    """Ends at `time`; by itself it waits 1 s and computes 2 s."""
    costs = {"wait_s": 1.0, "compute_s": 2.0, "checkpoint_s": 0.0, "rank": 0}
    return {"step": step, "time": time, **costs, **changes}


def attempt(number: int, launched: float, began: float, first_step: int, **rest) -> Attempt:
    return Attempt(number, "", launched, began, first_step, rest.pop("workers", 1), **rest)


def write_lines(run: Path, rank: int, lines: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(each) + "\n" for each in lines)
    name = f"metrics/rank_{rank:05d}/{lines[0]['step']:08d}.jsonl"
    storage.write(storage.join(str(run), name), text.encode())


def test_each_second_of_a_run_that_was_killed_and_given_again_is_counted_once():
    # Command A: 100 .. killed. Its first worker begins at 104; the first batch comes at 110 and
    # step 0 ends at 112, then steps 1 .. 3 of 3 s each end at 115, 118, 122 (1 s of checkpoint).
    # Steps 4 and 5 end at 125, 128 and are lost; the failure was told of at 128.5.
    # Worker 2 begins at 140, its batch comes at 145: steps 4 .. 6 end at 147, 150, 153.
    # Then the driver is killed too. Command B: 200. Its batch comes at 215, steps 7, 8 end at
    # 217 and 220.5 (half a second between them that no line accounts for); the last checkpoint is
    # committed at 222, the cluster is gone at 224.
    lines = [
        *(line(k, t) for k, t in enumerate((112.0, 115.0, 118.0))),
        line(3, 122.0, checkpoint_s=1.0),
        *(line(k, t) for k, t in zip((4, 5, 6), (147.0, 150.0, 153.0), strict=True)),
        line(7, 217.0),
        line(8, 220.5),
    ]
    found = count_time(
        [
            attempt(1, 100.0, 104.0, 0),
            attempt(2, 100.0, 140.0, 4, lost=(Lost(1, 2, 123.0, 128.5),)),
            attempt(3, 200.0, 205.0, 7, ended=222.0),
        ],
        [Command(200.0, 224.0)],
        lines,
    )
    assert found == Goodput(
        productive_s=4 * 2 + 3 * 2 + 2 * 2,
        startup_s=110 - 100,
        wait_s=3 + 2 + 1,  # the first batch of each attempt is part of its start
        checkpoint_s=1 + (222 - 220.5),
        # After the first failure; the last words of the driver, of which 20 s may be missing; and
        # the start of the command that was given again.
        recovery_s=(145 - 128.5) + FLUSH_S + (215 - 200),
        redone_s=128.5 - 122,
        other_s=0.5 + (224 - 222),
        idle_s=200 - (153 + FLUSH_S),
        attempts=3,
        redone_steps=2,
    )
    assert found.total_s + found.idle_s == pytest.approx(224 - 100)
    assert found.share == pytest.approx(18 / (124 - found.idle_s))


def test_a_command_that_is_given_again_at_once_leaves_no_idle_time():
    lines = [line(0, 105.0), line(1, 120.0)]
    found = count_time([attempt(1, 100.0, 101.0, 0), attempt(2, 110.0, 112.0, 1)], [], lines)
    assert found.idle_s == 0
    assert found.recovery_s == 118 - 105
    assert found.total_s == 20


def test_a_command_that_never_came_to_a_worker_counts_as_start_and_the_pause_after_it_not():
    found = count_time([attempt(1, 150.0, 152.0, 0)], [Command(100.0, 110.0)], [line(0, 160.0)])
    assert (found.startup_s, found.idle_s, found.productive_s) == (10 + 8, 40, 2)


def test_of_several_workers_the_one_that_waits_longest_holds_up_the_others():
    # Worker 0 has its batch after 1 s and computes for 8, of which it waits 3 s in the average
    # for worker 1, whose batch took 4 s.
    lines = [
        line(0, 103.0),
        line(0, 103.0, rank=1),
        line(1, 112.0, wait_s=1.0, compute_s=8.0),
        line(1, 112.0, wait_s=4.0, compute_s=5.0, rank=1),
    ]
    found = count_time([attempt(1, 100.0, 100.0, 0, workers=2)], [], lines)
    assert (found.startup_s, found.wait_s, found.productive_s) == (1, 4, 2 + 5)


def test_a_run_that_falls_back_twice_counts_what_both_attempts_lost():
    # Attempt 1 takes steps 0 .. 5; attempt 2 goes on at 4; attempt 3 finds that damaged, and
    # begins anew: nothing of the first two is left.
    earlier = [
        attempt(1, 100.0, 101.0, 0),
        attempt(2, 100.0, 130.0, 4, lost=(Lost(1, 2, 113.0, 119.0),)),
    ]
    third = attempt(3, 100.0, 150.0, 0, lost=(Lost(1, 4, 103.0, 113.0), Lost(2, 3, 135.0, 145.0)))
    found = count_time([*earlier, third], [], [line(0, 160.0)])
    assert found == Goodput(
        productive_s=2,
        startup_s=3,
        wait_s=0,
        checkpoint_s=0,
        recovery_s=(135 - 119) + (158 - 145),
        redone_s=16 + 10,
        other_s=0,
        idle_s=0,
        attempts=3,
        redone_steps=9,
    )


def begin(at: float, monkeypatch: pytest.MonkeyPatch, run: Path, first_step: int, **rest):
    """Begin an attempt at a moment of the test's choice."""
    monkeypatch.setattr(starting, "time", SimpleNamespace(time=lambda: at))
    settings = {"workers": 1, "launched": None, "failure": None, "tell": print, **rest}
    return starting.begin(str(run), first_step=first_step, **settings)


def test_what_a_stopped_attempt_took_in_vain_is_noted_before_its_lines_are_dropped(
    tmp_path, monkeypatch
):
    first = begin(100.0, monkeypatch, tmp_path, 0)
    write_lines(tmp_path, 0, [line(k, 103.0 + 3 * k) for k in range(7)])
    failure = Failure("worker 1 was lost", step=9, time=127.5)
    second = begin(140.0, monkeypatch, tmp_path, 4, launched=100.0, failure=failure)
    assert second.cause == "worker 1 was lost"
    # Step 3 ended at 112. Lines of steps 4 .. 6 were written; two more steps had been told of.
    assert second.lost == (Lost(1, 5, 113.0, 127.5),)
    third = begin(150.0, monkeypatch, tmp_path, 4)
    assert third.lost == ()  # the lines of attempt 1 can still be read, but were counted before
    assert read_attempts(str(tmp_path)) == [first, second, third]
    assert [each.cause for each in (first, third)] == ["the command", "the command was given again"]


def test_an_attempt_of_the_same_command_that_no_failure_began_says_what_did(tmp_path, monkeypatch):
    begin(100.0, monkeypatch, tmp_path, 0, launched=90.125)
    again = begin(120.0, monkeypatch, tmp_path, 4, launched=90.125, workers=2)
    assert again.cause == "workers were moved, or became more or fewer"


def test_a_command_says_when_it_ended_also_when_it_failed(tmp_path):
    with pytest.raises(ZeroDivisionError), attempts.command(str(tmp_path), 100.25):
        raise ZeroDivisionError
    (found,) = attempts.read_commands(str(tmp_path))
    assert found.began == 100.25
    assert found.ended > 100.25


def test_how_a_command_ended_is_not_kept_back_by_a_store_that_is_away(tmp_path, monkeypatch):
    patience: list[float] = []
    monkeypatch.setattr(storage, "write", lambda *_: patience.append(storage.patience_s()))
    with attempts.command(str(tmp_path), 100.25):
        assert storage.patience_s() > 0
    assert patience == [0.0]


def test_lines_of_workers_that_a_smaller_attempt_left_behind_do_not_hold(tmp_path, monkeypatch):
    begin(100.0, monkeypatch, tmp_path, 0, workers=2)
    for rank in (0, 1):
        write_lines(tmp_path, rank, [line(k, 103.0 + 3 * k, rank=rank) for k in range(4)])
    begin(120.0, monkeypatch, tmp_path, 2)
    write_lines(tmp_path, 0, [line(2, 125.0)])
    held = [(each["rank"], each["step"]) for each in read_lines(str(tmp_path))]
    assert held == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_a_run_without_a_record_of_attempts_has_no_ledger(tmp_path):
    assert goodput.read_goodput(str(tmp_path)) is None


def test_goodput_is_as_expected_where_it_can_be_told_by_hand():
    # Without failures only checkpoints cost: 90 of 100 seconds.
    assert expected_share(1e12, 10, 90, 60) == pytest.approx(0.9, rel=1e-6)
    # Seldom failures, free checkpoints: each costs the recovery and half an interval.
    assert expected_share(1e5, 0, 100, 50) == pytest.approx(1 - (50 + 100 / 2) / 1e5, rel=1e-5)


def test_no_interval_beats_the_best_one_while_checkpoints_are_cheap_beside_failures():
    mean, cost = 3600.0, 2.0
    best = best_interval_s(mean, cost)
    assert best == pytest.approx((2 * 3600 * 2) ** 0.5)
    shares = [expected_share(mean, cost, best * factor, 30) for factor in (0.5, 0.8, 1, 1.25, 2)]
    assert max(shares) == shares[2]
