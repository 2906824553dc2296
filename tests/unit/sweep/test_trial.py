"""A trial on its way: what is done is not done again, and what is stopped stays stopped."""

import io
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError, UserError
from selfseg.runtime.ray_train import record_of
from selfseg.runtime.sweep import FromQueue, Watch, run, rungs
from selfseg.runtime.trial import Work, check_folders, take
from selfseg.sweep.halving import Queue
from selfseg.sweep.plan import Cell, Halving, Trial, plan
from selfseg.sweep.ran import Ran, Span
from selfseg.sweep.results import read_result
from selfseg.training import checkpoint
from selfseg.training.checkpoint import TrainingState
from selfseg.training.run_folder import claim
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tests.unit.sweep.toy_sweep import STEPS, SWEEP, Pretence, rising, trials_of

WHOLE = Halving(rungs=1)
RUNGS = Halving(rungs=3, factor=3)


def write_journal(trial: Trial, seconds: Sequence[float]) -> None:
    """Leave in a trial's folder what a worker notes of its steps, which took so long."""
    segment = Path(trial.url) / "metrics" / "rank_00000" / "00000000.jsonl"
    segment.parent.mkdir(parents=True, exist_ok=True)
    steps = [
        {"step": n, "compute_s": each, "wait_s": 0, "checkpoint_s": 0}
        for n, each in enumerate(seconds)
    ]
    segment.write_text("".join(json.dumps(step) + "\n" for step in steps))


def test_a_whole_trial_trains_once_to_its_end_and_keeps_what_it_scored(tmp_path):
    trial, *others = trials_of(tmp_path)
    toy = Pretence(rising([trial]))
    take(trial, STEPS, WHOLE, toy.work)
    assert toy.trained == [(trial.name, STEPS)]
    result = read_result(trial)
    assert result is not None
    assert (result.status, result.steps, result.score) == ("finished", STEPS, 0.9)
    assert "sequences" not in result.records[0]
    assert read_result(others[0]) is None


def test_each_round_keeps_the_time_until_then_and_what_single_videos_scored(tmp_path):
    """Two steps lie before round 1 and two in it; step n took 2^n seconds."""
    sweep = replace(SWEEP, cells=(Cell({"a": "1"}, "dystab_bootstrap_cpu", rounds=(0, 1)),))
    short = {"initial_steps": 2, "rounds": 1, "static_steps": 1, "dynamic_steps": 1}
    changes = {f"method.{name}": value for name, value in short.items()} | {"loop.steps": 4}
    (trial,) = plan(sweep, output=str(tmp_path), seeds=1, changes=changes, depends_on={})
    write_journal(trial, [2**n for n in range(trial.steps)])
    records = [
        {"j_mean": j, "round": number, "sequences": {"cow": {"j": j, "f": 0.9, "frames": 3}}}
        for number, j in enumerate((0.25, 0.5))
    ]
    work = Work(train=lambda trial, step: None, score=lambda trial, step: records)
    take(trial, trial.steps, WHOLE, work)
    result = read_result(trial)
    assert result is not None
    assert result.clock == (1 + 2, 1 + 2 + 4 + 8)
    assert result.seconds == result.clock[-1]
    assert result.videos == ({"cow": 0.25}, {"cow": 0.5})
    assert result.score == 0.5


def test_a_trial_in_rungs_is_scored_at_each_and_once(tmp_path):
    trial = trials_of(tmp_path)[0]
    toy = Pretence({trial.name: {1: 0.1, 3: 0.2, 9: 0.3}})
    for step in (1, 3, 3, 9):
        result = take(trial, step, RUNGS, toy.work)
        assert result == read_result(trial)
    assert toy.trained == [(trial.name, step) for step in (1, 3, 9)]
    assert (result.status, result.rungs) == ("finished", {1: 0.1, 3: 0.2, 9: 0.3})


def test_a_trial_that_is_trained_beyond_a_rung_goes_to_the_next(tmp_path):
    """What it scored at a step that has passed nobody can tell."""
    trial = trials_of(tmp_path)[0]
    state = TrainingState(2, 0, {"w": torch.ones(1)}, None, {}, {})
    videos = str(tmp_path / "videos")
    write_collection(videos, {"swan": moving_disc(3)})
    checkpoint.save(trial.url, state, record_of(trial.config, Collection.open(videos), None))
    toy = Pretence(rising([trial]))
    assert take(trial, 1, RUNGS, toy.work).rungs == {3: 0.9}
    assert toy.trained == [(trial.name, 3)]


def test_under_other_settings_a_result_does_not_count(tmp_path):
    trial, changed = trials_of(tmp_path)[0], trials_of(tmp_path, changes={"data.batch_size": 4})[0]
    take(trial, STEPS, WHOLE, Pretence(rising([trial])).work)
    assert read_result(trial) is not None
    assert read_result(changed) is None


def test_a_setting_that_changed_on_the_same_output_is_told_with_the_trial_that_has_another(
    tmp_path,
):
    videos, output = str(tmp_path / "videos"), tmp_path / "sweep"
    write_collection(videos, {"swan": moving_disc(3)})
    collection = Collection.open(videos)
    first, second, *_ = trials_of(output)
    record = record_of(second.config, collection, None)
    claim(second.url, record, command="")
    state = TrainingState(1, 0, {"w": torch.ones(1)}, None, {}, {})
    checkpoint.save(second.url, state, record)
    check_folders([first, second], collection, output=str(output))
    batch = second.config.data.batch_size
    told = (
        f"--output {output}: trial {second.name}: was started with data.batch_size={batch} "
        f"(now {batch + 1}): repeat that command to go on, or give another --output"
    )
    changed = trials_of(output, changes={"data.batch_size": batch + 1})
    with pytest.raises(UsageError, match=f"^{re.escape(told)}$"):
        check_folders(changed, collection, output=str(output))


def test_a_file_that_is_no_result_is_named(tmp_path):
    trial = trials_of(tmp_path)[0]
    path = tmp_path / "trials" / trial.name / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text("[]")
    with pytest.raises(UserError, match=r"result\.json: not a trial's result: delete it"):
        read_result(trial)


def serve(tuned: FromQueue, trials: list[Trial], toy: Pretence, watch: Watch) -> list[str]:
    """Stand in for Ray Tune: one trial at a time; returns the names of those that failed."""
    failed: list[str] = []
    by_name = {trial.name: trial for trial in trials}
    for number in itertools.count():
        config = tuned.suggest(str(number))
        assert config is not None
        if isinstance(config, str):
            assert config == FromQueue.FINISHED
            return failed
        known: Any = SimpleNamespace(config=config, pickled_error_file=None)
        watch.on_trial_start(1, [], known)
        try:
            take(by_name[config["trial"]], config["step"], Halving(3, 2), toy.work)
        except KeyError:  # the toy was given no score
            watch.on_trial_error(1, [], known)
            tuned.on_trial_complete(str(number), error=True)
            failed.append(config["trial"])
        else:
            watch.on_trial_complete(1, [], known)
            tuned.on_trial_complete(str(number), {"score": 0})
    raise AssertionError


def test_ray_tune_is_told_who_goes_on_and_each_way_to_a_rung_is_accounted_for(tmp_path):
    """Three of six go to rung 2, one of them to the end; the fourth fails at once."""
    trials = trials_of(tmp_path)
    scores = rising(trials)
    del scores[trials[3].name]
    toy, ran = Pretence(scores), Ran(at_once=1)
    by_name = {trial.name: trial for trial in trials}
    said = io.StringIO()
    queue = Queue(trials, Halving(3, 2), {})
    watch = Watch(by_name, ran, Console(file=said, width=200), done=0)
    assert serve(FromQueue(queue, by_name), trials, toy, watch) == [trials[3].name]
    best, second, *_ = (trial.name for trial in trials)
    last = [(best, 4), (second, 4), (best, 9)]
    assert toy.trained == [(trial.name, 2) for trial in trials] + last
    assert ran.names == [trial.name for trial in trials]
    assert [failure.trial for failure in ran.failures] == [trials[3].name]
    assert len(ran.spans) == 9
    assert 0 < ran.worked_s <= ran.busy_s <= ran.wall_s
    first, *_, final = said.getvalue().splitlines()
    assert first.startswith(f"[0/6] {best}: 0.900 after 2 steps, ")
    assert final.startswith(f"[2/6] {best}: finished, 0.900 after 9 steps, ")


def test_those_that_others_have_left_behind_are_stopped_unless_all_are_wanted_whole(tmp_path):
    trials = trials_of(tmp_path)[:3]
    toy = Pretence(rising(trials))
    for trial, step in zip([*trials, trials[0], trials[0]], (1, 1, 1, 3, 9), strict=True):
        take(trial, step, RUNGS, toy.work)
    options = {"at_once": 1, "retries": 0, "console": Console(quiet=True)}
    assert run(trials, toy.work, halving=RUNGS, **options).names == []
    results = {trial.name: read_result(trial) for trial in trials}
    assert [result and result.status for result in results.values()] == [
        "finished", "stopped", "stopped",
    ]  # fmt: skip
    known = {name: result for name, result in results.items() if result is not None}
    queue = Queue(trials, Halving(rungs=1), known)
    assert [queue.next(), queue.next()] == [(trial.name, STEPS) for trial in trials[1:]]


def test_time_between_trials_is_told_from_that_when_none_is_left_to_begin():
    # Two places: a from 0 to 10, b from 0 to 4, then c from 6 to 16. Nobody is there from 4 to 6,
    # and once c, the last, has begun, from 10 to 16.
    spans = [Span("a", 0.0, 10.0), Span("b", 0.0, 4.0), Span("c", 6.0, 16.0)]
    ran = Ran(at_once=2, spans=spans, worked_s=18.0)
    assert ran.wall_s == 16
    assert ran.busy_s == 24
    assert ran.idle_share == pytest.approx(2 / 32)
    assert ran.left_over_share == pytest.approx(6 / 32)
    assert ran.starting_share == pytest.approx(6 / 24)


def test_of_a_trial_that_was_killed_only_the_steps_since_then_were_worked_this_time(tmp_path):
    trial = trials_of(tmp_path)[0]
    write_journal(trial, [100.0] * 8)
    ran = Ran(at_once=1)
    watch = Watch({trial.name: trial}, ran, Console(quiet=True), done=0)
    known: Any = SimpleNamespace(config={"trial": trial.name}, pickled_error_file=None)
    watch.on_trial_start(1, [], known)
    write_journal(trial, [100.0] * STEPS)
    take(trial, STEPS, WHOLE, Pretence(rising([trial])).work)
    watch.on_trial_complete(1, [], known)
    assert ran.worked_s == pytest.approx(100, abs=1)


def test_population_based_training_is_refused_with_the_reason():
    with pytest.raises(UsageError, match=r"^--scheduler pbt: .*silently do nothing: take grid"):
        rungs("pbt", RUNGS)
    with pytest.raises(UsageError, match=r"^--scheduler random: choose grid or asha"):
        rungs("random", RUNGS)
    assert rungs("asha", RUNGS) is RUNGS
    assert rungs("grid", RUNGS) == Halving(rungs=1)
