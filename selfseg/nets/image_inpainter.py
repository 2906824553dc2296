"""Completing an image inside a hole from what surrounds the hole."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from selfseg.nets.unet import convolution, logits_head, resize


class ImageInpainter(nn.Module):
    """The inpainters I and I_f of the proposal method: a U-Net that is told where the hole is.

    Ronneberger et al., "U-Net", 2015, with convolutions that stride, bilinear upsampling, and
    GroupNorm on the way down: a batch's other images and other workers change nothing. On the way
    up there is none: its gradient would take a CPU as long as all convolutions together.

    Args:
        channels: of the image; I_f sees a flow.
        widths: channels on the image's own grid and after each halving; multiples of 8.
    """

    def __init__(
        self, channels: int, *, widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    ) -> None:
        super().__init__()
        downs, inputs, stride = [], channels + 1, 1
        for width in widths:
            down = nn.Sequential(
                convolution(inputs, width, stride=stride), convolution(width, width)
            )
            downs.append(down)
            inputs, stride = width, 2
        ups = []
        for width in reversed(widths[:-1]):
            ups.append(nn.Sequential(_plain(inputs + width, width), _plain(width, width)))
            inputs = width
        self.downs = nn.ModuleList(downs)
        self.ups = nn.ModuleList(ups)
        self.head = logits_head(widths[0], channels)

    def forward(
        self, image: Float[Tensor, "b c h w"], hole: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, "b c h w"]:
        """Return the whole image as the network would have it, which nothing bounds.

        Args:
            image: what lies in the hole is not looked at.
            hole: 1 where the image is to be completed, 0 elsewhere.

        Sides may be any; multiples of 2 ** (len(widths) - 1) align the grids exactly.
        """
        x = torch.cat([image * (1 - hole), hole], 1)
        features = []
        for down in self.downs:
            x = down(x)
            features.append(x)
        for up, skip in zip(self.ups, reversed(features[:-1]), strict=True):
            x = up(torch.cat([resize(x, skip.shape[-2:]), skip], 1))
        return self.head(x)


def _plain(inputs: int, outputs: int) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return nn.Sequential(layer, nn.ReLU(inplace=True))
