"""A small encoder and decoder with skips, made for a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 8


def convolution(
    inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1, kernel: int = 3
) -> nn.Sequential:
    """Return convolution, GroupNorm and ReLU; the grid shrinks by `stride`."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, bias=False),
        nn.GroupNorm(GROUPS, outputs),
        nn.ReLU(inplace=True),
    )


def logits_head(inputs: int, outputs: int) -> nn.Conv2d:
    """Return the convolution to logits that begin near zero: undecided everywhere."""
    head = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.normal_(head.weight, std=0.01)
    if head.bias is not None:
        nn.init.zeros_(head.bias)
    return head


class UNet(nn.Module):
    """Four halvings, a dilated middle, and back to half the input's grid; then bilinear.

    Args:
        inputs: channels in.
        outputs: channels out; logits, nothing bounds them.
        width: channels after the first halving, a multiple of 8; 24 makes 0.7 M parameters.
    """

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.encode_half = convolution(inputs, width, stride=2, kernel=5)
        self.encode_quarter = _block(width, 2 * width)
        self.encode_eighth = _block(2 * width, 4 * width)
        self.encode_sixteenth = convolution(4 * width, 4 * width, stride=2)
        self.middle = nn.Sequential(
            convolution(4 * width, 4 * width, dilation=2),
            convolution(4 * width, 4 * width, dilation=4),
        )
        self.decode_eighth = convolution(8 * width, 3 * width)
        self.decode_quarter = convolution(5 * width, 2 * width)
        self.decode_half = convolution(3 * width, width)
        self.head = logits_head(width, outputs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out h w"]:
        """Return logits on the input's grid."""
        half = self.encode_half(x)
        quarter = self.encode_quarter(half)
        eighth = self.encode_eighth(quarter)
        deep = self.encode_sixteenth(eighth)
        deep = deep + self.middle(deep)
        y = self.decode_eighth(_join(deep, eighth))
        y = self.decode_quarter(_join(y, quarter))
        y = self.decode_half(_join(y, half))
        return resize(self.head(y), x.shape[-2:])


def resize(x: Tensor, size: torch.Size) -> Tensor:
    """Bring a grid to (height, width), bilinear."""
    return functional.interpolate(x, size, mode="bilinear", align_corners=False)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(convolution(inputs, outputs, stride=2), convolution(outputs, outputs))


def _join(deep: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([resize(deep, skip.shape[-2:]), skip], 1)
