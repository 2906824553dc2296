"""Figure 10 of the proposal paper: how a box is drawn and who learns, and epsilon of Eq. 6."""

# Measured at CPU size on 16 cores, nine trials at a time, with inpainters of another run, the
# paper's own estimator (--set method.reward_baseline=none --set method.background_weight=0.1) and
# 750 steps of D and S, of which 130 are warm-up; three seeds, --trials 6: 18 trials in 16 min 26 s,
# with devices idle between trials for 0.2 % of it. Nine persons of DAVIS 2016's training videos,
# five of them scored, every 8th frame, J at 0.5, boxes and masks of the most probable cell alone,
# mean and deviation of the seeds:
#
#                     box hit        IoU 0.5        J              mean side of the boxes at the end
#   (a) uniform       0.869 +- .021  0.392 +- .059  0.305 +- .016  0.39
#   (b) joint         0.122 +- .011  0.023 +- .024  0.025 +- .005  0.800, the largest, in all three
#   (c) G alone       0.728 +- .014  0             0.129 +- .003  0.200, the smallest, in all three
#   (d) regression    0             0             0              0.200, in a corner, in all three
#   (e) Gumbel        0.794 +- .114  0.356 +- .106  0.286 +- .077  0.40
#   (f) importance    0.920 +- .012  0.416 +- .001  0.345 +- .020  0.41
#
# So (b), (c) and (d) end as in the paper, and importance sampling is ahead of uniform draws in J
# and box hit with each seed; but uniform draws converge, too, only later. mAP at 0.5 does not tell
# (a), (e) and (f) apart: 0.221 +- .019, 0.233 +- .070, 0.216 +- .023.

from command import main

from selfseg.sweep.plan import Cell, Halving, Measure, Size, Sweep

VARIANTS = {
    "uniform": "proposal_uniform",
    "joint": "proposal_joint",
    "background-only": "proposal_background_only",
    "regression": "proposal_regression",
    "gumbel": "proposal_gumbel",
    "importance": "proposal",
}
"""Recipes (a) to (f)."""

NO_EXTENT = {"method.extent_weight": 0, "method.outline_weight": 0}
"""The figure is about what O and G alone make of boxes."""

EPSILONS = (0.05, 0.1, 0.25, 0.5)
"""Shares of uniform draws besides the recipe's own; the paper names the term, not its value."""


def sweep(size: Size) -> Sweep:
    """Return the sweep."""
    ending = "_cpu" if size == "cpu" else ""
    variants = [
        Cell({"variant": name}, recipe + ending, NO_EXTENT) for name, recipe in VARIANTS.items()
    ]
    epsilons = [
        Cell(
            {"variant": "importance", "epsilon": str(value)},
            f"proposal{ending}",
            {"method.exploration": value, **NO_EXTENT},
        )
        for value in EPSILONS
    ]
    return Sweep(
        table="proposal/figure10",
        column="H36M mAP0.5",
        cells=(*variants, *epsilons),
        measure=Measure("map50", view="static"),
        # Human3.6M gives no masks to everyone; --score-on or --benchmark say what there is.
        benchmark="ski-ptz",
        splits=("val", "test"),
        halving=Halving(after=("method.inpainter_steps", "method.warmup_steps")),
    )


if __name__ == "__main__":
    main(sweep)
