"""A model that goes on learning while its collection grows, against training anew each time.

No paper's table. A quarter of the videos is there at first, the next arrives before each round of
the bootstrap. Trained anew are models on 1, 2, 3 and 4 quarters, the same quarters for the same
seed. REHEARSALS are shares of each batch that are drawn from earlier videos once new ones are
there. OUTPUT/growing.csv and the report say what each scored, cost and forgot. Every other
annotated video is scored; --root DAVIS scores all on the training split of DAVIS 2016.
"""

from command import main

from selfseg.sweep.plan import Cell, Measure, Size, Sweep

RECIPES = {"full": "dystab_bootstrap", "cpu": "dystab_bootstrap_cpu"}

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Of the videos that have arrived in rounds 0 to 3."""

REHEARSALS = {"0": 0.0, "0.5": 0.5, "all-alike": None}


def sweep(size: Size) -> Sweep:
    """Return the sweep."""
    recipe = RECIPES[size]
    anew = [
        Cell({"learning": "from-scratch", "videos": str(share)}, recipe, {"data.fraction": share})
        for share in SHARES
    ]
    going_on = [
        Cell(
            {"learning": "going-on", "rehearsal": name},
            recipe,
            {"data.growth": list(SHARES), "data.rehearsal": rehearsal},
            rounds=(0, 1, 2, 3),
        )
        for name, rehearsal in REHEARSALS.items()
    ]
    return Sweep(
        table="dystab/continual",
        column=None,
        caption="Going on learning while a collection grows, or training anew",
        continual=True,
        cells=(*anew, *going_on),
        # Before round 1 chi has learned nothing, and fused masks would be half noise.
        measure=Measure("j_mean", view="dynamic"),
        benchmark="davis16",
        splits=("train", "val"),
        # With each seed, other videos arrive first.
        seeded=("seed", "data.fraction_seed"),
        seeds=3,
    )


if __name__ == "__main__":
    main(sweep)
