"""A light decoder over a classifier's features, for a CPU."""

from jaxtyping import Float
from torch import Tensor, nn

from selfseg.nets.encoders import Architecture, Encoder
from selfseg.nets.unet import convolution, logits_head, resize


class Pyramid(nn.Module):
    """From the encoder's deepest grid to its finest, a quarter of the input's; then bilinear.

    A grid's features, brought to `width` channels, are added to what comes from the coarser one
    (Lin et al., "Feature pyramid networks", 2017) and smoothed.

    Args:
        architecture: of the encoder.
        outputs: channels out; logits, nothing bounds them.
        width: channels of the decoder, a multiple of 8.
        pretrained: whether `encoder` will be given weights; see there.
    """

    def __init__(
        self, architecture: Architecture, outputs: int, *, width: int = 64, pretrained: bool = False
    ) -> None:
        super().__init__()
        self.encoder = Encoder(architecture, pretrained=pretrained)
        channels = self.encoder.channels
        self.laterals = nn.ModuleList([nn.Conv2d(taken, width, 1) for taken in channels])
        self.blocks = nn.ModuleList([convolution(width, width) for _ in channels])
        self.head = logits_head(width, outputs)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b out h w"]:
        """Return logits on the input's grid.

        Args:
            image: RGB, [0, 1].
        """
        decoded = None
        features = zip(self.encoder(image), self.laterals, self.blocks, strict=True)
        for taken, lateral, block in reversed(list(features)):
            joined = lateral(taken)
            if decoded is not None:
                joined = joined + resize(decoded, joined.shape[-2:])
            decoded = block(joined)
        return resize(self.head(decoded), image.shape[-2:])
