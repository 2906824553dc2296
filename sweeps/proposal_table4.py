"""Table 4 of the proposal paper: the box's range and lambda of the mask's prior, 18 cells."""

from command import main

from selfseg.sweep.plan import Halving, Measure, Size, Sweep, grid

BOXES = ((0.1, 0.5), (0.2, 0.5), (0.3, 0.5), (0.2, 0.6), (0.2, 0.7), (0.2, 0.8))
LAMBDAS = (0.0005, 0.001, 0.005)


def sweep(size: Size) -> Sweep:
    """Return the sweep."""
    return Sweep(
        table="proposal/4",
        column="Ski-PTZ val J",
        cells=grid(
            "proposal_without_flow_cpu" if size == "cpu" else "proposal_without_flow",
            {
                "box": ("method.detector.box", BOXES),
                "lambda": ("method.mask_lambda", LAMBDAS),
            },
        ),
        measure=Measure("j_mean", view="static", best_threshold=True),
        benchmark="ski-ptz",
        splits=("val", "test"),
        # Inpainters learn first, and are alike in all cells.
        halving=Halving(rungs=3, factor=3, after=("method.inpainter_steps", "method.warmup_steps")),
    )


if __name__ == "__main__":
    main(sweep)
