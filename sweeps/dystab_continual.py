"""A model that goes on learning while its collection grows, against training anew each time.

No paper's table. Part of the videos is there until the end of the bootstrap's first round, more
arrive before the second and the third. Trained anew are models on each of these shares, the same
videos for the same seed. REHEARSALS are shares of each batch that are drawn from earlier videos
once new ones are there. OUTPUT/growing.csv and the report say what each scored, cost and forgot.
Every other annotated video is scored; --root DAVIS scores all on the training split of DAVIS 2016.
"""

# Measured at CPU size, on 2 cores, with --seeds 2 --every 8 and shortened by --set
# (method.initial_steps and method.dynamic.imitation_steps 300, method.static_steps 120,
# method.dynamic_steps 30): 12 trials in 28 minutes. The 30 training videos of DAVIS 2016, of which
# 9, 18 and 30 had arrived; chi alone, J without CRF on 15 of them once all were there, mean +-
# sample deviation: trained anew 0.478 +- 0.000; going on with rehearsal 0.5 0.495 +- 0.005, all
# alike 0.487 +- 0.002, without rehearsal 0.469 +- 0.023. Training took 238 s going on, and 754 s
# anew three times (254 s the last). J of the videos that were there first, less than right after
# the first round: 0.019 and 0.063 without rehearsal (seeds 0 and 1), more by 0.054 and 0.025 with
# 0.5.

from command import main

from selfseg.sweep.plan import Cell, Halving, Measure, Size, Sweep

RECIPES = {"full": "dystab_bootstrap", "cpu": "dystab_bootstrap_cpu"}

SHARES = (0.3, 0.6, 1.0)
"""Of the videos that have arrived in rounds 1 to 3; before, phi alone learns from the first."""

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
            {"data.growth": [SHARES[0], *SHARES], "data.rehearsal": rehearsal},
            rounds=(1, 2, 3),
        )
        for name, rehearsal in REHEARSALS.items()
    ]
    return Sweep(
        table="dystab/continual",
        column=None,
        caption="Going on learning while a collection grows, or training anew",
        continual=True,
        cells=(*anew, *going_on),
        # chi knows a video by its looks alone: it is who can forget.
        measure=Measure("j_mean", view="static"),
        benchmark="davis16",
        splits=("train", "val"),
        # With each seed, other videos arrive first.
        seeded=("seed", "data.fraction_seed"),
        seeds=3,
        # Before, chi has learned nothing.
        halving=Halving(after=("method.initial_steps",)),
    )


if __name__ == "__main__":
    main(sweep)
