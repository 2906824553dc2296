"""Table 6 of DyStaB: the static model over more and more videos, scored on single images.

The videos are in ten random parts; chi_i sees parts 1 to 2 i + 1, so that larger sets hold the
smaller ones. Each repetition draws the parts anew. Give annotated stills to score on:
--score-on STILLS, or --root DIR --benchmark msra-b.
"""

# Measured at CPU size, on 2 cores, with --seeds 3: 15 trials of 1850 steps in about an hour and a
# half. Learned from shares of the 30 training videos of DAVIS 2016, scored on 125 photographs of
# DUTS without CRF; IoU, mean +- sample deviation: 0.264 +- 0.046 of 3 videos, 0.367 +- 0.028 of 9,
# 0.408 +- 0.015 of 15, 0.410 +- 0.009 of 21, 0.412 +- 0.006 of 27: more is better in every pair,
# but from 15 on by less than a deviation. 27 were chosen: 0.435, 0.450, 0.435 on the other 125.

from command import main

from selfseg.sweep.plan import Cell, Halving, Measure, Size, Sweep

VIDEOS = {0.1: 12, 0.3: 36, 0.5: 60, 0.7: 84, 0.9: 108}
"""Share of the videos, and how many these are of the paper's."""

RECIPES = {"full": "dystab_bootstrap", "cpu": "dystab_bootstrap_cpu"}


def sweep(size: Size) -> Sweep:
    """Return the sweep."""
    return Sweep(
        table="dystab/6",
        column="mIoU ± Std. Dev.",
        cells=tuple(
            Cell(
                {"videos": str(share)},
                RECIPES[size],
                {"data.fraction": share},
                # The last round's, also where `--set` makes them fewer than the paper's three.
                {"collection.videos": count, "round": 3},
            )
            for share, count in VIDEOS.items()
        ),
        measure=Measure("iou_mean", view="static"),
        benchmark="msra-b",
        splits=("all", None),
        seeded=("seed", "data.fraction_seed"),
        seeds=5,
        # Before, chi has learned nothing.
        halving=Halving(after=("method.initial_steps",)),
    )


if __name__ == "__main__":
    main(sweep)
