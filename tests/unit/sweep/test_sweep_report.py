"""A sweep beside the paper: rows, direction, heat map, curve and the page that shows them."""

from dataclasses import replace
from pathlib import Path

import pytest

from selfseg.reporting.papers import find_table
from selfseg.reporting.sweep_page import curve, heat_map, write_sweep_report
from selfseg.reporting.sweep_table import as_table, cell_means, compared, direction
from selfseg.runtime.trial import take
from selfseg.sweep.choice import Chosen
from selfseg.sweep.plan import Cell, Halving
from selfseg.sweep.results import Failure, read_results
from tests.unit.sweep.toy_sweep import STEPS, SWEEP, Pretence, trials_of


def scored(tmp_path, scores):
    """Return trials of two seeds, and results of those that have a score, in order."""
    trials = trials_of(tmp_path, seeds=2)
    toy = Pretence({t.name: {STEPS: s} for t, s in zip(trials, scores, strict=False)})
    for trial in trials[: len(scores)]:
        take(trial, STEPS, Halving(rungs=1), toy.work)
    return trials, read_results(trials)


def test_runs_stand_beside_the_row_of_their_settings_with_mean_and_deviation(tmp_path):
    trials, results = scored(tmp_path, [0.5, 0.6, 0.7, 0.4, 0.5, 0.6, 0.7])
    rows = {row.label: row for row in compared(SWEEP, trials, results)}
    assert len(rows) == 18
    first = rows["b[0.20,0.5], Lv,λ=0.0005"]
    assert first.paper == "0.61"
    assert first.ours.values == (0.5, 0.7)
    # The sample deviation of two values is their distance over the root of two.
    assert first.ours.text(0, "") == "0.600 ± 0.141"
    assert rows["b[0.20,0.5], Lv,λ=0.001"].ours.text(0, "") == "0.600"
    assert rows["b[0.1,0.5], Lv,λ=0.001"].ours.values == ()


def test_a_trial_that_is_not_over_is_in_no_mean_and_beside_no_row(tmp_path):
    trials, results = scored(tmp_path, [0.5, 0.6, 0.7, 0.4, 0.5, 0.6, 0.7])
    # Of the first cell's two runs; it failed, say, after its first rung.
    results[trials[6].name] = results[trials[6].name].override({"status": "running"})
    rows = {row.label: row for row in compared(SWEEP, trials, results)}
    assert rows["b[0.20,0.5], Lv,λ=0.0005"].ours.values == (0.5,)
    assert rows["b[0.20,0.5], Lv,λ=0.0005"].unfinished == 0
    assert cell_means(trials, results)[trials[0].cell.name] == (0.5,)


def test_the_direction_counts_pairs_that_the_paper_tells_apart(tmp_path):
    """The paper's 0.61, 0.60, 0.61 and 0.61, 0.67, 0.61: one of six falls short, one stands out."""
    trials, results = scored(tmp_path, [0.5, 0.4, 0.5, 0.5, 0.9, 0.5])
    agreed = direction(compared(SWEEP, trials, results))
    # Four equal ones stand against 0.60 and 0.67 each: 8 pairs, and these two against each other.
    assert (agreed.alike, agreed.pairs) == (9, 9)
    results[trials[4].name] = results[trials[4].name].override({"rungs": {STEPS: 0.1}})
    record = {"j_mean": 0.1, "view": "static", "crf": False}
    results[trials[4].name] = results[trials[4].name].override({"records": [record]})
    agreed = direction(compared(SWEEP, trials, results))
    assert (agreed.alike, agreed.pairs) == (4, 9)
    assert "agrees in 4 of 9 pairs" in str(
        as_table(SWEEP, compared(SWEEP, trials, results)).caption
    )


def test_what_was_stopped_early_is_in_nobodys_order(tmp_path):
    """Without the cell that stands out: of the others four pairs are left, all of them alike."""
    trials, results = scored(tmp_path, [0.5, 0.4, 0.5, 0.5, 0.9, 0.5])
    results[trials[4].name] = results[trials[4].name].override({"status": "stopped"})
    agreed = direction(compared(SWEEP, trials, results))
    assert (agreed.alike, agreed.pairs) == (4, 4)


def test_the_page_marks_what_was_stopped_early_and_says_what_the_mark_means(tmp_path):
    trials, results = scored(tmp_path, [0.1, 0.2, 0.3])
    nothing = {"failures": [], "chosen": None}
    page = Path(write_sweep_report(str(tmp_path), SWEEP, trials, results, **nothing))
    assert "Stopped early" not in page.read_text()
    results[trials[1].name] = results[trials[1].name].override({"status": "stopped"})
    write_sweep_report(str(tmp_path), SWEEP, trials, results, **nothing)
    assert "* Stopped early" in page.read_text()
    assert page.read_text().count("0.200*</td>") == 1


def test_equal_numbers_of_ours_are_in_nobodys_order(tmp_path):
    """The paper's 0.61, 0.60 and 0.61: two pairs, of one order each."""
    trials, results = scored(tmp_path, [0.5, 0.5, 0.5])
    agreed = direction(compared(SWEEP, trials, results))
    assert (agreed.alike, agreed.pairs) == (0, 2)


def test_cells_beside_the_same_row_are_not_averaged(tmp_path):
    """Two cells of the same box and lambda, but other clips, are both beside the same row."""
    trials, results = scored(tmp_path, [0.2, 0.4])
    twin = replace(trials[0], cell=replace(trials[0].cell, labels={"clip": "2"}), seed=7)
    results[twin.name] = results[trials[1].name]
    beside = [
        (row.cell, row.ours.values)
        for row in compared(SWEEP, [*trials, twin], results)
        if row.label == "b[0.20,0.5], Lv,λ=0.0005"
    ]
    assert beside == [(trials[0].cell.name, (0.2,)), ("clip=2", (0.4,))]


def test_a_grid_of_two_axes_is_a_heat_map_from_least_to_greatest(tmp_path):
    trials, results = scored(tmp_path, [0.1, 0.2, 0.3, 0.4, 0.5])
    scores = {trial.cell.name: (results[trial.name].score,) for trial in trials[:5]}
    cells = [trial.cell for trial in trials[:6]]
    found = heat_map(cells, scores, chosen=cells[4].name, stopped={cells[0].name})
    assert found is not None
    assert found.stopped
    assert [spot.stopped for spot in found.rows["0.2-0.5"]] == [True, False, False]
    assert (found.rows_axis, found.columns_axis) == ("box", "lambda")
    assert found.columns == ["0.0005", "0.001", "0.005"]
    shades = [spot.shade for row in found.rows.values() for spot in row]
    assert shades == [0, pytest.approx(0.25), pytest.approx(0.5), pytest.approx(0.75), 1, None]
    assert [spot.chosen for spot in found.rows["0.2-0.8"]] == [False, True, False]
    assert heat_map([Cell({"a": "1"}, "x")], {}, None, stopped=()) is None


def test_one_axis_of_numbers_is_a_curve_with_deviations():
    cells = [Cell({"videos": share}, "x") for share in ("0.1", "0.9", "0.5")]
    scores = {"videos=0.1": (0.4, 0.6), "videos=0.5": (0.6, 0.6), "videos=0.9": (0.7,)}
    found = curve("j_mean", cells, scores)
    assert found is not None
    assert [bar.label.partition(":")[0] for bar in found.lines[0].bars] == list(scores)
    assert [bar.x for bar in found.lines[0].bars] == sorted(bar.x for bar in found.lines[0].bars)
    low, middle, high = found.lines[0].bars
    # Smaller is higher on the page; the mean of 0.4 and 0.6 lies in the middle of its bar.
    assert low.y > middle.y > high.y
    assert low.y == pytest.approx((low.low + low.high) / 2)
    assert low.low - low.high > 0
    assert (middle.low, high.low) == (middle.high, high.high)
    assert (
        curve("j_mean", [Cell({"prior": "none"}, "x"), Cell({"prior": "l2"}, "x")], scores) is None
    )


def test_the_page_says_what_was_chosen_what_failed_and_that_the_test_part_was_looked_at_once(
    tmp_path,
):
    trials, results = scored(tmp_path, [0.1, 0.2, 0.3, 0.4, 0.5])
    failure = Failure(trial=trials[5].name, cause="out of <memory>", traceback="")
    chosen = Chosen(
        cell=trials[4].cell.name,
        identities=(trials[4].identity,),
        records=({"j_mean": 0.456, "benchmark": "ski-ptz test"},),
    )
    both = {"failures": [failure], "chosen": chosen}
    text = Path(write_sweep_report(str(tmp_path), SWEEP, trials, results, **both)).read_text()
    assert "scored on the test part (ski-ptz test), once, after it had been chosen" in text
    assert "j_mean 0.456" in text
    assert "out of &lt;memory&gt;" in text
    assert "http" not in text
    none = {"failures": [], "chosen": None}
    empty = Path(write_sweep_report(str(tmp_path), SWEEP, trials, {}, **none)).read_text()
    assert "the test part has not been looked at" in empty


def test_a_second_look_at_the_test_part_is_told_with_what_was_chosen_first(tmp_path):
    trials, results = scored(tmp_path, [0.1, 0.2])
    record = {"j_mean": 0.456, "benchmark": "ski-ptz test"}
    first, second = (trial.cell.name for trial in trials[:2])
    again = Chosen(cell=second, identities=(), records=(record,), before=(first,))
    told = f"Earlier commands chose {first}, of fewer trials or under other settings"
    for chosen in (again, None):
        earlier = again if chosen else Chosen(cell=first, identities=(), records=(record,))
        url = write_sweep_report(
            str(tmp_path), SWEEP, trials, results, failures=[], chosen=chosen, earlier=earlier
        )
        text = Path(url).read_text()
        assert told in text
        assert ", once, after it had been chosen" not in text
        assert "the test part has not been looked at" not in text


def test_of_a_chosen_cell_the_page_counts_the_runs_that_were_stopped_early(tmp_path):
    trials, results = scored(tmp_path, [0.1] * 12)
    results[trials[6].name] = results[trials[6].name].override({"status": "stopped"})
    record = {"j_mean": 0.456, "benchmark": "ski-ptz test"}
    chosen = Chosen(cell=trials[0].cell.name, identities=(), records=(record,))
    url = write_sweep_report(str(tmp_path), SWEEP, trials, results, failures=[], chosen=chosen)
    assert "of which 1 came to the end and 1 was stopped early" in Path(url).read_text()


def test_where_each_trial_has_its_own_threshold_the_table_and_the_page_say_so(tmp_path):
    trials, results = scored(tmp_path, [0.1, 0.2])
    record = {"j_mean": 0.456, "benchmark": "ski-ptz test", "threshold": 0.65}
    chosen = Chosen(cell=trials[1].cell.name, identities=(), records=(record,))
    for best, says in ((False, 0), (True, 1)):
        sweep = replace(SWEEP, measure=replace(SWEEP.measure, best_threshold=best))
        caption = str(as_table(sweep, compared(sweep, trials, results)).caption)
        assert caption.count("each trial at its best threshold there") == says
        url = write_sweep_report(str(tmp_path), sweep, trials, results, failures=[], chosen=chosen)
        text = Path(url).read_text()
        assert text.count("cut at the threshold that is best for it there, by mean J") == says
        assert text.count("at the threshold that is best on the validation part (0.65)") == says
        assert text.count('<td class="num">0.35</td>') == 2 * says


def test_rows_without_a_number_of_the_papers_or_ours_are_left_out():
    """Figure 10 draws curves and prints few numbers."""
    figure = replace(SWEEP, table="proposal/figure10", column="H36M mAP0.5")
    published, _ = find_table(figure.table)
    rows = compared(figure, [], {})
    assert 0 < len(rows) < len(published.rows)
    assert all(row.number is not None for row in rows)
