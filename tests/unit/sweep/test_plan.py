"""A sweep's plan: which runs, by which names, under which settings."""

from dataclasses import dataclass, replace

import pytest

from selfseg.data.reading.loader import DataConfig
from selfseg.errors import UsageError
from selfseg.experiment import ExperimentConfig, read_recipe
from selfseg.sweep import plan as sweep_plan
from selfseg.sweep.plan import Cell, Halving, Measure, label, plan
from tests.unit.sweep import toy_sweep
from tests.unit.sweep.toy_sweep import SWEEP, trials_of


def test_a_trial_is_named_by_its_settings(tmp_path):
    first, *_, last = trials_of(tmp_path, seeds=2)
    assert first.name == "box=0.2-0.5,lambda=0.0005,seed=0"
    assert last.name == "box=0.2-0.8,lambda=0.005,seed=1"
    assert first.url == f"{tmp_path}/trials/{first.name}"


@pytest.mark.parametrize(
    ("value", "text"), [((0.2, 0.8), "0.2-0.8"), (5e-4, "0.0005"), ("none", "none"), (3, "3")]
)
def test_a_value_is_written_as_part_of_a_folders_name(value, text):
    assert label(value) == text


def test_each_trial_has_its_cells_settings_its_seed_and_what_all_have(tmp_path):
    for_all = {"data.batch_size": 4}
    trial = trials_of(tmp_path, seeds=2, changes=for_all)[-1]
    settings = trial.config.model_dump(mode="json")
    assert settings["method"]["detector"]["box"] == [0.2, 0.8]
    assert settings["method"]["mask_lambda"] == 0.005
    assert settings["seed"] == 1
    assert settings["data"]["batch_size"] == 4


def test_all_cells_have_their_first_seed_before_any_has_its_second(tmp_path):
    assert [trial.seed for trial in trials_of(tmp_path, seeds=2)] == [0] * 6 + [1] * 6


def test_a_seed_can_be_the_value_of_several_settings(tmp_path):
    twice = replace(SWEEP, seeded=("seed", "data.loader_processes"))
    trials = plan(twice, output=str(tmp_path), seeds=3, changes={}, depends_on={})[6:]
    assert {(each.config.seed, each.config.data.loader_processes) for each in trials} == {
        (1, 1),
        (2, 2),
    }


def test_a_cell_may_be_scored_after_other_rounds_than_the_sweep(tmp_path):
    by_rounds = replace(SWEEP.measure, rounds=(1, 2))
    in_rounds = Cell({"a": "1"}, "dystab_bootstrap_cpu")
    cells = in_rounds, Cell({"a": "2"}, in_rounds.recipe, rounds=(0, 1, 2))
    sweep = replace(SWEEP, measure=by_rounds, cells=cells)
    first, second = plan(sweep, output=str(tmp_path), seeds=1, changes={}, depends_on={})
    assert (first.measure.rounds, second.measure.rounds) == ((1, 2), (0, 1, 2))
    # What is scored after other rounds has another result.
    sweep = replace(sweep, cells=(cells[0], replace(cells[1], rounds=())))
    same, other = plan(sweep, output=str(tmp_path), seeds=1, changes={}, depends_on={})
    assert first.identity == same.identity
    assert second.identity != other.identity


def test_what_the_sweep_varies_cannot_be_set_for_all(tmp_path):
    with pytest.raises(UsageError, match=r"^--set method.mask_lambda: this sweep varies it"):
        trials_of(tmp_path, changes={"method.mask_lambda": 1.0})
    with pytest.raises(UsageError, match=r"^--set seed: this sweep varies it"):
        trials_of(tmp_path, changes={"seed": 3})


def test_a_setting_that_does_not_exist_is_named(tmp_path):
    misspelt = replace(SWEEP, cells=(Cell({"a": "1"}, "proposal_cpu", {"data.hieght": 1}),))
    with pytest.raises(UsageError, match=r"data\.hieght: no such setting"):
        plan(misspelt, output=str(tmp_path), seeds=1, changes={}, depends_on={})


def test_no_trial_may_leave_the_state_of_the_collection_that_all_learn_from(tmp_path):
    with pytest.raises(UsageError, match=r"^data.follow: all trials of a sweep learn from one"):
        trials_of(tmp_path, changes={"data.follow": True})


def test_another_collection_or_another_setting_makes_another_trial(tmp_path):
    one = trials_of(tmp_path)[0]
    same = trials_of(tmp_path)[0]
    other = trials_of(tmp_path, changes={"data.batch_size": 4})[0]
    grown = plan(SWEEP, output=str(tmp_path), seeds=1, changes={}, depends_on={"manifest": "1"})[0]
    assert one.identity == same.identity
    assert len({one.identity, other.identity, grown.identity}) == 3
    assert one.name == other.name == grown.name


def test_a_setting_that_is_younger_than_a_trial_does_not_make_it_another(tmp_path, monkeypatch):
    @dataclass(frozen=True, slots=True)
    class LaterMeasure(Measure):
        smoothed: bool = False

    class LaterData(DataConfig):
        flips: bool = False

    class LaterExperiment(ExperimentConfig):
        data: LaterData  # pyright: ignore[reportIncompatibleVariableOverride]  # DataConfig grown
        patience: int = 0

    def read_later(recipe: str) -> LaterExperiment:
        return LaterExperiment.model_validate(read_recipe(recipe).model_dump(mode="json"))

    before = [trial.identity for trial in trials_of(tmp_path)]
    monkeypatch.setattr(sweep_plan, "read_recipe", read_later)
    later = replace(SWEEP, measure=LaterMeasure(SWEEP.measure.name, SWEEP.measure.view))
    monkeypatch.setattr(toy_sweep, "SWEEP", later)
    assert [trial.identity for trial in trials_of(tmp_path)] == before
    for name in ("data.flips", "patience"):
        trial = trials_of(tmp_path, changes={name: True})[0]
        assert trial.identity not in before
    monkeypatch.setattr(
        toy_sweep, "SWEEP", replace(later, measure=LaterMeasure("j_mean", "static", smoothed=True))
    )
    assert trials_of(tmp_path)[0].identity not in before


def test_methods_that_leave_all_their_settings_at_the_defaults_are_told_apart(
    tmp_path, monkeypatch
):
    def read_plain(method: str) -> ExperimentConfig:
        tree = read_recipe("dystab_dynamic_cpu").model_dump(mode="json")
        return ExperimentConfig.model_validate({**tree, "method": {"name": method}})

    monkeypatch.setattr(sweep_plan, "read_recipe", read_plain)
    cells = (Cell({"a": "1"}, "dystab_dynamic"), Cell({"a": "2"}, "proposal_inpainters"))
    one, other = plan(
        replace(SWEEP, cells=cells), output=str(tmp_path), seeds=1, changes={}, depends_on={}
    )
    assert one.identity != other.identity


def test_rungs_are_in_the_part_of_a_run_that_shows_something(tmp_path):
    """Of 9 steps the first 4 train inpainters: 1/9, 3/9 and 9/9 of the other 5, rounded down."""
    config = trials_of(tmp_path)[0].config
    assert Halving(3, 3).steps(config) == (1, 3, 9)
    assert Halving(3, 3, after=("method.inpainter_steps",)).steps(config) == (5, 9)
    assert Halving(1, 3).steps(config) == (9,)


def test_a_run_that_ends_before_it_shows_anything_has_no_rung_but_its_end(tmp_path):
    config = trials_of(tmp_path)[0].config
    longer = Halving(3, 3, after=("loop.steps", "method.inpainter_steps"))
    assert longer.steps(config) == (9,)


def test_a_round_that_a_trial_does_not_have_cannot_score_it(tmp_path):
    cell = Cell({"a": "1"}, "dystab_bootstrap_cpu", rounds=(1, 3))
    short = {"method.initial_steps": 2, "method.static_steps": 1, "method.dynamic_steps": 1}
    changes = short | {"method.rounds": 2, "loop.steps": 6}
    told = r"^method\.rounds: trial a=1,seed=0 is scored after round 3 and ends after 2: let it"
    with pytest.raises(UsageError, match=told):
        plan(
            replace(SWEEP, cells=(cell,)),
            output=str(tmp_path), seeds=1, changes=changes, depends_on={},
        )  # fmt: skip
