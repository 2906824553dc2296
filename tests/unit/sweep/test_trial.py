"""A trial on its way: what is done is not done again, and what is stopped stays stopped."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray.tune.schedulers import ASHAScheduler
from rich.console import Console

from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError, UserError
from selfseg.runtime.ray_train import record_of
from selfseg.runtime.sweep import Watch, scheduler, submitted
from selfseg.runtime.trial import Work, check_folders, take
from selfseg.sweep.plan import Cell, Halving, Trial, plan
from selfseg.sweep.ran import Ran, Span
from selfseg.sweep.results import read_result, write_result
from selfseg.training import checkpoint
from selfseg.training.checkpoint import TrainingState
from selfseg.training.run_folder import claim
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tests.unit.sweep.toy_sweep import STEPS, SWEEP, Pretence, rising, trials_of

WHOLE = Halving(rungs=1)
RUNGS = Halving(rungs=3, factor=3)


class Told:
    """Hears scores; after `enough` of them the trial is stopped."""

    def __init__(self, enough: int = 99) -> None:
        self.heard: list[tuple[int, float]] = []
        self._enough = enough

    def __call__(self, moment: int, score: float) -> None:
        self.heard.append((moment, score))
        if len(self.heard) == self._enough:
            raise InterruptedError


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
    take(trial, WHOLE, toy.work, Told())
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
    take(trial, WHOLE, work, Told())
    result = read_result(trial)
    assert result is not None
    assert result.clock == (1 + 2, 1 + 2 + 4 + 8)
    assert result.seconds == result.clock[-1]
    assert result.videos == ({"cow": 0.25}, {"cow": 0.5})
    assert result.score == 0.5


def test_a_trial_in_rungs_is_scored_at_each(tmp_path):
    trial = trials_of(tmp_path)[0]
    toy, told = Pretence({trial.name: {1: 0.1, 3: 0.2, 9: 0.3}}), Told()
    take(trial, RUNGS, toy.work, told)
    assert told.heard == [(1, 0.1), (3, 0.2), (9, 0.3)]
    assert [step for _, step in toy.trained] == [1, 3, 9]


def test_killed_after_a_rung_it_tells_that_again_and_trains_only_the_rest(tmp_path):
    trial = trials_of(tmp_path)[0]
    toy, told = Pretence(rising([trial])), Told()
    with pytest.raises(InterruptedError):
        take(trial, RUNGS, toy.work, Told(enough=2))
    take(trial, RUNGS, toy.work, told)
    assert [step for _, step in toy.trained] == [1, 3, 9]
    assert [moment for moment, _ in told.heard] == [1, 3, 9]


def test_a_trial_that_was_stopped_stays_so_unless_all_are_wanted_whole(tmp_path):
    trial = trials_of(tmp_path)[0]
    toy, told = Pretence(rising([trial])), Told()
    with pytest.raises(InterruptedError):
        take(trial, RUNGS, toy.work, Told(enough=1))
    result = read_result(trial)
    assert result is not None
    write_result(trial, result.override({"status": "stopped"}))
    take(trial, RUNGS, toy.work, told)
    assert told.heard == [(1, 0.9)]
    assert toy.trained == [(trial.name, 1)]
    take(trial, WHOLE, toy.work, Told())
    assert toy.trained == [(trial.name, 1), (trial.name, STEPS)]


def test_under_other_settings_a_result_does_not_count(tmp_path):
    trial, changed = trials_of(tmp_path)[0], trials_of(tmp_path, changes={"data.batch_size": 4})[0]
    take(trial, WHOLE, Pretence(rising([trial])).work, Told())
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


def test_of_six_trials_with_two_over_the_other_four_are_run(tmp_path):
    trials = trials_of(tmp_path)
    toy = Pretence(rising(trials))
    for place in (0, 3):
        take(trials[place], WHOLE, toy.work, Told())
    left = submitted(trials, WHOLE)
    assert left == [trials[place] for place in (1, 2, 4, 5)]
    for trial in left:
        take(trial, WHOLE, toy.work, Told())
    assert sorted(name for name, _ in toy.trained) == sorted(trial.name for trial in trials)
    assert submitted(trials, WHOLE) == []


def test_where_scores_decide_those_that_are_over_speak_first(tmp_path):
    trials = trials_of(tmp_path)
    take(trials[3], RUNGS, Pretence(rising(trials)).work, Told())
    first, *others = submitted(trials, RUNGS)
    assert first == trials[3]
    rest = [trials[place] for place in (0, 1, 2, 4, 5)]
    assert sorted(others, key=trials.index) == rest != others
    assert submitted(trials, RUNGS) == [first, *others]


def test_a_trial_that_only_tells_its_old_scores_again_is_not_among_those_that_ran(tmp_path):
    trials = trials_of(tmp_path)[:3]
    over, fresh, broken = trials
    toy, ran = Pretence(rising(trials)), Ran(at_once=1)
    take(over, RUNGS, toy.work, Told())
    by_name = {trial.name: trial for trial in trials}
    watch = Watch(by_name, len(trials), ran, Console(quiet=True))
    for trial in trials:
        known: Any = SimpleNamespace(config={"trial": trial.name}, pickled_error_file=None)
        watch.on_trial_start(1, [], known)
        if trial is broken:
            watch.on_trial_error(1, [], known)
            continue
        told = Told()
        take(trial, RUNGS, toy.work, told)
        assert len(told.heard) == 3
        watch.on_trial_complete(1, [], known)
    assert ran.names == [fresh.name, broken.name]
    assert [failure.trial for failure in ran.failures] == [broken.name]
    # Of two that ran one after the other, the first alone worked.
    assert 0 < ran.worked_s <= ran.busy_s <= ran.wall_s


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
    watch = Watch({trial.name: trial}, 1, ran, Console(quiet=True))
    known: Any = SimpleNamespace(config={"trial": trial.name}, pickled_error_file=None)
    watch.on_trial_start(1, [], known)
    write_journal(trial, [100.0] * STEPS)
    take(trial, WHOLE, Pretence(rising([trial])).work, Told())
    watch.on_trial_complete(1, [], known)
    assert ran.worked_s == pytest.approx(100, abs=1)


class TuneTrial:
    """What the scheduler needs to know of a trial."""

    def __init__(self, number: int) -> None:
        self.trial_id = str(number)


def test_halving_finds_the_best_of_six_in_less_than_half_of_their_steps(tmp_path):
    """The best comes first. Of the others none is above the cutoff, so each ends at rung 1."""
    trials = trials_of(tmp_path)
    toy = Pretence(rising(trials))
    _, decides = scheduler("asha", RUNGS)
    assert isinstance(decides, ASHAScheduler)
    for number, trial in enumerate(trials):
        known = TuneTrial(number)
        decides.on_trial_add(None, known)  # pyright: ignore[reportArgumentType]

        def tell(moment: int, score: float, known: TuneTrial = known) -> None:
            result = {"time": moment, "score": score}
            if decides.on_trial_result(None, known, result) == decides.STOP:  # pyright: ignore[reportArgumentType]
                raise InterruptedError

        with pytest.raises(InterruptedError):
            take(trial, RUNGS, toy.work, tell)
    last = dict(toy.trained)
    assert last == {trial.name: 9 if trial is trials[0] else 1 for trial in trials}
    assert sum(last.values()) / (STEPS * len(trials)) < 0.5


def test_population_based_training_is_refused_with_the_reason():
    with pytest.raises(UsageError, match=r"^--scheduler pbt: .*silently do nothing: take grid"):
        scheduler("pbt", RUNGS)
    with pytest.raises(UsageError, match=r"^--scheduler random: choose grid or asha"):
        scheduler("random", RUNGS)
