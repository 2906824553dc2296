"""The proposal method whole: D finds the box that its surroundings cannot explain, S outlines it.

    inpainters          I and I_f, by what random holes hide; or taken from another run
    proposals           p by G, Eq. 4: the box that is hard to inpaint; boxes and S by O, Eq. 3: the
                        box whose content, pasted over the inpainted rest, gives the image again;
                        and both, where asked for, by how far the flow says the object reaches

Each objective moves only its own: gradients are cut everywhere else (Section 3.2).
"""

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional

from selfseg.contracts import Detections, FramePairs, Objective, Phase, View
from selfseg.methods.proposal import detecting
from selfseg.methods.proposal.config import ProposalConfig
from selfseg.methods.proposal.inpainting import FLOW, IMAGE, Inpainters, as_colours, as_seen
from selfseg.methods.proposal.objective import (
    advantage,
    box_prior,
    composite,
    extent,
    hole_error,
    mask_prior,
    perceptual_distance,
    pixel_distance,
)
from selfseg.methods.proposal.proposer import Drawn, Proposer
from selfseg.nets.encoders import Encoder, load_encoder_weights
from selfseg.nets.perceptual import PerceptualFeatures, load_perceptual_weights
from selfseg.ops.boxes import covered, crop, scaled, softly_covered
from selfseg.ops.masks import resize

PROPOSER, FEATURES = "proposer", "features"


class Proposal:
    """`proposer` (D and S), the two inpainters, and `features`, which never learn."""

    views: tuple[View, ...] = ("static",)
    supervised = False

    def __init__(self, config: ProposalConfig) -> None:
        self.config = config
        self.inpainters = Inpainters(config.inpainters)
        self.proposer = Proposer(config).to(memory_format=torch.channels_last)
        # One cast for all: the loop puts wrappers in the place of whoever moves.
        self.players = nn.ModuleDict({**self.inpainters.players, PROPOSER: self.proposer})
        if config.perceptual.network != "none":
            features = PerceptualFeatures(config.perceptual.network)
            self.players[FEATURES] = features.to(memory_format=torch.channels_last)
        self.inpainters.players = self.players
        self.phases = phases(config)
        self.wants_motion = self.inpainters.wants_motion
        self.wants_background = config.background == "known"

    def initialise(self, fresh: Collection[str]) -> None:
        """Load the weights that the settings name for D, S and the features."""
        config = self.config
        if PROPOSER in fresh:
            for part, source in (
                (self.proposer.detector, config.detector.weights),
                (self.proposer.autoencoder, config.autoencoder.weights),
            ):
                if source != "none":
                    assert isinstance(part.encoder, Encoder)
                    load_encoder_weights(part.encoder, source)
        if FEATURES in fresh and config.perceptual.weights != "none":
            features = self.players[FEATURES]
            assert isinstance(features, PerceptualFeatures)
            load_perceptual_weights(features, config.perceptual.weights)

    def prepare(self, step: int) -> None:
        """Change nothing between two steps."""

    def player_at(self, step: int) -> str:
        """Let the inpainters move first, then D and S."""
        inpainting = step < self.config.inpainter_steps
        return self.inpainters.player_at(step) if inpainting else PROPOSER

    def objective(
        self, player: str, batch: FramePairs, step: int, generator: Generator
    ) -> Objective:
        """Score a hole's filling for an inpainter; O, G and the priors for D and S."""
        if player in (IMAGE, FLOW):
            return self.inpainters.objective(player, batch, step, generator)
        progress = self._warmed(step - self.config.inpainter_steps)
        # Boxes are O's to move, but while D and S warm up, and where D learns from G alone.
        hold_boxes = progress < 1 or self.config.training == "background"
        drawn = self.players[PROPOSER](batch.image, generator, hold_boxes=hold_boxes)
        cost, terms = self._foreground(drawn, batch, progress)
        if self.config.background == "inpainted":
            gain, earned = self._background(drawn, batch)
            cost, terms = cost + self.config.background_weight * gain, terms | earned
        if progress == 1 and (self.config.extent_weight or self.config.outline_weight):
            gain, held = self._held(drawn, batch)
            cost, terms = cost - gain, terms | held
        prior, priors = self._priors(drawn, progress)
        return Objective(cost + prior, {k: v.detach().mean() for k, v in (terms | priors).items()})

    def segment(self, frame: FramePairs, view: View) -> Float[Tensor, "h w"]:
        """Return the mask of the most confident box."""
        del view
        return self.detect(frame.image[0]).masks[0]

    @torch.no_grad()
    def detect(self, image: Float[Tensor, "3 h w"], *, objects: int = 1) -> Detections:
        """Draw boxes in order of their probability, leave out what overlaps, and outline each."""
        return detecting.detect(self.proposer, image, objects, self.config)

    def _foreground(
        self, drawn: Drawn, batch: FramePairs, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """O, Eq. 3: what the image costs, made again from box and background."""
        config, decoded = self.config, drawn.decoded
        behind = self._behind(drawn, batch)
        made = composite(decoded.foreground, decoded.mask, behind)
        pixels = pixel_distance(made, drawn.image)
        cost, terms = pixels, {"pixels": pixels}
        if FEATURES in self.players:
            with torch.no_grad():
                wanted = self._features(drawn.image)
            terms["features"] = perceptual_distance(self._features(made), wanted)
            cost = cost + config.perceptual.weight * terms["features"]
        weight = drawn.weight
        if config.background == "inpainted" and config.training != "joint":
            weight = weight.detach()
        total = config.foreground_weight * _expected(weight * cost, batch)
        if config.crop_weight and progress < 1:
            terms["crop"] = pixel_distance(decoded.shown, decoded.crop.detach())
            total = total + config.crop_weight * terms["crop"].mean()
        return total, terms

    def _features(self, image: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        seen = functional.avg_pool2d(image, self.config.perceptual.stride)
        return self.players[FEATURES](seen.contiguous(memory_format=torch.channels_last))

    @torch.no_grad()
    def _behind(self, drawn: Drawn, batch: FramePairs) -> Float[Tensor, "n 3 h w"]:
        """B of Eq. 1: the known background, or the image with the box erased and inpainted."""
        if self.config.background == "known":
            assert batch.background is not None, "the method asked for it"
            return batch.background.repeat_interleave(len(drawn.image) // len(batch.image), 0)
        boxes = scaled(drawn.boxes, self.config.erased)
        size = drawn.image.shape[-2:]
        guess, _, _ = self.inpainters.fill(IMAGE, as_seen(drawn.image), boxes)
        hole = covered(boxes, *size)
        return composite(as_colours(resize(guess, *size)), hole, drawn.image)

    def _background(self, drawn: Drawn, batch: FramePairs) -> tuple[Tensor, dict[str, Tensor]]:
        """G, Eq. 4: minus what the box earns by being hard to inpaint, in colours and in flow."""
        config = self.config
        rewards = {IMAGE: self._reward(IMAGE, self.inpainters.colours(batch), drawn)}
        weights = {IMAGE: 1.0}
        if config.flow_weight:
            rewards[FLOW] = self._reward(FLOW, self.inpainters.flow(batch), drawn)
            weights[FLOW] = config.flow_weight
        gain = drawn.weight.new_zeros(())
        for player, reward in rewards.items():
            earned = advantage(reward) if config.reward_baseline == "batch" else reward
            gain = gain + weights[player] * _expected(drawn.weight * earned.detach(), batch)
            if config.training != "separate":
                # The value is there already; this is the way on which G moves boxes.
                moving = drawn.weight.detach() * (reward - reward.detach())
                gain = gain + weights[player] * _expected(moving, batch)
        return -gain, {f"{player}_error": reward for player, reward in rewards.items()}

    def _reward(
        self, player: str, truth: Float[Tensor, "b c h w"], drawn: Drawn
    ) -> Float[Tensor, " n"]:
        """Return the inpainting error of each box; with a gradient where G moves boxes."""
        config = self.config
        boxes = scaled(drawn.boxes, config.erased)
        if config.reward_hole is not None:
            side = torch.full_like(drawn.boxes[:, 2:], config.reward_hole)
            boxes = torch.cat([drawn.boxes[:, :2], side], 1)
        guess, known, hole = self._filled(player, truth, boxes)
        if config.training != "separate":
            hole = softly_covered(boxes, *hole.shape[-2:])
        return hole_error(guess, known, hole, by_area=config.by_area)

    @torch.no_grad()
    def _filled(
        self, player: str, truth: Float[Tensor, "b c h w"], boxes: Float[Tensor, "n 4"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Let an inpainter guess what the drawn boxes hide: guess, truth and hole of each."""
        each = truth.repeat_interleave(len(boxes) // len(truth), 0)
        return self.inpainters.fill(player, each, boxes)

    def _held(self, drawn: Drawn, batch: FramePairs) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """What box and mask hold of the flow that I_f cannot explain: where the object ends."""
        config, outlined = self.config, drawn.decoded.outlined
        holes = scaled(drawn.boxes, config.surroundings)
        guess, known, hole = self._filled(FLOW, self.inpainters.flow(batch), holes)
        error = (guess - known).square().mean(1, keepdim=True) * hole
        membership = softly_covered(drawn.boxes, *hole.shape[-2:])
        box = extent(membership, error, share=config.extent_share)
        # In the crop: a mask grows by itself, not by moving or stretching its box.
        near = crop(error, drawn.boxes, *outlined.shape[-2:])
        mask = extent(outlined, near, share=config.outline_share)
        gain = config.extent_weight * box + config.outline_weight * mask
        return _expected(drawn.weight.detach() * gain, batch), {"extent": box, "outline": mask}

    def _priors(self, drawn: Drawn, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The priors on p, on the mask (Eq. 7), and on where boxes are and how large."""
        config = self.config
        peaks = drawn.proposals.probability.square().sum(1)
        mask = mask_prior(drawn.decoded.mask, config.mask_prior, config.mask_lambda)
        size, centre = box_prior(drawn.boxes, size=config.size)
        # From nothing at half of the warm-up to all of it at the end.
        ramp = max(0.0, 2 * progress - 1)
        total = (
            config.probability_prior * peaks.mean()
            + config.mask_weight * ramp * mask.mean()
            + config.size_weight * size
            + config.centre_weight * centre
        )
        told = {
            "area": drawn.decoded.mask,
            "side": drawn.boxes[:, 2:],
            "peak": drawn.proposals.probability.amax(1),
        }
        return total, told

    def _warmed(self, step: int) -> float:
        """Return how much of the warm-up is over, [0, 1]."""
        return min(1.0, step / self.config.warmup_steps) if self.config.warmup_steps else 1.0


def _expected(cost: Float[Tensor, " n"], batch: FramePairs) -> Float[Tensor, ""]:
    """Sum the weighted costs of each image's cells; average over the images."""
    return cost.sum() / len(batch.image)


def inpainters_of(config: ProposalConfig) -> tuple[str, ...]:
    """Name the inpainters that G asks."""
    return (IMAGE, FLOW) if config.flow_weight else (IMAGE,)


def phases(config: ProposalConfig) -> tuple[Phase, ...]:
    """Lay both stages out in steps; a stage without steps is left out."""
    start, stop = config.inpainter_steps, config.inpainter_steps + config.proposal_steps
    stages = (Phase("inpainters", 0, start), Phase("proposals", start, stop))
    return tuple(stage for stage in stages if stage.start < stage.stop)
