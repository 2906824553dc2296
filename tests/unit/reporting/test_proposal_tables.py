"""The proposal method's tables: each run in the row that its settings ask for, in shares of 1."""

from typing import Any

from selfseg.reporting.tables import Comparison, compare
from tests.unit.reporting.scored_runs import changed, lines

PROPOSAL = {
    "name": "proposal",
    "background": "inpainted",
    "training": "separate",
    "sampling": "importance",
    "mask_prior": "v",
    "mask_lambda": 0.001,
    "flow_weight": 1.0,
    "detector": {
        "architecture": "resnet18",
        "weights": "torchvision",
        "cells": 8,
        "box": [0.2, 0.8],
    },
}
STILL = changed(PROPOSAL, flow_weight=0.0)


def found(benchmark: str, j: float, **told: Any) -> dict[str, Any]:
    """Return what a detector scores."""
    return {"benchmark": benchmark, "j_mean": j, "f_mean": j + 0.01, "view": "static", **told}


def rows_with_runs(comparison: Comparison) -> dict[str, str]:
    """Return the runs of each row that has some."""
    rows = zip(comparison.published.rows, comparison.lines, strict=True)
    names = {row.label: ", ".join(line.names for line in lines if line.runs) for row, lines in rows}
    return {label: name for label, name in names.items() if name}


def test_proposal_1_tells_flow_and_crf_apart_and_prints_shares_as_the_paper_does(write_run):
    comparison = compare(
        "proposal/1",
        [
            write_run(
                "with",
                found("ski-ptz test", 0.7),
                found("ski-ptz test", 0.8, crf=True),
                method=PROPOSAL,
            ),
            write_run("without", found("ski-ptz test", 0.6), method=STILL),
            write_run(
                "uniform", found("ski-ptz test", 0.1), method=changed(PROPOSAL, sampling="uniform")
            ),
        ],
    )
    assert rows_with_runs(comparison) == {
        "Ours w/o optical flow": "without (one seed)",
        "Ours w/ optical flow": "with (one seed)",
        "Ours w/ optical flow + CRF": "with (one seed)",
    }
    (line,) = lines(comparison, "Ours w/ optical flow + CRF")
    assert line.cells["Ski-PTZ J"].text(1, "") == "0.800"
    assert line.cells["Ski-PTZ F"].text(1, "") == "0.810"
    assert line.cells["FS-Singles F"].command.endswith(
        " --benchmark fs-singles --split test --root DIR --view static --crf"
    )


def test_proposal_2_takes_the_best_row_of_table_1(write_run):
    run = write_run("run", found("fs-singles test", 0.7, crf=True), method=PROPOSAL)
    (line,) = lines(compare("proposal/2", [run]), "Ours w/ optical flow + CRF")
    assert line.cells["FS-Singles J"].values == (0.7,)


def test_proposal_3_tells_priors_and_initial_weights_apart(write_run):
    def trained(name: str, detector: dict[str, Any] | None = None, **method: Any) -> str:
        inside = changed(STILL["detector"], **(detector or {}))
        return write_run(
            name, found("ski-ptz val", 0.5), method=changed(STILL, detector=inside, **method)
        )

    runs = [
        trained("plain"),
        trained("small", {"architecture": "small", "weights": "none"}),
        trained("random", {"weights": "none"}),
        trained("dino", {"architecture": "resnet50", "weights": "dino"}),
        *(trained(f"{prior}", mask_prior=prior) for prior in ("none", "l1", "l2")),
        trained("flow", flow_weight=1.0),
    ]
    assert rows_with_runs(compare("proposal/3", runs)) == {
        "Ours w/o optical flow w/o prior": "none (one seed)",
        "Ours w/o optical flow w/ L2 prior": "l2 (one seed)",
        "Ours w/o optical flow w/ L1 prior": "l1 (one seed)",
        "Ours w/o optical flow w/ Lv prior": "plain (one seed), small (one seed)",
        "No ImageNet pre-training, Lv prior": "random (one seed)",
        "Unsupervised pre-training [47], Lv prior": "dino (one seed)",
    }


def test_proposal_4_finds_its_cells_by_box_and_lambda(write_run):
    other = changed(STILL, mask_lambda=0.0005, detector=changed(STILL["detector"], box=[0.1, 0.5]))
    runs = [
        write_run("best", found("ski-ptz val", 0.6), method=STILL),
        write_run("other", found("ski-ptz val", 0.5), method=other),
    ]
    comparison = compare("proposal/4", runs)
    assert rows_with_runs(comparison) == {
        "b[0.1,0.5], Lv,λ=0.0005": "other (one seed)",
        "b[0.20,0.80], Lv,λ=0.001": "best (one seed)",
    }
    (missing,) = lines(comparison, "b[0.30,0.5], Lv,λ=0.005")
    assert missing.cells["Ski-PTZ val J"].command.startswith(
        "selfseg train proposal_without_flow --collection URL --run RUN "
        '--set "method.detector.box=[0.3, 0.5]" --set method.mask_lambda=0.005 && '
    )


def test_figure_10_has_a_row_for_each_way_to_train(write_run):
    def trained(name: str, **method: Any) -> str:
        return write_run(name, found("persons", 0.5, map50=0.4), method=changed(PROPOSAL, **method))

    one_cell = changed(PROPOSAL["detector"], cells=1)
    runs = [
        trained("ours"),
        trained("uniform", sampling="uniform"),
        trained("joint", training="joint"),
        trained("alone", training="background"),
        trained("regression", training="joint", detector=one_cell),
        trained("gumbel", sampling="gumbel"),
        trained("sum", sampling="all"),
    ]
    comparison = compare("proposal/figure10", runs)
    assert list(rows_with_runs(comparison).values()) == [
        f"{name} (one seed)"
        for name in ("uniform", "joint", "alone", "regression", "gumbel", "ours", "sum")
    ]


def test_a_collection_of_our_own_has_a_column_for_each_score_that_is_there(write_run):
    seeds = [
        write_run(
            f"run-{seed}",
            found("persons", 0.5, map50=0.4 + seed / 10, box_hit=0.9),
            method=PROPOSAL,
            seed=seed,
        )
        for seed in (0, 1)
    ]
    comparison = compare("proposal/figure10", seeds)
    own = ["persons mAP0.5", "persons box hit", "persons J", "persons F"]
    assert list(comparison.columns) == ["H36M mAP0.5", *own]
    (line,) = lines(comparison, "(f) Ours")
    # 0.4 and 0.5: their mean is 0.45, their sample deviation 0.1 / sqrt(2).
    assert line.cells["persons mAP0.5"].text(2, "") == "0.450 ± 0.071"
    assert line.cells["persons F"].values == (0.51, 0.51)
    assert line.cells["H36M mAP0.5"].text(2, "[1]") == "[1]"


def test_a_score_of_a_benchmark_that_the_paper_has_by_another_score_is_marked(write_run):
    run = write_run("run", found("ski-ptz test", 0.7, map50=0.6), method=PROPOSAL)
    comparison = compare("proposal/1", [run])
    assert list(comparison.columns)[6:] == ["ski-ptz test mAP0.5"]
    assert "not comparable in scale" in str(comparison.table().caption)


def test_scores_beside_a_chosen_threshold_ask_for_one_again(write_run):
    """What was taken out for validation is a choice of the evaluation; the names are not kept."""
    runs = [
        write_run("one", found("persons without 2 for validation", 0.5), method=PROPOSAL),
        write_run("two", method=PROPOSAL, seed=1),
        write_run(
            "ski",
            found("ski-ptz test without 2 for validation", 0.5),
            method=PROPOSAL,
            manifest="1",
        ),
    ]
    one, ski = lines(compare("proposal/1", runs), "Ours w/ optical flow")
    assert one.cells["persons without 2 for validation J"].command == (
        f"selfseg evaluate {runs[1]} --collection persons --validation NAMES --view static"
    )
    assert ski.cells["ski-ptz test without 2 for validation J"].values == (0.5,)
    assert one.cells["ski-ptz test without 2 for validation J"].command.endswith(
        "--benchmark ski-ptz --split test --root DIR --validation NAMES --view static; done"
    )
