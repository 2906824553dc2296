"""DyStaB's static model: chi learns from phi's masks to see the object in a single image.

Reads like Section 3.2 of the paper; Eq. 6 and 7 themselves are in static_objective.py.
"""

import copy
from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn

from selfseg.contracts import Objective
from selfseg.errors import UsageError
from selfseg.methods.dystab.config import StaticConfig
from selfseg.methods.dystab.static_objective import cross_entropy, f_measure, static_gain
from selfseg.nets.deeplab import DeepLab
from selfseg.nets.encoders import Encoder, load_encoder_weights
from selfseg.nets.pyramid import Pyramid
from selfseg.ops.masks import foreground_side

Image = Float[Tensor, "b 3 h w"]
Mask = Float[Tensor, "b 1 h w"]


class StaticModel:
    """Two networks of one shape: `static` (chi), and `earlier` (chi'), a copy that never moves."""

    def __init__(self, config: StaticConfig) -> None:
        self.config = config
        # Pixel by pixel, convolutions on a CPU are twice as fast as channel by channel.
        chi = _network(config).to(memory_format=torch.channels_last)
        self.players = nn.ModuleDict({"static": chi, "earlier": copy.deepcopy(chi)})
        self.players["earlier"].requires_grad_(False)

    def initialise(self, fresh: Collection[str]) -> None:
        """Load the encoder's initial weights, where the settings name any and chi is fresh."""
        if "static" in fresh and self.config.weights != "none":
            encoder = self.players["static"].get_submodule("encoder")
            assert isinstance(encoder, Encoder)
            load_encoder_weights(encoder, self.config.weights)

    def remember(self) -> None:
        """Make chi' what chi is now."""
        self.players["earlier"].load_state_dict(self.players["static"].state_dict())

    @torch.no_grad()
    def masks(self, image: Image) -> Mask:
        """Return chi(I), each on its foreground side, [0, 1]."""
        return foreground_side(self.logits(image).sigmoid())

    @torch.no_grad()
    def earlier_masks(self, image: Image) -> Mask:
        """Return chi'(I), each on its foreground side, [0, 1]."""
        return foreground_side(self._logits("earlier", image).sigmoid())

    def learn(
        self,
        image: Image,
        mask: Mask,
        weight: Float[Tensor, " b"],
        earlier: Mask | None,
    ) -> Objective:
        """chi: maximise L_chi, Eq. 7; without chi', and with weights of 1, F_alpha alone, Eq. 6.

        Args:
            image: I.
            mask: m, what motion says.
            weight: how much it is to be believed.
            earlier: chi'(I); None where it is not heard.
        """
        logits = self.logits(image)
        with_motion = self.likeness(logits, mask)
        with_earlier = torch.zeros_like(weight)
        if earlier is not None:
            with_earlier = self.likeness(logits, earlier)
        gain = static_gain(with_earlier, with_motion, weight, lambda_f=self.config.lambda_f)
        terms = {
            "with_motion": with_motion,
            "with_earlier": with_earlier,
            "confidence": weight,
            "believed": (weight > 0).float(),
            "area": logits.sigmoid(),
        }
        return Objective(-gain.mean(), {name: term.detach().mean() for name, term in terms.items()})

    def likeness(self, logits: Float[Tensor, "b 1 h w"], mask: Mask) -> Float[Tensor, " b"]:
        """Compare a prediction with a mask: F_alpha, Eq. 6, or what the settings put for it."""
        gain = f_measure(logits.sigmoid(), mask, alpha_squared=self.config.alpha_squared)
        if self.config.likeness == "f_measure_and_entropy":
            gain = gain - cross_entropy(logits, mask)
        return gain

    def logits(self, image: Image) -> Float[Tensor, "b 1 h w"]:
        """Return the foreground's logit; its sigmoid is the softmax of chi's two channels."""
        return self._logits("static", image)

    def _logits(self, player: str, image: Image) -> Float[Tensor, "b 1 h w"]:
        laid_out = image.contiguous(memory_format=torch.channels_last)
        background, foreground = self.players[player](laid_out).float().chunk(2, 1)
        return foreground - background


def _network(config: StaticConfig) -> nn.Module:
    """Build chi with random weights."""
    pretrained = config.weights != "none"
    match config.network, config.encoder:
        case "pyramid", encoder:
            return Pyramid(encoder, 2, pretrained=pretrained)
        case "deeplab", ("resnet18" | "resnet34" | "resnet50") as encoder:
            return DeepLab(3, 2, encoder, pretrained=pretrained)
        case _:
            raise UsageError(
                f"setting method.static.encoder: deeplab needs a ResNet, not {config.encoder}; "
                "take method.static.network pyramid, or resnet18, resnet34 or resnet50"
            )
