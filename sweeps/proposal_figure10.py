"""Figure 10 of the proposal paper: how a box is drawn and who learns, and epsilon of Eq. 6."""

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

EPSILONS = (0.05, 0.1, 0.25, 0.5)
"""Shares of uniform draws besides the recipe's own; the paper names the term, not its value."""


def sweep(size: Size) -> Sweep:
    """Return the sweep."""
    ending = "_cpu" if size == "cpu" else ""
    variants = [Cell({"variant": name}, recipe + ending) for name, recipe in VARIANTS.items()]
    epsilons = [
        Cell(
            {"variant": "importance", "epsilon": str(value)},
            f"proposal{ending}",
            {"method.exploration": value},
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
