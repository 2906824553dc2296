"""DyStaB whole: phi and chi teach each other, Algorithm 1 of the paper.

    initial             phi, psi by Eq. 5
    each round          chi by Eq. 7, from phi's masks; then phi, psi by Eq. 8, with chi's help

Masks and their confidence are computed for each batch as it passes; none is kept.
"""

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from selfseg.contracts import FramePairs, Objective, Phase, View
from selfseg.methods.dystab.config import BootstrapConfig
from selfseg.methods.dystab.dynamic import DynamicModel
from selfseg.methods.dystab.fusion import VIEWS, fuse, segment
from selfseg.methods.dystab.labels import refined
from selfseg.methods.dystab.static import StaticModel
from selfseg.methods.dystab.static_objective import confidence
from selfseg.ops.masks import resize


class Bootstrap:
    """The players of the dynamic model, and `static` (chi) with `earlier` (chi')."""

    views: tuple[View, ...] = VIEWS
    supervised = False
    wants_motion = True
    wants_background = False

    def __init__(self, config: BootstrapConfig) -> None:
        self.config = config
        self.dynamic, self.static = DynamicModel(config.dynamic), StaticModel(config.static)
        # One cast for all: the loop puts wrappers in the place of whoever moves.
        self.players = nn.ModuleDict({**self.dynamic.players, **self.static.players})
        self.dynamic.players = self.static.players = self.players
        self.phases = phases(config)

    def initialise(self, fresh: Collection[str]) -> None:
        """Load the initial weights of chi's encoder."""
        self.static.initialise(fresh)

    def prepare(self, step: int) -> None:
        """Freeze chi' as chi is when a round begins."""
        number, within = self._place(step)
        if number and not within:
            self.static.remember()

    def player_at(self, step: int) -> str:
        """Let chi move in the first part of a round; elsewhere phi and psi take turns."""
        number, within = self._place(step)
        if not number:
            return self.dynamic.player_at(within)
        within -= self.config.static_steps
        return "static" if within < 0 else self.dynamic.player_at(within)

    def objective(
        self, player: str, batch: FramePairs, step: int, generator: Generator
    ) -> Objective:
        """Score Eq. 5 or 8 for phi, its numerators for psi, Eq. 7 for chi."""
        number, _ = self._place(step)
        match player:
            case "static":
                return self._learn_from_motion(batch, first=number == 1)
            case "segmenter" if number:
                return self._learn_from_both(batch, step)
            case _:
                return self.dynamic.objective(player, batch, step, generator)

    def segment(self, frame: FramePairs, view: View) -> Float[Tensor, "h w"]:
        """Return foreground probability, [0, 1]: by phi, by chi, or by both."""
        return segment(self.dynamic, self.static, frame, view, rule=self.config.fusion)

    def _learn_from_motion(self, batch: FramePairs, *, first: bool) -> Objective:
        """chi: L_chi, Eq. 7, with m = phi(u12); or Eq. 6."""
        config = self.config.static
        mask = self.dynamic.masks(batch)
        earlier = None if first else self.static.earlier_masks(batch.image)
        if config.refinement:
            source = mask
            if earlier is not None and config.refined == "fused":
                source = fuse(mask, earlier, rule=self.config.fusion)
            # On phi's grid: finer than that its masks are not known anyway.
            finer = refined(batch.image, source, stride=self.config.dynamic.stride)
            mask = torch.lerp(mask, finer, config.refinement)
        if config.confidence == "none":
            return self.static.learn(batch.image, mask, torch.ones_like(mask[:, 0, 0, 0]), None)
        believed = self._confidence_of(batch, mask)
        before = torch.zeros_like(believed)
        if earlier is not None:
            before = self._confidence_of(batch, earlier)
        delta = config.first_delta if first else config.delta
        weight = confidence(believed, before, delta=delta)
        return self.static.learn(batch.image, mask, weight, earlier)

    def _confidence_of(
        self, batch: FramePairs, mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        if self.config.static.confidence == "contrast":
            return self.dynamic.contrast_of(batch, mask)
        return self.dynamic.separation_of(batch, mask)

    def _learn_from_both(self, batch: FramePairs, step: int) -> Objective:
        """phi: L_J, Eq. 8."""
        objective, logits = self.dynamic.hide(batch, step)
        seen = resize(self.static.masks(batch.image), *logits.shape[-2:])
        agreement = self.static.likeness(logits, seen).mean()
        loss = objective.loss - self.config.lambda_obj * agreement
        return Objective(loss, objective.terms | {"with_static": agreement.detach()})

    def _place(self, step: int) -> tuple[int, int]:
        """Return the round that a step lies in, 0 before the first, and its number there."""
        config = self.config
        after = step - config.initial_steps
        if after < 0:
            return 0, step
        one_round = config.static_steps + config.dynamic_steps
        return after // one_round + 1, after % one_round


def phases(config: BootstrapConfig) -> tuple[Phase, ...]:
    """Lay Algorithm 1 out in steps; phases without a step are left out."""
    stop = config.initial_steps
    found = [Phase("initial", 0, stop, completes=0)]
    for number in range(1, config.rounds + 1):
        rate = 1.0 if number == 1 else config.round_rate
        start, stop = stop, stop + config.static_steps
        found.append(Phase(f"round {number}, static", start, stop, rate))
        start, stop = stop, stop + config.dynamic_steps
        found.append(Phase(f"round {number}, dynamic", start, stop, config.round_rate, number))
    return tuple(phase for phase in found if phase.start < phase.stop)
