"""DeepLabV3 on a ResNet of any depth and number of input channels, without batch statistics."""

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from selfseg.nets.encoders import Encoder, ResNet
from selfseg.nets.unet import resize

ATROUS_RATES = (12, 24, 36)
GROUPS = 32


class DeepLab(nn.Module):
    """A dilated ResNet and torchvision's head of atrous convolutions.

    The head is an eighth as wide as the features it reads, which on a ResNet-50 are torchvision's
    256 channels. With two outputs that makes 22 M parameters on a ResNet-34, 40 M on a ResNet-50.

    Args:
        inputs: channels in; three are an RGB image, [0, 1].
        outputs: channels out; logits, nothing bounds them.
        architecture: of the encoder.
        pretrained: whether `encoder` will be given weights; see there.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        architecture: ResNet = "resnet50",
        *,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(
            architecture, inputs=inputs, pretrained=pretrained, coarsest=8, dilated=True
        )
        deepest = self.encoder.channels[-1]
        width = deepest // 8
        self.head = nn.Sequential(
            ASPP(deepest, ATROUS_RATES, width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, outputs, 1),
        )
        _without_batch_statistics(self.head)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out h w"]:
        """Return logits on the input's grid; the body works at an eighth of it."""
        return resize(self.head(self.encoder(x)[-1]), x.shape[-2:])


def _without_batch_statistics(module: nn.Module) -> None:
    """Replace every BatchNorm below `module` by GroupNorm of the same width, in place.

    Small batches and several workers then see the same network, and no buffer needs to travel
    between them.
    """
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(GROUPS, child.num_features))
        else:
            _without_batch_statistics(child)
