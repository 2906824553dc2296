"""The sweeps that come with the project: every cell is a run, and stands beside the paper."""

from pathlib import Path
from runpy import run_path
from typing import get_args

import pytest

from selfseg.config import dotted
from selfseg.reporting.papers import find_table, holds
from selfseg.reporting.sweep_table import compared
from selfseg.runtime.trial import Work, take
from selfseg.sweep.plan import Halving, Size, Sweep, plan
from selfseg.sweep.results import read_result

FOLDER = Path(__file__).parents[3] / "sweeps"
FILES = sorted(path.stem for path in FOLDER.glob("*_*.py"))
OURS = {"dystab_continual"}


def sweep_of(name: str, size: str) -> Sweep:
    return run_path(str(FOLDER / f"{name}.py"))["sweep"](size)


@pytest.mark.parametrize("size", get_args(Size))
@pytest.mark.parametrize("name", FILES)
def test_every_cell_has_settings_that_hold(name, size, tmp_path):
    sweep = sweep_of(name, size)
    trials = plan(sweep, output=str(tmp_path), seeds=1, changes={}, depends_on={})
    assert len(trials) == len(sweep.cells)
    assert len({trial.identity for trial in trials}) == len(trials)


@pytest.mark.parametrize("name", sorted({*FILES} - OURS))
def test_some_cell_stands_beside_every_row_with_a_number_of_ours(name, tmp_path):
    """Of the paper's size; a row that quotes others' work has none."""
    sweep = sweep_of(name, "full")
    assert sweep.column is not None
    published, columns = find_table(sweep.table)
    assert sweep.column in published.columns
    assert sweep.measure.name in {published.score, columns[sweep.column].score}
    trials = plan(sweep, output=str(tmp_path), seeds=1, changes={}, depends_on={})
    record = {"view": sweep.measure.view, "crf": False}
    rounds = sweep.measure.rounds or ((3,) if "bootstrap" in sweep.cells[0].recipe else (None,))
    facts = [
        {
            **dict(dotted(trial.config.model_dump(mode="json"))),
            **trial.cell.facts,
            **record,
            "round": number,
        }
        for trial in trials
        for number in rounds
    ]
    for row in published.rows:
        if row.ours and row.label not in ("any other", "Eq. 2, all cells instead of a draw"):
            wheres = [where for ours in row.ours for where in ours.where]
            assert any(holds(where, each) for where in wheres for each in facts), row.label


def test_table_4_has_the_papers_18_cells():
    cells = sweep_of("proposal_table4", "full").cells
    assert len(cells) == 18
    assert cells[-1].labels == {"box": "0.2-0.8", "lambda": "0.005"}


def test_figure_10_is_about_what_o_and_g_alone_make_of_boxes(tmp_path):
    sweep = sweep_of("proposal_figure10", "cpu")
    for trial in plan(sweep, output=str(tmp_path), seeds=1, changes={}, depends_on={}):
        method = trial.config.method.model_dump()
        assert (method["extent_weight"], method["outline_weight"]) == (0, 0)


def test_with_fewer_rounds_a_size_still_stands_beside_the_papers(tmp_path):
    sweep = sweep_of("dystab_table6", "cpu")
    short = {"method.initial_steps": 2, "method.static_steps": 1, "method.dynamic_steps": 1}
    changes = short | {"method.rounds": 1, "loop.steps": 4}
    trials = plan(sweep, output=str(tmp_path), seeds=1, changes=changes, depends_on={})
    record = {"iou_mean": 0.25, "view": "static", "round": 1, "crf": False, "sequences": {}}
    work = Work(train=lambda trial, step: None, score=lambda trial, step: [record])
    take(trials[1], trials[1].steps, Halving(rungs=1), work)
    result = read_result(trials[1])
    assert result is not None
    rows = compared(sweep, trials, {trials[1].name: result})
    assert {row.label: row.ours.values for row in rows if row.ours.values} == {"36": (25.0,)}


def test_table_6_has_five_nested_sizes_and_five_repetitions():
    sweep = sweep_of("dystab_table6", "cpu")
    shares = [cell.changes["data.fraction"] for cell in sweep.cells]
    assert shares == [(2 * i + 1) / 10 for i in range(5)]
    assert sweep.seeds == 5
    assert "data.fraction_seed" in sweep.seeded


@pytest.mark.parametrize("size", get_args(Size))
def test_what_goes_on_learning_has_as_much_after_each_round_as_what_is_trained_anew(size, tmp_path):
    sweep = sweep_of("dystab_continual", size)
    anew, going_on = sweep.cells[:3], sweep.cells[3:]
    sizes = [one.changes["data.fraction"] for one in anew]
    trials = plan(sweep, output=str(tmp_path), seeds=1, changes={}, depends_on={})
    for trial in trials[3:]:
        # Before the first round that is scored nothing more arrives.
        assert list(trial.config.data.growth) == [sizes[0], *sizes]
        assert trial.measure.rounds == tuple(trial.config.round_ends)[1:] == (1, 2, 3)
    assert [cell.changes["data.rehearsal"] for cell in going_on] == [0, 0.5, None]
    assert {trial.measure.rounds for trial in trials[:3]} == {()}
    # In what order videos arrive is another with each seed.
    assert "data.fraction_seed" in sweep.seeded
