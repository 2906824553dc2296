"""A worker that hangs is named, its stack is kept, and its process ends."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from selfseg.training import checkpoint, session, watchdog
from selfseg.training.trainee import Leaving, Plan
from selfseg.training.watchdog import EXIT_STATUS, Place, Watchdog, Whereabouts, describe, speakers
from selfseg.training.worker import AcceleratedWorker
from tests.toy import Alone, Game, Listener, toy_batches, toy_plan

ROOT = Path(__file__).parents[3]


def test_who_keeps_the_others_waiting_is_named_with_the_call():
    waits = Place("gradient averaging", waits=True, seconds=62.4)
    places = {0: waits, 1: Place("next batch", waits=False, seconds=63.2), 2: waits}
    assert describe(places) == (
        "worker 1 has been in `next batch` for 63 s; workers 0, 2 wait in `gradient averaging`"
    )


def test_a_worker_whose_whole_process_stands_still_is_named_by_the_others():
    waits = Place("finite check", waits=True, seconds=61)
    frozen = Place("step 7", waits=False, seconds=0.1, silent_s=64)
    assert describe({0: waits, 1: frozen}) == (
        "worker 1 has not been heard of for 64 s; it was in `step 7`; "
        "worker 0 waits in `finite check`"
    )
    assert speakers({0: frozen, 1: waits}, limit_s=60) == [1]


def test_after_a_call_a_worker_is_where_it_was_and_its_time_begins_anew(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(watchdog.time, "monotonic", lambda: now[0])
    here = Whereabouts()
    here.step_done(4)
    now[0] = 5
    with here.doing("next batch"):
        now[0] = 8
        assert here.place() == Place("next batch", waits=False, seconds=3)
    now[0] = 10
    assert here.place() == Place("step 4", waits=False, seconds=2)


def test_while_nothing_is_written_a_writer_is_never_late():
    assert Whereabouts(call="").place().seconds == 0


HANGS = """
    import time
    from functools import partial
    from selfseg.training import checkpoint, session, watchdog
    from selfseg.training.worker import AcceleratedWorker
    from tests.toy import Game, Listener, toy_batches, toy_plan

    class Meeting:
        said = {}
        def beat(self, rank, place): self.said = {rank: place}
        def places(self): return self.said
        def tell(self, note): print(note, flush=True)

    def stuck_in_a_disk():
        time.sleep(3600)

    def open_batches(step):
        for number, batch in enumerate(toy_batches(step), step):
            if number == 5:
                stuck_in_a_disk()
            yield batch

    watchdog.BEAT_S = 0.1
    plan = toy_plan(RUN, hang_timeout_s=1)
    session.run(
        plan, Game(), open_batches, worker=AcceleratedWorker(), audience=Listener(),
        meeting=Meeting(),
    )
"""


def test_a_process_that_hangs_ends_and_leaves_its_stack_and_its_checkpoint(tmp_path):
    program = textwrap.dedent(HANGS).replace("RUN", repr(str(tmp_path)))
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == EXIT_STATUS
    assert ended.stdout == (
        f"worker 0 has been in `next batch` for 1 s; stacks in {tmp_path}/hangs\n"
    )
    assert "stuck_in_a_disk" in (tmp_path / "hangs/rank_00000.txt").read_text()
    assert (tmp_path / "checkpoints/step_00000004/COMMIT.json").exists()


def test_a_worker_that_went_on_at_the_last_moment_is_not_ended(tmp_path, monkeypatch):
    ended: list[int] = []
    monkeypatch.setattr(watchdog, "BEAT_S", 0.01)
    monkeypatch.setattr(os, "_exit", ended.append)
    place = Whereabouts()
    place.step_done(1)
    late = Watchdog(0, Alone(), [place], timeout_s=0.0, run_url=str(tmp_path))
    monkeypatch.setattr(watchdog, "keep_stack", lambda *_: place.step_done(2))
    late._end(60.0)
    assert ended == []
    late._end(0.0)
    assert ended == [EXIT_STATUS]


def weights(plan: Plan) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(checkpoint.step_url(plan.run_url, 12))[0].weights)


def leave_after(steps: int, plan: Plan) -> None:
    """Train until a worker is told to leave in that step."""
    asked = iter([False] * (steps - 1) + [True])
    worker = AcceleratedWorker(must_leave=lambda: next(asked))
    session.run(plan, Game(dropout=0.5), toy_batches, worker=worker, audience=Listener())


def test_a_worker_told_to_leave_saves_where_it_is_and_goes_on_bit_for_bit(tmp_path):
    whole, left = (toy_plan(tmp_path / name) for name in ("whole", "left"))
    with pytest.raises(Leaving, match=r"^saved at step 7$"):
        leave_after(7, left)
    listeners = [Listener(), Listener()]
    for plan, listener in zip((whole, left), listeners, strict=True):
        game, worker = Game(dropout=0.5), AcceleratedWorker()
        session.run(plan, game, toy_batches, worker=worker, audience=listener)
    assert listeners[1].notes() == ["going on from step 7"]
    one, other = weights(whole), weights(left)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_told_at_the_last_step_the_run_is_simply_done(tmp_path):
    plan = toy_plan(tmp_path)
    leave_after(12, plan)
    assert weights(plan)
