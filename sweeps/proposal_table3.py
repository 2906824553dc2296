"""Table 3 of the proposal paper: the mask's prior, and where the networks' weights come from."""

from command import main

from selfseg.sweep.plan import Cell, Halving, Measure, Size, Sweep

FULL = {
    "prior=none": "proposal_prior_none",
    "prior=l2": "proposal_prior_l2",
    "prior=l1": "proposal_prior_l1",
    "prior=v": "proposal_without_flow",
    "prior=v,weights=none": "proposal_weights_none",
    "prior=v,weights=dino": "proposal_weights_self_supervised",
}
"""Recipes by what the row is about."""

CPU = {
    # Nobody has weights of the small networks; of the larger, only ImageNet's and random ones.
    "prior=none": "proposal_prior_none_cpu",
    "prior=l2": "proposal_prior_l2_cpu",
    "prior=l1": "proposal_prior_l1_cpu",
    "prior=v": "proposal_without_flow_cpu",
    "prior=v,weights=imagenet": "proposal_weights_imagenet_cpu",
    "prior=v,weights=none": "proposal_weights_none_cpu",
}
"""The same for two CPU cores."""


def sweep(size: Size) -> Sweep:
    """Return the sweep."""
    recipes = CPU if size == "cpu" else FULL
    return Sweep(
        table="proposal/3",
        column="Ski-PTZ val J",
        cells=tuple(
            Cell(dict(part.split("=") for part in name.split(",")), recipe)
            for name, recipe in recipes.items()
        ),
        measure=Measure("j_mean", view="static", best_threshold=True),
        benchmark="ski-ptz",
        splits=("val", "test"),
        seeds=3,
        halving=Halving(after=("method.inpainter_steps", "method.warmup_steps")),
    )


if __name__ == "__main__":
    main(sweep)
