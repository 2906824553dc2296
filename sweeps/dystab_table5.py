"""Table 5 of DyStaB: what each round of bootstrapping adds; one run is scored after every round."""

from command import main

from selfseg.sweep.plan import Cell, Halving, Measure, Size, Sweep

RECIPES = {"full": "dystab_bootstrap", "cpu": "dystab_bootstrap_cpu"}


def sweep(size: Size) -> Sweep:
    """Return the sweep."""
    return Sweep(
        table="dystab/5",
        column="DAVIS",
        cells=(Cell({"rounds": "3"}, RECIPES[size]),),
        measure=Measure("j_mean", view="fused", rounds=(1, 2, 3)),
        benchmark="davis16",
        splits=("train", "val"),
        seeds=3,
        # Before, chi has learned nothing.
        halving=Halving(after=("method.initial_steps",)),
    )


if __name__ == "__main__":
    main(sweep)
