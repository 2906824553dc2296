"""DeepLabV3 on a ResNet-50, for any number of input channels and no batch statistics."""

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.segmentation import deeplabv3_resnet50

GROUPS = 32


class DeepLab(nn.Module):
    """torchvision's DeepLabV3 with its first convolution, head and normalisation replaced.

    GroupNorm stands in for every BatchNorm: small batches and several workers then see the same
    network, and no buffer needs to travel between them.

    Args:
        inputs: channels in.
        outputs: channels out; logits, nothing bounds them.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        body = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=outputs)
        first = nn.Conv2d(inputs, 64, 7, stride=2, padding=3, bias=False)
        body.backbone.register_module("conv1", first)
        _without_batch_statistics(body)
        self.body = body

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b out h w"]:
        """Return logits on the input's grid; the body works at an eighth of it."""
        return self.body(x)["out"]


def _without_batch_statistics(module: nn.Module) -> None:
    """Replace every BatchNorm below `module` by GroupNorm of the same width, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(GROUPS, child.num_features))
        else:
            _without_batch_statistics(child)
