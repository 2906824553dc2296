"""What the sweeps' options come to."""

from dataclasses import replace
from typing import Any

import command
import pytest

from selfseg.runtime import ray_train
from selfseg.runtime.trial import Work, take
from selfseg.sweep.plan import Cell, Halving, Measure, Size, Sweep, plan
from selfseg.sweep.scoring import Ground
from tests.unit.sweep.toy_sweep import STEPS, SWEEP, trials_of


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
    monkeypatch.setattr(command, "slots", lambda workers: 1)
    told = ["--collection", "videos", "--output", f"{tmp_path}/", *options]
    args = command.build_parser(toy).parse_args(told)
    videos: Any = Videos()
    work = command.work_of(SWEEP, args, videos, Ground())
    for trial in trials_of(tmp_path):
        work.train(trial, STEPS)
    assert len({how["run_url"] for how in asked}) == 6
    assert {(how["wandb"], how["group"]) for how in asked} == {
        (mode, f"proposal 4, {tmp_path.name}")
    }


def test_the_chosen_cell_is_tested_after_the_rounds_by_which_it_was_ranked(tmp_path, monkeypatch):
    cell = Cell({"a": "1"}, "dystab_bootstrap_cpu", rounds=(1, 2))
    trials = plan(
        replace(SWEEP, cells=(cell,)), output=str(tmp_path), seeds=1, changes={}, depends_on={}
    )
    records = [{"j_mean": 0.5, "round": number, "sequences": {}} for number in cell.rounds]
    work = Work(train=lambda trial, step: None, score=lambda trial, step: records)
    take(trials[0], trials[0].steps, Halving(rungs=1), work)
    asked: list[Measure] = []

    def tested(url: str, *, measure: Measure, **options: object) -> list[dict[str, Any]]:
        del url, options
        asked.append(measure)
        return records

    monkeypatch.setattr(command, "score_test", tested)
    told = ["--collection", "videos", "--output", str(tmp_path)]
    args = command.build_parser(toy).parse_args(told)
    command.chosen_of(trials, command.results_of(trials), Ground(), args)
    assert [measure.rounds for measure in asked] == [(1, 2)]
