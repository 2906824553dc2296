"""A paper's table and ours: records stand in the right row, seeds fold, nothing is made up."""

import json
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from selfseg.cli import main
from selfseg.data.format.manifest import Manifest, VideoEntry, commit_manifest
from selfseg.data.format.settings import IngestSettings
from selfseg.errors import UsageError, UserError
from selfseg.experiment import read_recipe
from selfseg.reporting.lines import Cell, Line
from selfseg.reporting.tables import compare
from tests.unit.reporting.scored_runs import BOOTSTRAP, changed, lines

CHI_OF_F_ALPHA = "χ(Fα)"  # noqa: RUF001 - the Greek letter is meant


def scored(benchmark: str = "davis16 val", j: float = 0.5, **chosen: Any) -> dict[str, Any]:
    return {"benchmark": benchmark, "j_mean": j, **chosen}


def means(lines: list[Line], heading: str) -> list[float | None]:
    found = [line.cells[heading].mean for line in lines]
    return [mean and round(mean, 9) for mean in found]


def test_runs_that_differ_only_in_seed_fold_into_mean_and_sample_deviation(write_run):
    runs = [
        write_run(f"run-{seed}", scored(j=j, round=1), seed=seed)
        for seed, j in enumerate([0.50, 0.54, 0.61])
    ]
    _, line = lines(compare("dystab/5", runs), "1")
    # 50 + 54 + 61 = 165; deviations from 55 are -5, -1 and 6, their squares 62, over 3 - 1.
    assert line.cells["DAVIS"].mean == pytest.approx(55.0)
    assert line.cells["DAVIS"].deviation == pytest.approx(sqrt(31))
    assert line.cells["DAVIS"].text(3, "") == "55.0 ± 5.57"
    assert line.names == "run-0, run-1, run-2 (3 seeds)"


def test_seeds_fold_however_they_were_computed_and_whatever_run_each_began_with(write_run):
    runs = [
        write_run(
            f"run-{seed}",
            scored(j=j, round=1),
            settings={
                "seed": seed,
                "method": BOOTSTRAP,
                "loop": {"threads": seed or None},
                "start": {"segmenter": f"runs/phi-{seed}"},
            },
        )
        for seed, j in enumerate([0.50, 0.54])
    ]
    _, line = lines(compare("dystab/5", runs), "1")
    assert line.names == "run-0, run-1 (2 seeds)"
    other = write_run(
        "other",
        scored(j=0.6, round=1),
        settings={"seed": 2, "method": BOOTSTRAP, "loop": {"threads": None}, "start": {}},
    )
    assert len(lines(compare("dystab/5", [*runs, other]), "1")) == 4


def test_a_run_that_is_older_than_a_setting_folds_with_those_that_have_its_default(write_run):
    runs = []
    for seed in (0, 1):
        told = read_recipe("dystab_bootstrap_cpu").override({"seed": seed}).model_dump(mode="json")
        if seed == 0:
            del told["data"]["fraction"]
        runs.append(write_run(f"run{seed}", scored(round=1, view="static"), settings=told))
    named = {line.names for line in lines(compare("dystab/5", runs), "1")}
    assert named == {"run0, run1 (2 seeds)"}


def test_one_seed_has_no_deviation(write_run):
    _, line = lines(compare("dystab/5", [write_run("run", scored(round=1))]), "1")
    assert line.cells["DAVIS"] == Cell((50.0,), "")
    assert line.cells["DAVIS"].text(1, "") == "50.0"


@pytest.mark.parametrize(
    "other",
    [
        {"method": changed(BOOTSTRAP, dynamic={"lambda_tc": -0.2})},
        {"manifest": "1"},
        {"ingest": {"flow": "raft"}},
    ],
)
def test_runs_that_differ_in_more_than_the_seed_stand_in_lines_of_their_own(write_run, other):
    one = write_run("one", scored(j=0.4, round=1))
    another = write_run("another", scored(j=0.6, round=1), seed=1, **other)
    found = lines(compare("dystab/5", [one, another]), "1")
    assert [(line.label, line.names) for line in found] == [
        ("static", "one (one seed)"),
        ("static", "another (one seed)"),
        ("fused", "one (one seed)"),
        ("fused", "another (one seed)"),
    ]
    assert [line.cells["DAVIS"].values for line in found[2:]] == [(40.0,), (60.0,)]


def test_runs_that_followed_their_collection_to_different_states_do_not_fold(write_run):
    runs = [write_run("one", scored(round=1)), write_run("another", scored(round=1), seed=1)]
    moved = Path(runs[1]) / "checkpoints" / "step_00000100"
    moved.mkdir(parents=True)
    (moved / "COMMIT.json").write_text("{}")
    course = [{"step": 0, "manifest": "0"}, {"step": 7, "manifest": "1"}]
    (moved / "progress.json").write_text(json.dumps({"step": 100, "course": course}))
    named = {line.names for line in lines(compare("dystab/5", runs), "1")}
    assert named == {"one (one seed)", "another (one seed)"}


def test_the_same_experiment_with_the_same_seed_is_not_a_second_seed(write_run):
    with pytest.raises(UsageError, match="same seed, 0"):
        compare("dystab/5", [write_run("one"), write_run("another")])


def test_evaluations_that_chose_otherwise_do_not_mix(write_run):
    run = write_run("run", scored(j=0.4, round=1), scored(j=0.6, round=1, crf=True, augment=True))
    _, *fused = lines(compare("dystab/5", [run]), "1")
    assert {line.label: line.cells["DAVIS"].values for line in fused} == {
        "fused": (40.0,),
        "fused, augment, crf": (60.0,),
    }


def test_table_1_tells_cis_from_temporal_consistency_by_the_weight(write_run):
    def dynamic(lambda_tc: float) -> dict[str, Any]:
        return {"name": "dystab_dynamic", "lambda_tc": lambda_tc}

    runs = [
        write_run("cis", scored(j=0.1, view="dynamic"), method=dynamic(0.0)),
        write_run("tc", scored(j=0.2, view="dynamic"), method=dynamic(-0.1)),
        write_run(
            "bootstrap",
            scored(j=0.3, view="dynamic", round=0),
            scored(j=0.9, view="dynamic", round=1),
            method=changed(BOOTSTRAP, dynamic={"lambda_tc": 0.0}),
        ),
    ]
    comparison = compare("dystab/1", runs)
    assert means(lines(comparison, "CIS [77]"), "DAVIS") == [10.0, 30.0]
    assert means(lines(comparison, "Ours"), "DAVIS") == [20.0]


def test_table_2_tells_the_static_models_apart_by_their_confidence(write_run):
    blind = changed(BOOTSTRAP, static={"confidence": "none"})
    runs = [
        write_run("blind", scored(j=0.1, view="static", round=1), method=blind),
        write_run("aware", scored(j=0.2, view="static", round=1), scored(j=0.9, round=1)),
    ]
    comparison = compare("dystab/2", runs)
    assert means(lines(comparison, CHI_OF_F_ALPHA), "DAVIS") == [10.0]
    assert means(lines(comparison, "χ(Lχ)"), "DAVIS") == [20.0]


def test_table_3_takes_the_fusion_with_crf_and_keeps_supervision_apart(write_run):
    supervised = {"name": "dystab_supervised"}
    runs = [
        write_run("ours", scored(j=0.1, round=3), scored(j=0.2, round=3, crf=True)),
        write_run("tuned", scored("fbms59 test", 0.3, crf=True), method=supervised),
    ]
    comparison = compare("dystab/3", runs)
    assert means(lines(comparison, "Ours", "Unsupervised Methods"), "DAVIS") == [20.0]
    (tuned,) = lines(comparison, "Ours", "Supervised Methods")
    assert tuned.cells["FBMS"].values == (30.0,)
    assert "# Annot." not in tuned.cells


def test_table_4_takes_the_f_measure_of_chi_on_stills_before_and_after_self_training(write_run):
    still = {"benchmark": "ecssd", "view": "static", "crf": True, "iou_mean": 0.1}
    runs = [
        write_run(
            "bootstrap",
            {**still, "round": 3, "f_beta_mean": 0.6},
            {**still, "round": 3, "crf": False, "f_beta_mean": 0.5},
        ),
        write_run(
            "stills",
            {**still, "round": 1, "f_beta_mean": 0.7},
            {**still, "round": 1, "crf": False, "f_beta_mean": 0.8},
            method={"name": "dystab_self_training", "rounds": 1},
        ),
    ]
    before, after = lines(compare("dystab/4", runs), "Ours", "Unsupervised Methods")
    assert (before.label, before.names) == ("static, CRF", "bootstrap (one seed)")
    assert before.cells["ECCSD"].values == (60.0,)
    assert (after.label, after.names) == ("static, self-trained, CRF, round 1", "stills (one seed)")
    assert after.cells["ECCSD"].values == (70.0,)
    *_, last = lines(compare("dystab/4", runs[:1]), "Ours", "Unsupervised Methods")
    assert last.names == "no run yet"
    assert last.cells["ECCSD"].command == (
        "selfseg train dystab_stills --collection URL --run RUN --set start.static=BOOTSTRAP"
        " && selfseg evaluate RUN --benchmark ecssd --root DIR --view static --crf"
    )


def test_table_5_puts_each_round_and_view_in_its_row(write_run):
    run = write_run(
        "run",
        *(
            scored(j=number / 10 + extra, view=view, round=number)
            for number in (1, 2, 3)
            for view, extra in (("static", 0.01), ("fused", 0.02), ("dynamic", 0.03))
        ),
    )
    comparison = compare("dystab/5", [run])
    for number in (1, 2, 3):
        found = lines(comparison, str(number))
        assert [line.label for line in found] == ["static", "fused"]
        assert means(found, "DAVIS") == [10 * number + 1, 10 * number + 2]


def test_table_6_counts_videos_and_weighs_images_alike(write_run, tmp_path):
    def learned_from(num_videos: int, name: str) -> dict[str, Any]:
        videos = tuple(
            VideoEntry(id=f"{name}{n}", name=name, frames=1, sha256="", masks_sha256=None)
            for n in range(num_videos)
        )
        manifest = Manifest(
            settings=IngestSettings(), shard_bytes=1, videos=videos, skipped=(), shards=()
        )
        url = str(tmp_path / name)
        commit_manifest(url, manifest, None)
        return {"collection": url, "manifest": manifest.id}

    def still(benchmark: str, iou: float, frames: int) -> dict[str, Any]:
        chosen = {"view": "static", "round": 3}
        return {"benchmark": benchmark, "iou_mean": iou, "frames": frames, **chosen}

    runs = [
        write_run(
            "one",
            still("msra-b", 0.2, 100),
            still("ecssd", 0.4, 200),
            still("dut-omron", 0.6, 700),
            **learned_from(12, "dozen"),
        ),
        # As many, but other videos: what the paper's deviation is over.
        write_run("other", still("ecssd", 0.9, 200), **learned_from(12, "other dozen")),
        write_run("few", still("stills", 0.3, 9), **learned_from(5, "five")),
    ]
    comparison = compare("dystab/6", runs)
    (dozen,) = lines(comparison, "12")
    # 0.2 * 0.1 + 0.4 * 0.2 + 0.6 * 0.7 = 0.52; the other run lacks two of the three.
    assert dozen.names == "one, other (2 seeds)"
    assert dozen.cells["mIoU ± Std. Dev."].values == (pytest.approx(52.0),)
    command = dozen.cells["mIoU ± Std. Dev."].command
    assert "--benchmark msra-b" in command
    assert "--benchmark ecssd" not in command
    assert "/one" not in command
    (few,) = lines(comparison, "any other")
    assert few.cells["stills"].values == (30.0,)
    assert not lines(compare("dystab/6", []), "any other")


def learned_from_120_videos(tmp_path: Path) -> dict[str, str]:
    """Write a manifest; return what a run that learned from it tells."""
    videos = tuple(
        VideoEntry(id=f"v{n}", name=f"v{n}", frames=1, sha256="", masks_sha256=None)
        for n in range(120)
    )
    manifest = Manifest(
        settings=IngestSettings(), shard_bytes=1, videos=videos, skipped=(), shards=()
    )
    commit_manifest(str(tmp_path / "c"), manifest, None)
    return {"collection": str(tmp_path / "c"), "manifest": manifest.id}


def test_table_6_counts_the_videos_that_a_run_read_of_a_collection(write_run, tmp_path):
    told = learned_from_120_videos(tmp_path)
    record = {"benchmark": "stills", "iou_mean": 0.3, "frames": 9, "view": "static", "round": 3}
    tenth = {"seed": 0, "method": BOOTSTRAP, "data": {"fraction": 0.1}}
    listed = {"seed": 0, "method": BOOTSTRAP, "data": {"videos": [f"v{n}" for n in range(36)]}}
    shares = [0.1, 0.3, 0.5, 0.9]
    grown = {"seed": 0, "method": BOOTSTRAP, "data": {"fraction": 1.0, "growth": shares}}
    runs = [
        write_run("tenth", record, settings=tenth, **told),
        write_run("listed", record, settings=listed, **told),
        write_run("grown", record, settings=grown, **told),
    ]
    comparison = compare("dystab/6", runs)
    for videos_read, name in (("12", "tenth"), ("36", "listed"), ("108", "grown")):
        (line,) = lines(comparison, videos_read)
        assert line.names == f"{name} (one seed)"


def test_repetitions_of_table_6_are_one_experiment_whichever_videos_each_drew(write_run, tmp_path):
    told = learned_from_120_videos(tmp_path)
    record = {"benchmark": "stills", "frames": 9, "view": "static", "round": 3}
    runs = [
        write_run(
            f"run{seed}",
            record | {"iou_mean": iou},
            settings={
                "seed": seed,
                "method": BOOTSTRAP,
                "data": {"fraction": 0.1, "fraction_seed": seed},
            },
            **told,
        )
        for seed, iou in enumerate((0.3, 0.5))
    ]
    (line,) = lines(compare("dystab/6", runs), "12")
    assert [cell.mean for cell in line.cells.values() if cell.values] == [pytest.approx(40.0)]


def test_table_7_reads_the_other_video_sets(write_run):
    run = write_run("run", scored("davis17 val", 0.4, round=3, crf=True))
    (line,) = lines(compare("dystab/7", [run]), "Ours")
    assert line.cells["DAVIS17"].values == (40.0,)


def test_what_was_not_scored_is_a_command_and_never_a_number(write_run):
    run = write_run("run", scored(round=1))
    static, fused = lines(compare("dystab/5", [run]), "1")
    assert fused.cells["DAVIS"] == Cell((50.0,), "")
    assert static.cells["DAVIS"] == Cell(
        (),
        f"selfseg evaluate {run} --benchmark davis16 --split val --root DIR"
        " --view static --round 1",
    )
    assert static.cells["DAVIS"].text(1, "[1]") == "[1]"


def test_seeds_that_lack_a_score_are_counted_and_named(write_run):
    record = scored(round=3, crf=True)
    runs = [write_run(f"run-{seed}", *[record] * (seed == 1), seed=seed) for seed in range(3)]
    (line,) = lines(compare("dystab/3", runs), "Ours", "Unsupervised Methods")
    cell = line.cells["DAVIS"]
    assert cell.text(3, "[1]") == "50.0 (1 of 3) [1]"
    assert cell.command == (
        f'for RUN in {runs[0]} {runs[2]}; do selfseg evaluate "$RUN" --benchmark davis16'
        " --split val --root DIR --view fused --round 3 --crf; done"
    )


def test_without_a_run_the_command_trains_one_first():
    blind, _ = compare("dystab/2", []).lines
    assert blind[0].names == "no run yet"
    assert blind[0].cells["DAVIS"].command == (
        "selfseg train dystab_static_plain --collection URL --run RUN"
        " && selfseg evaluate RUN --benchmark davis16 --split val --root DIR"
        " --view static --round 1"
    )


def test_a_run_is_not_asked_for_rounds_it_never_had(write_run):
    run = write_run("run", method=changed(BOOTSTRAP, rounds=1))
    comparison = compare("dystab/5", [run])
    assert [line.names for line in lines(comparison, "1")] == ["run (one seed)"] * 2
    assert [line.names for line in lines(comparison, "2")] == ["no run yet"] * 2


def test_a_benchmark_of_our_own_gets_a_column_that_says_so(write_run):
    part = "davis16 val, 3 of 20, every 5"
    run = write_run("run", scored("ours", 0.6, round=1), scored(part, round=2))
    comparison = compare("dystab/5", [run])
    own = [part, "ours"]
    assert list(comparison.columns) == ["DAVIS", "FBMS", "SegTV2", *own]
    static, fused = lines(comparison, "1")
    assert fused.cells["ours"].values == (60.0,)
    assert static.cells["ours"].command == (
        f"selfseg evaluate {run} --collection collections/ours --view static --round 1"
    )
    assert fused.cells[part].command == (
        f"selfseg evaluate {run} --benchmark davis16 --split val --root DIR --every 5"
        " --view fused --round 1"
    )
    assert "not comparable in scale" in str(comparison.table().caption)
    assert "not comparable" not in str(compare("dystab/5", []).table().caption)


def test_scores_of_baselines_and_of_earlier_checkpoints_do_not_count(write_run):
    run = write_run(
        "run",
        scored(j=0.9, view=None, baseline="flow-otsu", checkpoint=None),
        scored(j=0.3, view="dynamic", checkpoint="run/checkpoints/step_00000900"),
        scored(j=0.2, view="dynamic", checkpoint="run/checkpoints/step_00000100"),
        method={"name": "dystab_dynamic", "lambda_tc": -0.1},
    )
    assert means(lines(compare("dystab/1", [run]), "Ours"), "DAVIS") == [30.0]


def test_one_checkpoint_that_scored_twice_and_differently_is_refused(write_run):
    one, other = scored(round=1), scored(j=0.6, round=1, title="other")
    with pytest.raises(UserError, match="run and other on davis16 val"):
        compare("dystab/5", [write_run("run", one, other)])


def test_a_file_that_is_no_score_is_named(write_run):
    run = write_run("run")
    (Path(run) / "evaluations" / "broken.json").write_text("{}")
    with pytest.raises(UserError, match=r"broken\.json: not a score"):
        compare("dystab/5", [run])


def test_it_says_how_many_pairs_of_rows_are_in_the_papers_order(write_run, capsys):
    """In the paper each round is better than those before; here the third is worse than the second.

    The fused view, whose order is another, stands in second lines.
    """
    found = [
        scored(j=j, round=number, view=view)
        for view, scores in {"static": (0.4, 0.6, 0.5), "fused": (0.9, 0.8, 0.7)}.items()
        for number, j in enumerate(scores, 1)
    ]
    run = write_run("run", *found, scored("fbms59 test", round=1, view="static"))
    comparison = compare("dystab/5", [run])
    assert comparison.as_json()["directions"] == {"DAVIS": {"alike": 2, "pairs": 3}}
    main(["table", "dystab/5", run])
    printed = " ".join(capsys.readouterr().out.split())
    assert "DAVIS: The order agrees in 2 of 3 pairs of rows that the paper tells apart." in printed
    assert "FBMS: The order" not in printed


def test_the_command_prints_both_and_writes_every_score(write_run, tmp_path, capsys):
    runs = [
        write_run(f"run-{seed}", scored(j=j, round=2), seed=seed)
        for seed, j in enumerate((0.4, 0.6))
    ]
    main(["table", "dystab/5", *runs, "--json", str(tmp_path / "table.json")])
    printed = capsys.readouterr().out
    assert "79.2" in printed
    assert "50.0 ± 14.14" in printed
    assert f"for RUN in {' '.join(runs)}; do" in printed
    row = json.loads((tmp_path / "table.json").read_text())["rows"][1]
    assert row["paper"] == {"DAVIS": "79.2", "FBMS": "71.7", "SegTV2": "73.1"}
    assert row["ours"][1]["seeds"] == [0, 1]
    assert row["ours"][1]["cells"]["DAVIS"] == {
        "mean": pytest.approx(50.0),
        "deviation": pytest.approx(10 * sqrt(2)),
        "values": [40.0, 60.0],
        "missing": None,
    }
