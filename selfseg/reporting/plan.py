"""What a run's settings say about its course: its phases, and whether it is shown labels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch

from selfseg.contracts import Phase
from selfseg.errors import UsageError
from selfseg.experiment import ExperimentConfig, build_method

LABEL_FREE = ("none", "dino")
"""Initial weights that nobody drew or named anything for; others come from named pictures."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The course of a run.

    phases: in order; empty: all of it is one
    labels: what people had to give it: nothing, names of pictures for its initial weights at most,
        or masks; None: its settings are not those of a method that is known here
    """

    phases: tuple[Phase, ...] = ()
    labels: Literal["none", "names", "masks"] | None = None


def read_plan(settings: Mapping[str, Any]) -> Plan:
    """Read the plan of a run; one by another version of selfseg has an empty one."""
    try:
        config = ExperimentConfig.parse(settings, origin="run.json").method
        # Its plan is asked for, not its weights.
        with torch.device("meta"):
            method = build_method(config)
    except UsageError:
        return Plan()
    if method.supervised:
        return Plan(method.phases, "masks")
    named = set(_weights(settings["method"])) - set(LABEL_FREE)
    return Plan(method.phases, "names" if named else "none")


def _weights(component: Mapping[str, Any]) -> Iterator[str]:
    """Yield where the weights of all networks in a component come from."""
    if "weights" in component and component.get("network") != "none":
        yield component["weights"]
    for part in component.values():
        if isinstance(part, Mapping):
            yield from _weights(cast(Mapping[str, Any], part))
