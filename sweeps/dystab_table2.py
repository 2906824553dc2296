"""Table 2 of DyStaB: chi believes all of phi's masks, or each as its motion deserves; delta, too.

A phi that is there already, the same for all: --set start.segmenter=RUN
--set method.initial_steps=0 --set loop.steps=STEPS, which are those of chi and one.
"""

from command import main

from selfseg.sweep.plan import Cell, Halving, Measure, Size, Sweep

DELTAS = {"full": (0.0, 0.1, 0.3), "cpu": (0.0, 0.2, 0.6)}
"""Values besides the recipe's of where confidence begins, in the first round."""

LAMBDAS_TC = (0.0, -0.01, -1.0)
"""Weights of temporal consistency in Eq. 5 besides the recipe's, -0.1."""


def sweep(size: Size) -> Sweep:
    """Return the sweep."""
    ending = "_cpu" if size == "cpu" else ""
    confident = f"dystab_static{ending}"
    cells = [
        Cell({"masks": "all"}, f"dystab_static_plain{ending}"),
        Cell({"masks": "confident"}, confident),
    ]
    for delta in DELTAS[size]:
        labels = {"masks": "confident", "delta": str(delta)}
        cells.append(Cell(labels, confident, {"method.static.first_delta": delta}))
    for weight in LAMBDAS_TC:
        labels = {"masks": "confident", "lambda_tc": str(weight)}
        cells.append(Cell(labels, confident, {"method.dynamic.lambda_tc": weight}))
    return Sweep(
        table="dystab/2",
        column="DAVIS",
        cells=tuple(cells),
        measure=Measure("j_mean", view="static", rounds=(1,)),
        benchmark="davis16",
        splits=("train", "val"),
        seeds=3,
        # Before, chi has learned nothing.
        halving=Halving(after=("method.initial_steps",)),
    )


if __name__ == "__main__":
    main(sweep)
