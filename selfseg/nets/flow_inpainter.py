"""Completing a flow inside a hole from the flow around it and from the image."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from selfseg.nets.unet import resize

GROUPS = 8
NEGATIVE_SLOPE = 0.1

# FlowNetS (Dosovitskiy et al., 2015) at a quarter of its width: (channels, kernel) of the
# convolution that halves the grid, each but the first two followed by one that keeps it.
STAGES = ((16, 7), (32, 5), (64, 5), (128, 3), (128, 3), (256, 3))
PLAIN_STAGES = 2

FINEST = 1
"""Stage whose grid the last flow lives on: the second halving, a quarter of the input."""


class FlowInpainter(nn.Module):
    """Two encoders, one of the image and one of what is left of the flow; one decoder.

    The decoder upsamples bilinearly, joins both encoders' features of each grid and adds a
    correction to the coarser grid's flow, from 1/64 to 1/4 of the input.
    """

    def __init__(self) -> None:
        super().__init__()
        # The flow comes with ones and the context: where the image ends, and where the flow does.
        self.flow_encoder = _Encoder(4)
        self.image_encoder = _Encoder(3)
        widths = [channels for channels, _ in STAGES]
        self.coarsest = _FlowHead(2 * widths[-1])
        features = 2 * widths[-1]
        joins, heads = [], []
        for width in reversed(widths[FINEST:-1]):
            joins.append(_convolution(features + 2 * width + 2, width, kernel=3, stride=1))
            heads.append(_FlowHead(width))
            features = width
        self.joins = nn.ModuleList(joins)
        self.heads = nn.ModuleList(heads)

    def forward(
        self,
        flow: Float[Tensor, "b 2 h w"],
        context: Float[Tensor, "b 1 h w"],
        image: Float[Tensor, "b 3 h w"],
    ) -> Float[Tensor, "b 2 h w"]:
        """Return the flow everywhere, in the unit of `flow`.

        Args:
            flow: displacement; what lies outside `context` is not looked at.
            context: where the flow is known, [0, 1].
            image: RGB, [0, 1].
        """
        known = torch.cat([flow * context, torch.ones_like(context), context], 1)
        from_flow = self.flow_encoder(known)
        from_image = self.image_encoder(image - 0.5)
        features = torch.cat([from_flow[-1], from_image[-1]], 1)
        guess = self.coarsest(features)
        skips = zip(reversed(from_flow[FINEST:-1]), reversed(from_image[FINEST:-1]), strict=True)
        for join, head, (one, other) in zip(self.joins, self.heads, skips, strict=True):
            guess = resize(guess, one.shape[-2:])
            features = join(torch.cat([resize(features, one.shape[-2:]), one, other, guess], 1))
            guess = guess + head(features)
        return resize(guess, flow.shape[-2:])


class _Encoder(nn.Module):
    """The features of every stage, each on half the grid of the one before."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        stages = []
        for index, (channels, kernel) in enumerate(STAGES):
            stage = [_convolution(inputs, channels, kernel=kernel, stride=2)]
            if index >= PLAIN_STAGES:
                stage.append(_convolution(channels, channels, kernel=3, stride=1))
            stages.append(nn.Sequential(*stage))
            inputs = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class _FlowHead(nn.Conv2d):
    """Features to a flow that starts near zero."""

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs, 2, 3, padding=1)
        nn.init.normal_(self.weight, std=0.01)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def _convolution(inputs: int, outputs: int, *, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.GroupNorm(GROUPS, outputs),
        nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
    )
