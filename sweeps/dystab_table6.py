"""Table 6 of DyStaB: the static model over more and more videos, scored on single images.

The videos are in ten random parts; chi_i sees parts 1 to 2 i + 1, so that larger sets hold the
smaller ones. Each repetition draws the parts anew. Give annotated stills to score on:
--score-on STILLS, or --root DIR --benchmark msra-b.
"""

from command import main

from selfseg.sweep.plan import Cell, Measure, Size, Sweep

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
    )


if __name__ == "__main__":
    main(sweep)
