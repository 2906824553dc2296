"""DyStaB's dynamic model: phi hides a region's motion, psi guesses it from the rest.

Reads top to bottom like Section 3.1 of the paper; README.md holds the table of symbols.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional

from selfseg.contracts import FramePairs, Objective, Phase, View
from selfseg.methods.dystab import cue
from selfseg.methods.dystab.config import DynamicConfig
from selfseg.methods.dystab.objective import (
    contrast,
    inpainting_error,
    separation,
    temporal_inconsistency,
)
from selfseg.nets.deeplab import DeepLab
from selfseg.nets.flow_inpainter import FlowInpainter
from selfseg.nets.unet import UNet
from selfseg.ops.masks import foreground_side, resize
from selfseg.ops.motion_model import extrapolate_affine
from selfseg.ops.warp import covisible, sample_along


class DynamicModel:
    """Two players, `segmenter` (phi) and `inpainter` (psi); a closed-form psi is none."""

    views: tuple[View, ...] = ("dynamic",)
    phases: tuple[Phase, ...] = ()
    supervised = False
    wants_motion = True
    wants_background = False

    def __init__(self, config: DynamicConfig) -> None:
        self.config = config
        segmenter = (
            DeepLab(2, 2) if config.segmenter == "deeplab" else UNet(2, 2, config.unet_width)
        )
        self.players = nn.ModuleDict({"segmenter": segmenter})
        if config.psi != "affine":
            self.players["inpainter"] = FlowInpainter()

    def initialise(self, fresh: Collection[str]) -> None:
        """Keep the random weights."""

    def prepare(self, step: int) -> None:
        """Change nothing between two steps."""

    def player_at(self, step: int) -> str:
        """Let phi move `segmenter_turns` times, then psi once."""
        turns = self.config.segmenter_turns
        if "inpainter" in self.players and step % (turns + 1) == turns:
            return "inpainter"
        return "segmenter"

    def objective(
        self, player: str, batch: FramePairs, step: int, generator: Generator
    ) -> Objective:
        """Score Eq. 5 for phi, its numerators for psi."""
        del generator  # this game draws nothing
        match player:
            case "segmenter":
                objective, _ = self.hide(batch, step)
                return objective
            case "inpainter":
                return self.reveal(batch)
            case _:
                raise ValueError(f"unknown player {player!r}")

    @torch.no_grad()
    def segment(self, frame: FramePairs, view: View) -> Float[Tensor, "h w"]:
        """Return foreground probability, [0, 1]: the mean of the masks for all motions."""
        assert view in self.views
        return foreground_side(self.masks(frame)[:, 0]).mean(0)

    @torch.no_grad()
    def masks(self, batch: FramePairs) -> Float[Tensor, "b 1 h w"]:
        """Return each pair's foreground, [0, 1]: phi(u12), mixed with phi(u21) carried along u12.

        Eq. 4 trains the two to be one mask; where DIS flow spills over a moving edge they differ,
        and the carried one is the cleaner.
        """
        motion = self._on_own_grid(batch)
        if self.config.carried_mask:
            first, second = foreground_side(self._both_logits(motion).sigmoid()).chunk(2)
            carried = sample_along(second, motion.flow)
            mask = torch.lerp(first, carried, self.config.carried_mask)
        else:
            mask = foreground_side(self._logits(motion.flow, motion.camera).sigmoid())
        return resize(mask, *batch.flow.shape[-2:])

    def logits(self, batch: FramePairs) -> Float[Tensor, "b 1 rows columns"]:
        """Return the logits of phi(u12) on phi's own grid, with gradients."""
        motion = self._on_own_grid(batch)
        return self._logits(motion.flow, motion.camera)

    @torch.no_grad()
    def separation_of(
        self, batch: FramePairs, mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        """L_A, Eq. 3, of anyone's mask of the first frames; no gradient."""
        motion = self._on_own_grid(batch)
        return self._separation(motion, resize(mask, *motion.flow.shape[-2:]))

    @torch.no_grad()
    def contrast_of(self, batch: FramePairs, mask: Float[Tensor, "b 1 h w"]) -> Float[Tensor, " b"]:
        """Return how much worse psi guesses inside anyone's mask than outside; no gradient."""
        motion = self._on_own_grid(batch)
        inside = resize(mask, *motion.flow.shape[-2:])
        flow = self._scaled(motion.flow)
        from_outside, _ = self._completions(motion, flow, inside)
        return contrast(flow, inside, from_outside)

    def hide(
        self, batch: FramePairs, step: int
    ) -> tuple[Objective, Float[Tensor, "b 1 rows columns"]]:
        """phi: maximise L_D = L_A + lambda_TC L_TC, after imitating a classical cue for a while.

        Returns:
            The objective, and the logits of phi(u12) on phi's own grid, which carry gradients.
        """
        batch = self._on_own_grid(batch)
        logits = self._both_logits(batch)
        first, second = logits.sigmoid().chunk(2)
        terms: dict[str, Tensor] = {}
        weights: dict[str, float] = {}
        imitating = step < self.config.imitation_steps
        if imitating or self.config.imitation_weight:
            target = torch.cat(self._carried_cues(batch))
            terms["imitation"] = functional.binary_cross_entropy_with_logits(logits, target)
            weights["imitation"] = 1.0 if imitating else self.config.imitation_weight
        if not imitating:
            terms["separation"] = self._separation(batch, first).mean()
            weights["separation"] = -1.0
        if not imitating and self.config.lambda_tc:
            terms["inconsistency"] = self._inconsistency(batch, first, second).mean()
            weights["inconsistency"] = -self.config.lambda_tc
        loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        area = {"area": first.detach().mean()}
        told = {name: term.detach() for name, term in terms.items()} | area
        return Objective(loss, told), logits.chunk(2)[0]

    def reveal(self, batch: FramePairs) -> Objective:
        """psi: complete each side of phi's mask from the other."""
        batch = self._on_own_grid(batch)
        with torch.no_grad():
            inside = self._logits(batch.flow, batch.camera).sigmoid()
        flow = self._scaled(batch.flow)
        from_outside, from_inside = self._completions(batch, flow, inside)
        error = inpainting_error(flow, inside, from_outside, from_inside).mean()
        return Objective(error, {"error": error.detach()})

    def _separation(self, batch: FramePairs, inside: Tensor) -> Tensor:
        """L_A, Eq. 3."""
        flow = self._scaled(batch.flow)
        from_outside, from_inside = self._completions(batch, flow, inside)
        return separation(
            flow,
            inside,
            from_outside,
            from_inside,
            epsilon=self.config.epsilon,
            bounded=self.config.bounded_error,
        )

    def _completions(
        self, batch: FramePairs, flow: Tensor, inside: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return psi(m, (1 - m) u, I) and psi(1 - m, m u, I)."""
        context = torch.cat([1 - inside, inside])
        both = torch.cat([flow, flow])
        affine = torch.zeros_like(both)
        if self.config.psi != "network":
            affine = extrapolate_affine(both, context)
        if self.config.psi == "affine":
            guess = affine
        else:
            image = torch.cat([batch.image, batch.image])
            guess = affine + self.players["inpainter"](both - affine, context, image)
        from_outside, from_inside = guess.chunk(2)
        return from_outside, from_inside

    def _inconsistency(self, batch: FramePairs, first: Tensor, second: Tensor) -> Tensor:
        """L_TC, Eq. 4."""
        return temporal_inconsistency(
            first,
            second,
            batch.flow,
            batch.flow_back,
            seen=covisible(batch.flow, batch.flow_back),
            seen_back=covisible(batch.flow_back, batch.flow),
        )

    def _carried_cues(self, batch: FramePairs) -> tuple[Tensor, Tensor]:
        """Return what phi imitates on either frame."""
        share = self.config.carried_cue
        first = cue.moving(batch.flow, batch.camera)
        second = cue.moving(batch.flow_back, batch.camera_back)
        return (
            torch.lerp(first, sample_along(second, batch.flow), share),
            torch.lerp(second, sample_along(first, batch.flow_back), share),
        )

    def _both_logits(self, batch: FramePairs) -> Tensor:
        """Return the logits of m1 and m2, stacked along the batch: phi is called once."""
        flow = torch.cat([batch.flow, batch.flow_back])
        camera = torch.cat([batch.camera, batch.camera_back])
        return self._logits(flow, camera)

    def _logits(self, flow: Tensor, camera: Tensor) -> Tensor:
        """Return the foreground's logit; its sigmoid is the softmax of phi's two channels."""
        view: Callable[[Tensor], Tensor] = cue.in_threshold_unit
        if self.config.segmenter_input == "standardised":
            view, camera = cue.standardised, torch.zeros_like(flow)
        background, foreground = self.players["segmenter"](view(flow - camera)).chunk(2, 1)
        return foreground - background

    def _on_own_grid(self, batch: FramePairs) -> FramePairs:
        """Average the batch over squares of `stride` pixels; flow stays in pixels of the grid."""
        stride = self.config.stride
        if stride == 1:
            return batch
        return replace(
            batch,
            image=functional.avg_pool2d(batch.image, stride),
            flow=functional.avg_pool2d(batch.flow, stride) / stride,
            flow_back=functional.avg_pool2d(batch.flow_back, stride) / stride,
            camera=functional.avg_pool2d(batch.camera, stride) / stride,
            camera_back=functional.avg_pool2d(batch.camera_back, stride) / stride,
        )

    def _scaled(self, flow: Tensor) -> Tensor:
        """Return flow in the unit of Eq. 3."""
        fixed = self.config.flow_unit == "fixed"
        return cue.in_fixed_unit(flow) if fixed else cue.in_own_unit(flow)
