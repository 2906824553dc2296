"""Learning while a collection grows: score, cost and forgetting of hand-made results."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from selfseg.data.format.manifest import Manifest, VideoEntry
from selfseg.data.format.settings import IngestSettings
from selfseg.data.reading.subsets import chosen_videos
from selfseg.reporting.sweep_growing import growing
from selfseg.reporting.sweep_page import write_sweep_report
from selfseg.reporting.sweep_table import as_table, compared
from selfseg.sweep.choice import choose
from selfseg.sweep.growing import as_csv, moments
from selfseg.sweep.plan import Cell, Measure, Sweep, Trial, plan
from selfseg.sweep.results import Result

SHARES = (0.25, 0.5, 1.0)
"""Of eight videos: two, four, eight."""

SHORT = {
    "method.initial_steps": 2,
    "method.rounds": 2,
    "method.static_steps": 1,
    "method.dynamic_steps": 1,
    "loop.steps": 6,
}

RECIPE = "dystab_bootstrap_cpu"

SWEEP = Sweep(
    table="dystab/continual",
    column=None,
    caption="Growing, or anew",
    continual=True,
    cells=(
        *(
            Cell({"learning": "from-scratch", "videos": str(s)}, RECIPE, {"data.fraction": s})
            for s in SHARES
        ),
        *(
            Cell(
                {"learning": "going-on", "rehearsal": str(share)},
                RECIPE,
                {"data.growth": list(SHARES), "data.rehearsal": share},
                rounds=(0, 1, 2),
            )
            for share in (0.5, None)
        ),
    ),
    measure=Measure("j_mean", view="dynamic"),
    benchmark="davis16",
    splits=("train", "val"),
    seeded=("seed", "data.fraction_seed"),
)

MANIFEST = Manifest(
    settings=IngestSettings(),
    shard_bytes=1,
    videos=tuple(
        VideoEntry(id=f"{name}-0", name=name, frames=9, sha256="0", masks_sha256=None)
        for name in "abcdefgh"
    ),
    skipped=(),
    shards=(),
)


def trials_of(output: Path, seeds: int = 1) -> list[Trial]:
    return plan(SWEEP, output=str(output), seeds=seeds, changes=SHORT, depends_on={})


def in_order(seed: int) -> list[str]:
    """Name the videos as they arrive."""
    return [video.name for video in chosen_videos(MANIFEST, None, fraction=1.0, seed=seed)]


def result_of(
    trial: Trial,
    scores: Sequence[float],
    clock: Sequence[float],
    videos: list[dict[str, float]] | None = None,
) -> Result:
    rounds = trial.measure.rounds or (2,)
    return Result(
        identity=trial.identity,
        status="finished",
        seed=trial.seed,
        steps=trial.steps,
        seconds=clock[-1],
        scoring_s=0,
        rungs={trial.steps: scores[-1]},
        records=tuple(
            {"j_mean": score, "round": number, "benchmark": "c, validation"}
            for number, score in zip(rounds, scores, strict=True)
        ),
        clock=tuple(clock),
        videos=tuple(videos or [{} for _ in scores]),
    )


def test_a_run_that_goes_on_is_at_each_size_after_its_round_with_the_time_until_then(tmp_path):
    trial = trials_of(tmp_path)[4]
    found = moments(
        [trial], {trial.name: result_of(trial, [0.3, 0.4, 0.6], [10, 15, 20])}, MANIFEST
    )
    assert [(each.share, each.videos, each.score, each.seconds) for each in found] == [
        (0.25, 2, 0.3, 10),
        (0.5, 4, 0.4, 15),
        (1.0, 8, 0.6, 20),
    ]
    assert {each.learning for each in found} == {"going on, all alike"}
    assert moments([trial], {}, MANIFEST) == []


def test_trained_anew_the_time_of_all_smaller_sizes_counts_for_each_seed_by_itself(tmp_path):
    trials = trials_of(tmp_path, seeds=2)
    anew = [trial for trial in trials if not trial.config.data.growth]
    taken = {(seed, share): 10 * (seed + 1) + share for seed in (0, 1) for share in SHARES}
    results = {
        trial.name: result_of(
            trial,
            [trial.config.data.fraction / 2],
            [taken[trial.seed, trial.config.data.fraction]],
        )
        for trial in anew
    }
    # The order in which trials are listed does not matter.
    found = moments(anew[::-1], results, MANIFEST)
    for seed in (0, 1):
        own = [each for each in found if each.seed == seed]
        assert [each.score for each in own] == [0.125, 0.25, 0.5]
        first, second, third = (taken[seed, share] for share in SHARES)
        assert [each.seconds for each in own] == [first, first + second, first + second + third]
        assert {each.learning for each in own} == {"from scratch"}


@pytest.mark.parametrize("status", ["stopped", "running", None])
def test_the_time_of_a_size_is_unknown_while_a_smaller_one_is_not_finished(tmp_path, status):
    anew = trials_of(tmp_path)[:3]
    results = {trial.name: result_of(trial, [0.5], [10]) for trial in anew}
    if status is None:
        del results[anew[1].name]
    else:
        results[anew[1].name] = results[anew[1].name].override({"status": status})
    assert [each.share for each in moments(anew, results, MANIFEST)] == [0.25]


def test_forgetting_is_what_the_first_videos_scored_before_others_came_less_what_they_do_now(
    tmp_path,
):
    trial = trials_of(tmp_path, seeds=2)[-1]
    order = in_order(trial.seed)
    assert order[:2] != in_order(0)[:2]
    # The first two score 0.8 and 0.6, then 0.7 and 0.5, then 0.9 and 0.1; all others nothing yet.
    others = dict.fromkeys(order[2:], 0.0)
    videos = [
        others | dict(zip(order, first, strict=False))
        for first in ((0.8, 0.6), (0.7, 0.5), (0.9, 0.1))
    ]
    result = result_of(trial, [0.1, 0.2, 0.3], [1, 2, 3], videos)
    found = moments([trial], {trial.name: result}, MANIFEST)
    assert [each.early for each in found] == pytest.approx([0.7, 0.6, 0.5])
    assert found[0].forgotten is None
    assert [each.forgotten for each in found[1:]] == pytest.approx([0.7 - 0.6, 0.7 - 0.5])
    assert [each.num_early for each in found] == [2, 2, 2]


@pytest.mark.parametrize("initial", [2, 0])
def test_of_rounds_between_which_nothing_arrives_the_last_counts(tmp_path, initial):
    """Without initial steps there is no round 0, and the shares are those of rounds 1 to 3."""
    shares = [0.5, 0.5, 1.0] if initial == 0 else [0.25, 0.5, 0.5, 1.0]
    cell = Cell({"learning": "going-on"}, RECIPE, {"data.growth": shares}, rounds=(1, 2, 3))
    longer = {"method.initial_steps": initial, "method.rounds": 3, "loop.steps": initial + 6}
    (trial,) = plan(
        replace(SWEEP, cells=(cell,)),
        output=str(tmp_path),
        seeds=1,
        changes=SHORT | longer,
        depends_on={},
    )
    early = in_order(0)[:4]
    videos = [dict.fromkeys(early, score) for score in (0.9, 0.7, 0.4)]
    result = result_of(trial, [0.1, 0.2, 0.3], [1, 2, 3], videos)
    found = moments([trial], {trial.name: result}, MANIFEST)
    assert [(each.share, each.score, each.seconds) for each in found] == [
        (0.5, 0.2, 2),
        (1.0, 0.3, 3),
    ]
    assert [each.forgotten for each in found] == [None, pytest.approx(0.7 - 0.4)]


def test_the_newest_videos_are_those_that_the_last_arrival_brought(tmp_path):
    """The videos score 0.0, 0.1, ... 0.7 by their places in the order of arrival."""
    trials = trials_of(tmp_path)
    places = {name: place / 10 for place, name in enumerate(in_order(0))}
    results = {
        trial.name: result_of(trial, [0.5] * n, [1.0] * n, [places] * n)
        for trial in trials
        for n in [len(trial.measure.rounds) or 1]
    }
    for learning in ("from scratch", "going on, rehearsal 0.5"):
        found = [m for m in moments(trials, results, MANIFEST) if m.learning == learning]
        means = [(0 + 1) / 20, (2 + 3) / 20, (4 + 5 + 6 + 7) / 40]
        assert [each.newest for each in found] == pytest.approx(means)


def test_only_videos_of_the_scored_part_count_and_none_is_said_to_be_none(tmp_path):
    trial = trials_of(tmp_path)[3]
    order = in_order(0)
    # Named by its id, as where several have its name; the other early one is not scored.
    videos = [{f"{order[1]}-0": score, order[7]: 0.2} for score in (0.5, 0.4, 0.2)]
    result = result_of(trial, [0.1, 0.2, 0.3], [1, 2, 3], videos)
    found = moments([trial], {trial.name: result}, MANIFEST)
    assert [each.num_early for each in found] == [1, 1, 1]
    assert [each.forgotten for each in found[1:]] == pytest.approx([0.1, 0.3])
    assert [each.newest for each in found] == [0.5, None, 0.2]
    result = result.override({"videos": [{"elsewhere": 0.5}] * 3})
    found = moments([trial], {trial.name: result}, MANIFEST)
    assert {(each.early, each.forgotten, each.newest) for each in found} == {(None, None, None)}


def both_ways(output: Path) -> tuple[list[Trial], dict[str, Result]]:
    """Return trials of two seeds and results that differ by seed; those of "None" are missing."""
    trials = trials_of(output, seeds=2)
    results = {}
    for trial in trials:
        order, extra = in_order(trial.seed), 0.1 * trial.seed
        if trial.config.data.rehearsal is not None:
            videos = [{order[0]: 0.8}, {order[0]: 0.7 - extra}, {order[0]: 0.6 - extra}]
            scores, clock = [0.2 + extra, 0.3 + extra, 0.4 + extra], [60, 90, 120]
            results[trial.name] = result_of(trial, scores, clock, videos)
        elif not trial.config.data.growth:
            results[trial.name] = result_of(trial, [trial.config.data.fraction / 2], [120])
    return trials, results


def test_the_tidy_table_has_a_row_for_each_moment(tmp_path):
    trials, results = both_ways(tmp_path)
    rows = list(csv.DictReader(io.StringIO(as_csv(moments(trials, results, MANIFEST)))))
    # Two seeds, three sizes, two ways: the third has no result.
    assert len(rows) == 12
    last = next(r for r in rows if r["learning"].startswith("going") and r["share"] == "1.0")
    assert (last["seed"], last["videos"], last["score"]) == ("0", "8", "0.4")
    assert (last["seconds"], last["num_early"], last["newest"]) == ("120.0", "1", "")
    assert float(last["forgotten"]) == pytest.approx(0.8 - 0.6)


def test_curves_go_through_means_over_seeds_with_their_deviations(tmp_path):
    trials, results = both_ways(tmp_path)
    found = growing(moments(trials, results, MANIFEST))
    assert found is not None
    curves = {curve.title: curve for curve in found.curves}
    # Of the newest videos only the first were scored, and one place makes no curve.
    assert list(curves) == ["Score", "Score against its cost", "Forgotten"]
    by_videos = {line.name: line.bars for line in curves["Score"].lines}
    assert list(by_videos) == ["from scratch", "going on, rehearsal 0.5"]
    # 2, 4 and 8 videos lie as far from the left as their numbers say; the axis ends beyond 8.
    for bars in by_videos.values():
        assert bars[1].x == pytest.approx(2 * bars[0].x)
        assert bars[2].x == pytest.approx(4 * bars[0].x)
        assert bars[2].x < 1000
    # Minutes: 2, 4 and 6 for one run of 2 at each size; 1, 1.5 and 2 for one run in all.
    by_cost = {line.name: line.bars for line in curves["Score against its cost"].lines}
    unit = by_cost["from scratch"][0].x / 2
    assert [bar.x / unit for bar in by_cost["from scratch"]] == pytest.approx([2, 4, 6])
    going_on = by_cost["going on, rehearsal 0.5"]
    assert [bar.x / unit for bar in going_on] == pytest.approx([1, 1.5, 2])
    # Seeds score 0.2 and 0.3 at first; the deviation of two is their distance over root two.
    assert going_on[0].label == "going on, rehearsal 0.5, 2 videos: 0.250 ± 0.071"
    assert going_on[0].low > going_on[0].y > going_on[0].high
    # From 0.8 to 0.7 and to 0.6 with one seed, to 0.6 and to 0.5 with the other.
    forgotten = curves["Forgotten"].lines[-1].bars
    assert [bar.label.rpartition(": ")[2] for bar in forgotten] == [
        "0.150 ± 0.071",
        "0.250 ± 0.071",
    ]
    assert found.early == "1"
    assert growing([]) is None


def test_a_table_of_ours_has_its_cells_and_no_papers_numbers(tmp_path):
    trials, results = both_ways(tmp_path)
    table = as_table(SWEEP, compared(SWEEP, trials, results))
    assert [str(column.header) for column in table.columns] == ["cell", "ours", "runs"]
    assert str(table.title) == "dystab/continual: Growing, or anew"
    rows = {row.cell: row.ours.text(0, "") for row in compared(SWEEP, trials, results)}
    assert rows["learning=going-on,rehearsal=0.5"] == "0.450 ± 0.071"


def test_the_last_rounds_score_chooses_the_cell(tmp_path):
    trials, results = both_ways(tmp_path)
    own = [trial for trial in trials if trial.name in results]
    # At its end the run that goes on has 0.45, one on all videos 0.5.
    assert {trial.cell.name for trial in choose(own, results)} == {trials[2].cell.name}
    worse = {
        trial.name: results[trial.name].override({"rungs": {"6": 0.44}})
        for trial in own
        if not trial.config.data.growth
    }
    chosen = choose(own, results | worse)
    assert {trial.cell.name for trial in chosen} == {trials[3].cell.name}


def test_the_page_shows_the_curves_and_their_meaning_and_no_paper(tmp_path):
    trials, results = both_ways(tmp_path)
    found = moments(trials, results, MANIFEST)
    options = {"failures": [], "chosen": None}
    page = write_sweep_report(str(tmp_path), SWEEP, trials, results, **options, moments=found)
    text = Path(page).read_text()
    assert "so its time is the sum of them all" in text
    assert "going on, rehearsal 0.5, 8 videos: 0.450 ± 0.071" in text
    assert "in the validation part, with each seed: 1." in text
    # What goes on has the second colour, also where the first has nothing to show.
    drawn = text.partition("Forgotten against videos seen")[2].partition("</svg>")[0]
    assert re.findall(r"--c(\d).{3}<path d=\"(M|\")", drawn) == [("0", '"'), ("1", "M")]
    assert "Beside the paper" not in text
    assert "pairs of rows" not in text
    empty = Path(write_sweep_report(str(tmp_path), SWEEP, trials, {}, **options)).read_text()
    assert "While the collection grows" not in empty


def test_a_page_with_a_single_moment_has_its_row_and_no_curve(tmp_path):
    trials, results = both_ways(tmp_path)
    found = moments(trials[:1], results, MANIFEST)
    assert len(found) == 1
    options = {"failures": [], "chosen": None, "moments": found}
    text = Path(write_sweep_report(str(tmp_path), SWEEP, trials, results, **options)).read_text()
    assert "While the collection grows" in text
    assert "Score against its cost" not in text
