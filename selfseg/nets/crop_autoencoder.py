"""A crop squeezed into a code, and what the code is enough for: a foreground and its mask."""

from typing import Literal, TypeVar

from jaxtyping import Float
from torch import Tensor, nn

from selfseg.nets.encoders import RGB, Architecture, Centre, Encoder
from selfseg.nets.unet import logits_head

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

STRIDE = 16
"""Side of the trunk's cells, pixels of the crop: 8 x 8 cells on 128 x 128."""


class CropAutoencoder(nn.Module):
    """The segmenter S of the proposal method.

    On a ResNet what the paper calls its last stage is left out: the code is made of the 1024
    channels, of a ResNet-50, that lie on cells of 16 pixels. The decoder knows no normalisation,
    so its layers begin with He's variance, and its last one near zero: grey, and undecided.

    Args:
        side: of the crop in pixels, a multiple of 16 and of 2 ** len(widths).
        architecture: of the trunk; "small" is four convolutions, made for a CPU.
        pretrained: whether `encoder` will be given weights; see there. Not if it is small.
        code: numbers that a crop is squeezed into.
        widths: channels of the decoder on each grid, the last of which is the crop's own; each is
            twice as fine as the one before.
        convolutions: of the decoder on each grid.
    """

    def __init__(
        self,
        side: int,
        *,
        architecture: Architecture | Literal["small"] = "resnet50",
        pretrained: bool = False,
        code: int = 856,
        widths: tuple[int, ...] = (128, 64, 32, 16),
        convolutions: int = 3,
    ) -> None:
        super().__init__()
        self.encoder = (
            _SmallTrunk()
            if architecture == "small"
            else Encoder(architecture, pretrained=pretrained, coarsest=STRIDE)
        )
        features = self.encoder.channels[-1] * (side // STRIDE) ** 2
        self.squeeze = _with_even_variance(nn.Linear(features, code), "linear")
        coarse = side // 2 ** len(widths)
        layers: list[nn.Module] = [
            _with_even_variance(nn.Linear(code, widths[0] * coarse**2), "relu"),
            nn.ReLU(inplace=True),
            nn.Unflatten(1, (widths[0], coarse, coarse)),
        ]
        inputs = widths[0]
        for width in widths:
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear"))
            for _ in range(convolutions):
                layers.extend(_convolution(inputs, width, kernel=3, stride=1))
                inputs = width
        self.decoder = nn.Sequential(*layers, logits_head(inputs, RGB + 1))

    def forward(
        self, crop: Float[Tensor, "b 3 side side"]
    ) -> tuple[Float[Tensor, "b 3 side side"], Float[Tensor, "b 1 side side"]]:
        """Return the foreground, RGB in [0, 1], and the mask's logit, which nothing bounds.

        Args:
            crop: RGB, [0, 1].
        """
        code = self.squeeze(self.encoder(crop)[-1].flatten(1))
        decoded = self.decoder(code)
        return decoded[:, :RGB].sigmoid(), decoded[:, RGB:]


class _SmallTrunk(nn.Module):
    """Features of a crop on cells of 16 pixels: what `Encoder` is, in 0.4 M parameters."""

    channels = (128,)

    def __init__(self) -> None:
        super().__init__()
        self.centre = Centre()
        layers, inputs = [], RGB
        for width in (32, 64, 128, 128):
            layers.extend(_convolution(inputs, width, kernel=4, stride=2))
            inputs = width
        self.body = nn.Sequential(*layers)

    def forward(self, crop: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Return a list, as an `Encoder` does, of the one grid."""
        return [self.body(self.centre(crop))]


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, 1)
    return [_with_even_variance(convolution, "relu"), nn.ReLU(inplace=True)]


def _with_even_variance(layer: Layer, before: Literal["linear", "relu"]) -> Layer:
    """Let a signal pass without fading, in place, as He et al. (2015) do; return the layer."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity=before)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
