"""One optimiser per player, each with its own settings; rates are functions of the step."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from torch import nn
from torch.optim import AdamW, Optimizer

from selfseg.config import Config
from selfseg.errors import UsageError

Momentum = Annotated[float, Field(ge=0, lt=1)]


class AdamConfig(Config):
    """Adam with decoupled weight decay: AdamW, which is Adam when the decay is 0."""

    learning_rate: PositiveFloat = 1e-4
    """Step size at full height of the schedule."""

    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    """Memory of the gradient's mean and of its square."""

    weight_decay: NonNegativeFloat = 0.0
    """Shrinkage a step, relative to the learning rate."""

    schedule: Literal["constant", "cosine"] = "constant"
    """cosine: from full height at the first step to 0 after the run's last."""

    warmup_steps: NonNegativeInt = 0
    """Steps of the run over which the rate rises linearly to the schedule."""

    clip_norm: PositiveFloat | None = None
    """Largest norm of the player's gradient; longer ones are shortened."""

    clip_value: PositiveFloat | None = None
    """Largest magnitude of a gradient's element; larger ones are cut, before `clip_norm`."""

    factors: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Learning rate of a network's part as a share of the rest's, by the part's path: `encoder`,
    which may know something already, or `autoencoder.decoder`. Every player that the settings are
    for must have it."""


class OptimisersConfig(AdamConfig):
    """The optimiser of every player; those under `players` have one of their own."""

    players: dict[str, AdamConfig] = Field(default_factory=dict)
    """Settings by player, each complete in itself: nothing is taken over from the shared ones."""

    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of a running mean of all weights, used for prediction; 0: the last weights are used."""

    def of(self, player: str) -> AdamConfig:
        """Return the settings that hold for `player`."""
        return self.players.get(player, self)


def learning_rate_at(step: int, config: AdamConfig, steps: int) -> float:
    """Return the rate of `step`, counted over all players, in a run of `steps`.

    rate = learning_rate * min(1, (step + 1) / warmup_steps) * shape
    shape = 1  or  (1 + cos(pi * step / steps)) / 2
    """
    rise = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    shape = 1.0
    if config.schedule == "cosine":
        shape = (1 + math.cos(math.pi * step / steps)) / 2
    return config.learning_rate * rise * shape


def build_optimisers(players: nn.ModuleDict, config: OptimisersConfig) -> dict[str, Optimizer]:
    """Give each player that has something to learn its optimiser.

    Raises:
        UsageError: settings for a player the method does not have.
    """
    check_players(config, dict(players.items()))
    optimisers: dict[str, Optimizer] = {}
    for name, player in players.items():
        own = config.of(name)
        if groups := _groups(name, player, own.factors):
            optimisers[name] = AdamW(
                groups, lr=own.learning_rate, betas=own.betas, weight_decay=own.weight_decay
            )
    return optimisers


def _groups(name: str, player: nn.Module, factors: Mapping[str, float]) -> list[dict[str, Any]]:
    """Split what a player can learn by the share of the learning rate; none is left empty."""
    learned = {path: p for path, p in player.named_parameters() if p.requires_grad}
    rest = dict(learned)
    groups = []
    for part, factor in factors.items():
        inside = [rest.pop(path) for path in list(rest) if path.startswith(f"{part}.")]
        if learned and not inside:
            raise UsageError(f"setting optim, factors.{part}: player {name} has no such part")
        groups.append({"params": inside, "factor": factor})
    groups.insert(0, {"params": list(rest.values()), "factor": 1.0})
    return [group for group in groups if group["params"]]


def check_players(config: OptimisersConfig, players: Mapping[str, object]) -> None:
    """Refuse settings that no player would ever read."""
    for name in config.players:
        if name not in players:
            known = ", ".join(players)
            raise UsageError(f"setting optim.players.{name}: no such player; there are {known}")
