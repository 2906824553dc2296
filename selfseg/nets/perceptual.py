"""Features of a fixed network, in which images are alike that look alike."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from selfseg.nets.encoders import Encoder, load_encoder_weights

Perceiver = Literal["resnet18", "vgg16", "squeezenet1_0"]

_COARSEST: dict[Perceiver, int] = {"resnet18": 8, "vgg16": 4, "squeezenet1_0": 4}

_TAPS: dict[Perceiver, tuple[str, ...]] = {
    "resnet18": ("relu", "layer1", "layer2"),
    "vgg16": ("3", "8", "15"),  # ReLU 1_2, 2_2 and 3_3, as in Johnson et al., 2016
    "squeezenet1_0": ("1", "3", "5"),  # the first ReLU, fire2 and fire4
}


class PerceptualFeatures(nn.Module):
    """What an image looks like to a network that never learns here; its gradient is the image's.

    Nothing in it depends on whether it trains. Its weights are random until they are loaded. A
    ResNet's maximum pooling is left out: small things count for longer. Side of the grids' cells
    in pixels of the image, and channels:

        resnet18         2: 64,  2: 64,   4: 128
        vgg16            1: 64,  2: 128,  4: 256
        squeezenet1_0    2: 96,  4: 128,  4: 256
    """

    def __init__(self, architecture: Perceiver) -> None:
        super().__init__()
        self.taps = _TAPS[architecture]
        self.encoder = Encoder(architecture, pretrained=True, coarsest=_COARSEST[architecture])
        if architecture == "resnet18":
            self.encoder.body.set_submodule("maxpool", nn.Identity())
        self.requires_grad_(False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Return the features of every tap, fine to coarse.

        Args:
            image: RGB, [0, 1].
        """
        x = self.encoder.centre(image)
        features = []
        for name, layer in self.encoder.body.named_children():
            x = layer(x)
            if name in self.taps:
                features.append(x)
        return features


def load_perceptual_weights(features: PerceptualFeatures, source: str) -> None:
    """Fetch the weights of a network that learned to classify.

    Args:
        features: of its architecture.
        source: as in `load_encoder_weights`.

    Raises:
        UserError: no such weights, or those of another architecture.
    """
    load_encoder_weights(features.encoder, source)
