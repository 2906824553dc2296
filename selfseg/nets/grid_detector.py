"""A grid of cells over an image, each of which proposes one box."""

from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock

from selfseg.nets.encoders import RGB, Architecture, Centre, Encoder
from selfseg.nets.unet import GROUPS, convolution, resize

NUMBERS = 5
"""Of a cell: two sizes, two offsets, one logit."""

STRIDE = 16
"""Side of the trunk's cells, pixels of the image: 8 x 8 cells on 128 x 128."""

HEAD_SCALE = 0.01
"""Of the head's initial weights: at first all cells say nearly the same, whatever they see."""


class GridDetector(nn.Module):
    """The detector D of the proposal method, a network of one pass (Redmon et al., "YOLO", 2016).

    The last stage of a ResNet keeps its grid instead of halving it. It is dilated for that: a
    plain stride of 1 would show pretrained filters the image at half the distances that they
    were trained on.

    Args:
        cells: along one side of the grid.
        architecture: of the trunk; "small" is a ResNet of four blocks, made for a CPU.
        pretrained: whether `encoder` will be given weights; see there. Not if it is small.
    """

    def __init__(
        self,
        cells: int,
        *,
        architecture: Architecture | Literal["small"] = "resnet18",
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.cells = cells
        self.encoder = (
            _SmallTrunk()
            if architecture == "small"
            else Encoder(architecture, pretrained=pretrained, coarsest=STRIDE, dilated=True)
        )
        head = nn.Conv2d(self.encoder.channels[-1], NUMBERS, 1)
        head.weight.data.mul_(HEAD_SCALE)
        assert head.bias is not None
        nn.init.zeros_(head.bias)
        self.head = head

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 5 rows columns"]:
        """Return the numbers of every cell, which nothing bounds.

        A finer grid than the trunk's is read between its cells' centres, bilinear; where there is
        none beyond, as at the outermost. The cells of a coarser one are means.

        Args:
            image: RGB, [0, 1].

        Returns:
            `cells` rows and columns of: width, height, offset in x and in y, logit.
        """
        # Linear, so that it may come first: on a fine grid five channels cost less than hundreds.
        raw = self.head(self.encoder(image)[-1])
        rows, columns = raw.shape[-2:]
        finer = torch.Size((max(rows, self.cells), max(columns, self.cells)))
        if finer != (rows, columns):
            raw = resize(raw, finer)
        return functional.adaptive_avg_pool2d(raw, self.cells)


class _SmallTrunk(nn.Module):
    """Features of an image on cells of 16 pixels: what `Encoder` is, in 0.6 M parameters."""

    channels = (128,)

    def __init__(self) -> None:
        super().__init__()
        self.centre = Centre()
        self.body = nn.Sequential(
            convolution(RGB, 32, stride=2, kernel=7),
            nn.MaxPool2d(3, 2, 1),
            _block(32, 32, stride=1),
            _block(32, 64, stride=2),
            _block(64, 128, stride=2),
            _block(128, 128, stride=1),
        )

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """Return a list, as an `Encoder` does, of the one grid."""
        return [self.body(self.centre(image))]


def _block(inputs: int, outputs: int, *, stride: int) -> BasicBlock:
    norm = partial(nn.GroupNorm, GROUPS)
    same = inputs == outputs and stride == 1
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs))
    return BasicBlock(inputs, outputs, stride, None if same else shortcut, norm_layer=norm)
