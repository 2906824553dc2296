"""What the sweeps' options come to."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import command
import pytest

from selfseg.runtime import ray_train
from selfseg.runtime.trial import Work, take
from selfseg.sweep.choice import Chosen
from selfseg.sweep.plan import Cell, Halving, Measure, Size, Sweep, plan
from selfseg.sweep.results import Failure, read_results
from selfseg.sweep.scoring import Ground
from tests.unit.sweep.toy_sweep import STEPS, SWEEP, trials_of

FAILURE = Failure(trial="a=2,seed=0", cause="ValueError a bug", traceback="")


class Videos:
    """What the work needs to know of a collection."""

    url = "videos"
    manifest_id = "0" * 64


def toy(size: Size) -> Sweep:
    del size
    return SWEEP


@pytest.mark.parametrize(("options", "mode"), [([], None), (["--wandb", "offline"], "offline")])
def test_all_trials_go_to_weights_and_biases_as_one_group_where_that_is_asked_for(
    options, mode, tmp_path, monkeypatch
):
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(ray_train, "train", lambda config, **how: asked.append(how))
    monkeypatch.setattr(command, "neighbours", lambda workers: 3)
    told = ["--collection", "videos", "--output", f"{tmp_path}/", *options]
    args = command.build_parser(toy).parse_args(told)
    videos: Any = Videos()
    work = command.work_of(SWEEP, args, videos, Ground(), 0.0)
    for trial in trials_of(tmp_path):
        work.train(trial, STEPS)
    assert len({how["run_url"] for how in asked}) == 6
    assert {(how["wandb"], how["group"]) for how in asked} == {
        (mode, f"proposal 4, {tmp_path.name}")
    }
    assert {how["beside"] for how in asked} == {3}


class Scored:
    """Trials of two rounds that all have one score, and what is asked of the test part."""

    def __init__(self, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cell = Cell({"a": "1"}, "dystab_bootstrap_cpu", rounds=(1, 2))
        sweep = replace(SWEEP, cells=(cell,))
        self.trials = plan(sweep, output=str(output), seeds=1, changes={}, depends_on={})
        self._records = [{"j_mean": 0.5, "round": each, "sequences": {}} for each in cell.rounds]
        work = Work(train=lambda trial, step: None, score=lambda trial, step: self._records)
        take(self.trials[0], self.trials[0].steps, Halving(rungs=1), work)
        self.asked: list[Measure] = []
        monkeypatch.setattr(command, "score_test", self._tested)
        told = ["--collection", "videos", "--output", str(output)]
        self._args = command.build_parser(toy).parse_args(told)

    def choose(self, failures: list[Failure]) -> Chosen | None:
        results = read_results(self.trials)
        return command.chosen_of(self.trials, results, failures, Ground(), self._args)

    def _tested(self, url: str, *, measure: Measure, **options: object) -> list[dict[str, Any]]:
        del url, options
        self.asked.append(measure)
        return self._records


def test_the_chosen_cell_is_tested_after_the_rounds_by_which_it_was_ranked(tmp_path, monkeypatch):
    scored = Scored(tmp_path, monkeypatch)
    assert scored.choose([]) is not None
    assert [measure.rounds for measure in scored.asked] == [(1, 2)]


def test_nothing_is_chosen_and_the_test_part_not_looked_at_while_trials_have_failed(
    tmp_path, monkeypatch
):
    scored = Scored(tmp_path, monkeypatch)
    assert scored.choose([FAILURE]) is None
    assert scored.asked == []
