"""torchvision's classifiers without their last layers: an image's features, fine to coarse."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import (
    get_model,
    get_model_weights,
    mobilenet_v3_small,
    squeezenet1_0,
    vgg,
)
from torchvision.ops import FrozenBatchNorm2d

from selfseg.errors import UsageError
from selfseg.nets.weights import download_weights, read_weights, require_weights_of

ResNet = Literal["resnet18", "resnet34", "resnet50"]
Architecture = ResNet | Literal["squeezenet1_0", "mobilenet_v3_small"]
Classifier = Architecture | Literal["vgg16"]
"""VGG, large and slow, is for comparing images: nobody trains it here."""

RGB = 3
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

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


_LAYOUTS: dict[Classifier, _Layout] = {
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
    "vgg16": _Layout(
        "features.",
        "classifier.",
        {"3": (1, 64), "8": (2, 128), "15": (4, 256), "22": (8, 512), "29": (16, 512)},
    ),
}


class Encoder(nn.Module):
    """Features of an image on several grids, described by `strides` and `channels`.

    Side of a grid's cells in pixels, and channels:

        resnet18, resnet34    4: 64,  8: 128,  16: 256,   32: 512
        resnet50              4: 256, 8: 512,  16: 1024,  32: 2048
        squeezenet1_0         4: 256, 8: 512,  16: 512
        mobilenet_v3_small    4: 16,  8: 24,   16: 48,    32: 576
        vgg16                 1: 64,  2: 128,  4: 256,    8: 512,  16: 512

    Args:
        architecture: of torchvision's classifier.
        inputs: channels in. Three are an RGB image, [0, 1], which is brought to ImageNet's mean
            and deviation here; anything else is seen as it is.
        pretrained: whether weights will be loaded. Normalisation then is a constant that comes
            with them; otherwise it is GroupNorm, which needs no large batch.
        coarsest: no grid's cells are larger, pixels of the image.
        dilated: whether the layers of larger cells are kept, and trade stride for dilation:
            pretrained weights then mean what they meant, on interleaved grids. Otherwise they are
            left out. Pooling has nothing to trade: not for a SqueezeNet or VGG below 16.
    """

    def __init__(
        self,
        architecture: Classifier,
        *,
        inputs: int = RGB,
        pretrained: bool = False,
        coarsest: int = 32,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        layout = _LAYOUTS[architecture]
        taps = {name: tap for name, tap in layout.taps.items() if dilated or tap[0] <= coarsest}
        self.architecture: Classifier = architecture
        self.taps = tuple(taps)
        strides, self.channels = zip(*taps.values(), strict=True)
        self.strides = tuple(min(stride, coarsest) for stride in strides)
        self.centre = Centre() if inputs == RGB else nn.Identity()
        whole = _body(architecture, pretrained=pretrained)
        names = [name for name, _ in whole.named_children()]
        ends = [names.index(tap) + 1 for tap in taps]
        self.body = whole[: ends[-1]]
        self.left_out = tuple(f"{layout.prefix}{name}." for name in names[ends[-1] :])
        if inputs != RGB:
            _take(self.body, inputs)
        for begin, end, stride in zip([0, *ends[:-1]], ends, strides, strict=True):
            if stride > coarsest:
                _dilate(self.body[begin:end], before=stride // (2 * coarsest))

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
        if not name.startswith((layout.dropped, *encoder.left_out))
    }
    wanted = {layout.prefix + name: value for name, value in encoder.body.state_dict().items()}
    require_weights_of(encoder.architecture, wanted, given, source)
    encoder.body.load_state_dict(
        {name.removeprefix(layout.prefix): tensor for name, tensor in given.items()}
    )


def _weights(architecture: Classifier, source: str) -> dict[str, Tensor]:
    match source:
        case "torchvision":
            return download_weights(get_model_weights(architecture)["DEFAULT"].url)
        case "dino" if architecture == "resnet50":
            return download_weights(DINO_RESNET50)
        case "dino":
            raise UsageError(f"dino: weights of a resnet50, not of a {architecture}; name that")
        case _:
            return read_weights(source)


class Centre(nn.Module):
    """An image brought to ImageNet's mean and deviation."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in (("mean", IMAGENET_MEAN), ("deviation", IMAGENET_DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, RGB, 1, 1), persistent=False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return the image, [0, 1], in deviations from ImageNet's mean."""
        return (image - self.mean) / self.deviation


def _body(architecture: Classifier, *, pretrained: bool) -> nn.Sequential:
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
        case "vgg16":  # its classifier, which nobody wants here, takes seconds to fill
            body = vgg.make_layers(vgg.cfgs["D"])
            for layer in body.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            return body
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
            if layer.kernel_size != (1, 1):
                layer.dilation = (rate, rate)
                layer.padding = tuple(rate * (side // 2) for side in layer.kernel_size)
