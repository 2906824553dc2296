"""The best cell is chosen when all trials are over, and scored once."""

import io
from dataclasses import replace

import pytest
from pyarrow import parquet

from selfseg.experiment import read_recipe
from selfseg.runtime.trial import take
from selfseg.sweep.choice import choose, read_chosen, score_chosen
from selfseg.sweep.estimate import seconds_left
from selfseg.sweep.plan import Halving
from selfseg.sweep.results import Failure, as_csv, as_parquet, read_results
from tests.unit.sweep.toy_sweep import STEPS, Pretence, trials_of


def results_of(trials, scores):
    """Run trials that score this, in order."""
    toy = Pretence({t.name: {STEPS: s} for t, s in zip(trials, scores, strict=True)})
    for trial in trials:
        take(trial, STEPS, Halving(rungs=1), toy.work)
    return read_results(trials)


def test_the_mean_over_seeds_chooses_not_the_best_run(tmp_path):
    """Cell 0 has the best run, 0.9, and the mean 0.5; cell 1 has 0.6 twice."""
    trials = trials_of(tmp_path, seeds=2)
    results = results_of(trials, [0.9, 0.6, 0, 0, 0, 0, 0.1, 0.6, 0, 0, 0, 0])
    assert choose(trials, results) == [trials[1], trials[7]]


def test_nothing_is_chosen_before_all_are_over(tmp_path):
    trials = trials_of(tmp_path)
    results = results_of(trials[:5], [0.1] * 5)
    assert choose(trials, results) == []


def test_runs_that_were_stopped_early_count_for_nothing_and_do_not_rule_out_the_others(tmp_path):
    """Cell 0 has the best run and cell 1 the best that came to its end, of two."""
    trials = trials_of(tmp_path, seeds=2)
    results = results_of(trials, [0.9, 0.6, 0, 0, 0, 0.5, 0.9, 0.1, 0, 0, 0, 0.5])
    for stopped in (0, 6, 7):
        name = trials[stopped].name
        results[name] = results[name].override({"status": "stopped"})
    assert choose(trials, results) == [trials[1]]


def test_the_test_part_is_looked_at_once_for_a_choice(tmp_path):
    trials = trials_of(tmp_path)
    looked = []

    def score(url):
        looked.append(url)
        return [{"j_mean": 0.3, "sequences": {"cow": {}}}]

    first = score_chosen(str(tmp_path), trials[:1], score)
    assert score_chosen(str(tmp_path), trials[:1], score) == first
    assert looked == [trials[0].url]
    assert first.records == ({"j_mean": 0.3},)
    assert first.before == ()
    second = score_chosen(str(tmp_path), trials[1:2], score)
    assert second.cell == trials[1].cell.name
    assert looked == [trials[0].url, trials[1].url]
    # Whoever reads of the second hears of the first.
    assert second.before == (first.cell,)
    assert read_chosen(str(tmp_path)) == second


def test_the_tidy_table_has_a_row_a_trial_with_settings_score_and_cause(tmp_path):
    trials = trials_of(tmp_path)[:3]
    results = results_of(trials[:1], [0.25])
    failures = [Failure(trial=trials[1].name, cause="out, of memory", traceback="")]
    head, first, second, third = as_csv(trials, results, failures).splitlines()
    assert head.startswith("trial,recipe,box,lambda,seed,status,cause,steps,seconds")
    assert first.startswith('"box=0.2-0.5,lambda=0.0005,seed=0",proposal_without_flow_cpu,')
    assert ",0.2-0.5,0.0005,0,finished,,9,0.0," in first
    # The score, the threshold of its masks, and the measure that the score is.
    assert head.endswith(",score,threshold,j_mean")
    assert first.endswith(",0.25,0.35,0.25")
    assert ',0,failed,"out, of memory",' in second
    assert ",0,waiting,," in third


def test_the_same_rows_are_there_as_parquet_with_numbers_as_numbers(tmp_path):
    trials = trials_of(tmp_path)[:3]
    results = results_of(trials[:1], [0.25])
    failures = [Failure(trial=trials[1].name, cause="out, of memory", traceback="")]
    text = as_csv(trials, results, failures).splitlines()
    table = parquet.read_table(io.BytesIO(as_parquet(trials, results, failures)))
    assert table.column_names == text[0].split(",")
    first, second, third = table.to_pylist()
    assert (first["box"], first["lambda"], first["seed"]) == ("0.2-0.5", 0.0005, 0)
    assert (first["steps"], first["score"], first["threshold"]) == (STEPS, 0.25, 0.35)
    assert (second["status"], second["cause"]) == ("failed", "out, of memory")
    assert (third["status"], third["steps"], third["score"]) == ("waiting", None, None)


def test_the_time_left_comes_from_a_recipe_or_what_it_builds_on_and_then_from_trials(tmp_path):
    """20 minutes are stated for as many steps as the recipe has; each trial has nine."""
    stated, silent = tmp_path / "stated.toml", tmp_path / "silent.toml"
    stated.write_text('# Time: 20 minutes on 2 cores\n\nbase = "proposal_without_flow_cpu"\n')
    silent.write_text('# Time: not measured yet\n\nbase = "stated.toml"\n')
    trials = [
        replace(trial, cell=replace(trial.cell, recipe=str(silent)))
        for trial in trials_of(tmp_path)
    ]
    seconds, source = seconds_left(trials, Halving(rungs=1), {})
    assert seconds == pytest.approx(20 * 60 / read_recipe(str(stated)).loop.steps * STEPS * 6)
    assert source == "from the recipes' headers"
    results = results_of(trials[:2], [0.1, 0.2])
    known = {
        name: result.override({"seconds": 18, "scoring_s": 0}) for name, result in results.items()
    }
    # Two seconds a step, and four trials of nine steps are left.
    told = "from what trials took so far"
    assert seconds_left(trials, Halving(rungs=1), known) == (72, told)
    # In rungs, these four to step 1, one of them to 3 and to 9.
    assert seconds_left(trials, Halving(3, 3), known) == (2 * (4 * 1 + 2 + 6), told)
