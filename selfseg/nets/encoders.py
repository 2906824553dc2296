"""torchvision's classifiers without their last layers: an image's features, fine to coarse."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, mobilenet_v3_small, squeezenet1_0
from torchvision.ops import FrozenBatchNorm2d

from selfseg.errors import UsageError
from selfseg.nets.weights import download_weights, read_weights, require_weights_of

ResNet = Literal["resnet18", "resnet34", "resnet50"]
Architecture = ResNet | Literal["squeezenet1_0", "mobilenet_v3_small"]

RGB = 3
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

DILATED_STRIDE = 8

DINO_RESNET50 = (
    "https://dl.fbaipublicfiles.com/dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth"
)
"""Caron et al., "Emerging properties in self-supervised vision transformers", 2021."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """What of a torchvision network is kept, and where features are taken from it.

    prefix: of the kept layers' names in torchvision's state dict
    dropped: prefix of all other names there
    taps: name of a kept layer: side of its grid's cells in pixels of the image, and channels
    """

    prefix: str
    dropped: str
    taps: dict[str, tuple[int, int]]


def _resnet(channels: int) -> _Layout:
    taps = {f"layer{n}": (2 << n, channels << (n - 1)) for n in (1, 2, 3, 4)}
    return _Layout("", "fc.", taps)


_LAYOUTS: dict[Architecture, _Layout] = {
    "resnet18": _resnet(64),
    "resnet34": _resnet(64),
    "resnet50": _resnet(256),
    "squeezenet1_0": _Layout(
        "features.", "classifier.", {"5": (4, 256), "10": (8, 512), "12": (16, 512)}
    ),
    "mobilenet_v3_small": _Layout(
        "features.",
        "classifier.",
        {"1": (4, 16), "3": (8, 24), "8": (16, 48), "12": (32, 576)},
    ),
}


class Encoder(nn.Module):
    """Features of an image on several grids, described by `strides` and `channels`.

    Side of a grid's cells in pixels, and channels:

        resnet18, resnet34    4: 64,  8: 128,  16: 256,   32: 512
        resnet50              4: 256, 8: 512,  16: 1024,  32: 2048
        squeezenet1_0         4: 256, 8: 512,  16: 512
        mobilenet_v3_small    4: 16,  8: 24,   16: 48,    32: 576

    Args:
        architecture: of torchvision's classifier.
        inputs: channels in. Three are an RGB image, [0, 1], which is brought to ImageNet's mean
            and deviation here; anything else is seen as it is.
        pretrained: whether weights will be loaded. Normalisation then is a constant that comes
            with them; otherwise it is GroupNorm, which needs no large batch.
        dilated: ResNets only: no grid is coarser than 8, and the weights mean what they meant.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        inputs: int = RGB,
        pretrained: bool = False,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        layout = _LAYOUTS[architecture]
        self.architecture: Architecture = architecture
        self.taps = tuple(layout.taps)
        self.strides, self.channels = zip(*layout.taps.values(), strict=True)
        self.centre = _Centre() if inputs == RGB else nn.Identity()
        self.body = _body(architecture, pretrained=pretrained)
        if inputs != RGB:
            _take(self.body, inputs)
        if dilated:
            self.strides = tuple(min(stride, DILATED_STRIDE) for stride in self.strides)
            _dilate(self.body.get_submodule("layer3"), before=1)
            _dilate(self.body.get_submodule("layer4"), before=2)

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        """Return the features of every grid; the last are the deepest."""
        x = self.centre(image)
        features = []
        for name, layer in self.body.named_children():
            x = layer(x)
            if name in self.taps:
                features.append(x)
        return features


def load_encoder_weights(encoder: Encoder, source: str) -> None:
    """Begin with weights that were trained elsewhere.

    Args:
        encoder: made with `pretrained`.
        source: "torchvision": its best for ImageNet, downloaded; "dino": a ResNet-50 that learned
            without labels, downloaded; otherwise a path or an s3:// URL of a state dict of
            torchvision's classifier, whose last layer may be missing or of any size.

    Raises:
        UserError: no such weights, or those of another architecture.
    """
    layout = _LAYOUTS[encoder.architecture]
    given = {
        name: tensor
        for name, tensor in _weights(encoder.architecture, source).items()
        if not name.startswith(layout.dropped)
    }
    wanted = {layout.prefix + name: value for name, value in encoder.body.state_dict().items()}
    require_weights_of(encoder.architecture, wanted, given, source)
    encoder.body.load_state_dict(
        {name.removeprefix(layout.prefix): tensor for name, tensor in given.items()}
    )


def _weights(architecture: Architecture, source: str) -> dict[str, Tensor]:
    match source:
        case "torchvision":
            return download_weights(get_model_weights(architecture)["DEFAULT"].url)
        case "dino" if architecture == "resnet50":
            return download_weights(DINO_RESNET50)
        case "dino":
            raise UsageError(f"dino: weights of a resnet50, not of a {architecture}; name that")
        case _:
            return read_weights(source)


class _Centre(nn.Module):
    """An image brought to ImageNet's mean and deviation."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", IMAGENET_MEAN), ("deviation", IMAGENET_DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, RGB, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.deviation


def _body(architecture: Architecture, *, pretrained: bool) -> nn.Sequential:
    """Return the layers up to the deepest features, by the names that torchvision gives them."""
    match architecture:
        case "squeezenet1_0":  # knows no normalisation
            body = squeezenet1_0().features
            stem = body[0]
            assert isinstance(stem, nn.Conv2d)
            stem.padding = (3, 3)  # torchvision pads nothing: every grid would come out smaller
            return body
        case "mobilenet_v3_small":
            frozen = partial(FrozenBatchNorm2d, eps=1e-3)
            norm = frozen if pretrained else partial(nn.GroupNorm, 8)
            return mobilenet_v3_small(norm_layer=norm).features
        case _:
            norm = FrozenBatchNorm2d if pretrained else partial(nn.GroupNorm, 32)
            layers = get_model(architecture, weights=None, norm_layer=norm).named_children()
            body = nn.Sequential()
            for name, layer in layers:
                if name not in {"avgpool", "fc"}:
                    body.add_module(name, layer)
            return body


def _take(body: nn.Module, inputs: int) -> None:
    """Let the first convolution see `inputs` channels, in place."""
    first = next(layer for layer in body.modules() if isinstance(layer, nn.Conv2d))
    first.in_channels = inputs
    shape = (first.out_channels, inputs, *first.kernel_size)
    first.weight = nn.Parameter(first.weight.new_empty(shape))
    first.reset_parameters()


def _dilate(stage: nn.Module, before: int) -> None:
    """Trade a stage's stride for dilation, in place; torchvision refuses it to basic blocks.

    Args:
        stage: its first convolutions stride by 2.
        before: cells of the grid in which what the stage sees are neighbours.
    """
    for layer in stage.modules():
        if isinstance(layer, nn.Conv2d):
            rate = before if layer.stride == (2, 2) else 2 * before
            layer.stride = (1, 1)
            if layer.kernel_size == (3, 3):
                layer.dilation = layer.padding = (rate, rate)
