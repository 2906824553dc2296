"""Table 4 of the proposal paper: the box's range and lambda of the mask's prior, 18 cells."""

# Measured at CPU size, on 2 cores, with inpainters of another run (--set start.image_inpainter=RUN
# --set method.inpainter_steps=0) and 1500 steps of D and S (method.proposal_steps, loop.steps), of
# which 150 are warm-up (method.warmup_steps). Nine persons of DAVIS 2016's training videos, every
# 8th frame, J on five of them at each trial's best threshold there, one seed: b[0.1,0.5] 0.384,
# b[0.2,0.5] 0.412, b[0.3,0.5] 0.394, b[0.2,0.6] 0.403, b[0.2,0.7] 0.401, b[0.2,0.8] 0.392; on the
# other four 0.324, of the best. After 450 steps, with the most probable cell's boxes, b[0.2,0.8]
# was the best, as in the paper. lambda changes nothing, to the last bit: Eq. 7 has a slope of 1
# wherever a mask covers more than lambda, and masks cover 0.05 of these images, ten times the
# largest lambda. So six cells tell all: 9000 steps, 51 minutes, two at a time.
# With --scheduler asha all 18: 9000 steps, a third of the grid's, in 55 minutes, killed and begun
# again on the way. It ends with the grid's best cell, 0.412; at the first rung, after 300 steps,
# b[0.3,0.5] was the best with 0.314, and b[0.2,0.5] the second with 0.298.

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
