import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import get_model_weights
from torchvision.transforms import functional

from selfseg.errors import UsageError, UserError
from selfseg.nets.encoders import DINO_RESNET50, Encoder, load_encoder_weights
from tests.unit.nets.published import classifier, outputs_of

ARCHITECTURES = ["resnet18", "resnet34", "resnet50", "squeezenet1_0", "mobilenet_v3_small"]
TAPPED = {
    "resnet18": ["layer1", "layer2", "layer3", "layer4"],
    "resnet50": ["layer1", "layer2", "layer3", "layer4"],
    "squeezenet1_0": ["features.5", "features.10", "features.12"],
    "mobilenet_v3_small": ["features.1", "features.3", "features.8", "features.12"],
}
REAL_SQUEEZENET = (
    Path(__file__).parents[4] / "shared" / "data" / "weights" / "squeezenet1_0_imagenet.pt"
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Where torch.hub keeps what it downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pretrained", [True, False])
def test_features_have_the_grids_and_channels_that_are_promised(architecture, pretrained):
    encoder = Encoder(architecture, pretrained=pretrained)
    with torch.no_grad():
        features = encoder(torch.rand(1, 3, 64, 96))
    assert [tuple(grid.shape) for grid in features] == [
        (1, channels, 64 // stride, 96 // stride)
        for stride, channels in zip(encoder.strides, encoder.channels, strict=True)
    ]
    assert encoder.strides[0] == 4


@pytest.mark.parametrize("architecture", TAPPED)
def test_features_are_those_of_the_published_network(architecture, tmp_path):
    network = classifier(architecture)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    encoder = Encoder(architecture, pretrained=True)
    load_encoder_weights(encoder, str(tmp_path / "weights.pt"))
    if architecture == "squeezenet1_0":
        stem = network.get_submodule("features.0")
        assert isinstance(stem, nn.Conv2d)
        stem.padding = (3, 3)  # the one thing in which the encoder differs
    image = torch.rand(1, 3, 64, 96)
    recipe = get_model_weights(architecture)["DEFAULT"].transforms()
    seen = functional.normalize(image, recipe.mean, recipe.std)
    expected = outputs_of(network, TAPPED[architecture], seen)
    with torch.no_grad():
        for features, reference in zip(encoder(image), expected, strict=True):
            torch.testing.assert_close(features, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("coarsest", [8, 16])
@pytest.mark.parametrize("architecture", ["resnet18", "resnet50"])
def test_dilation_only_adds_cells_between_those_of_the_published_network(
    architecture, coarsest, tmp_path
):
    torch.save(classifier(architecture).state_dict(), tmp_path / "weights.pt")
    plain = Encoder(architecture, pretrained=True).double()
    dilated = Encoder(architecture, pretrained=True, coarsest=coarsest, dilated=True).double()
    for encoder in (plain, dilated):
        load_encoder_weights(encoder, str(tmp_path / "weights.pt"))
    image = torch.rand(1, 3, 88, 120, dtype=torch.float64)
    with torch.no_grad():
        pairs = list(zip(plain(image), dilated(image), strict=True))
    for (coarse, fine), stride, kept in zip(pairs, plain.strides, dilated.strides, strict=True):
        assert kept == min(stride, coarsest)
        every = stride // kept
        torch.testing.assert_close(fine[..., ::every, ::every], coarse)


@pytest.mark.parametrize("architecture", ["resnet18", "squeezenet1_0", "mobilenet_v3_small"])
@pytest.mark.parametrize("dilated", [True, False])
def test_no_grid_is_coarser_than_was_asked_for(architecture, dilated):
    whole = Encoder(architecture)
    encoder = Encoder(architecture, coarsest=16, dilated=dilated)
    with torch.no_grad():
        features = encoder(torch.rand(1, 3, 128, 64))
    kept = [stride for stride in whole.strides if dilated or stride <= 16]
    assert encoder.strides == tuple(min(stride, 16) for stride in kept)
    assert encoder.channels == whole.channels[: len(kept)]
    assert [tuple(grid.shape[1:]) for grid in features] == [
        (channels, 128 // stride, 64 // stride)
        for stride, channels in zip(encoder.strides, encoder.channels, strict=True)
    ]


@pytest.mark.parametrize("architecture", ["resnet18", "squeezenet1_0"])
def test_weights_of_layers_that_were_left_out_do_not_matter(architecture, tmp_path):
    weights = classifier(architecture).state_dict()
    torch.save(weights, tmp_path / "weights.pt")
    encoder = Encoder(architecture, pretrained=True, coarsest=8)
    load_encoder_weights(encoder, str(tmp_path / "weights.pt"))
    prefix = "features." if architecture == "squeezenet1_0" else ""
    loaded = encoder.body.state_dict()
    assert 0 < len(loaded) < len(weights)
    for name, value in loaded.items():
        torch.testing.assert_close(value, weights[prefix + name], rtol=0, atol=0)


def test_normalisation_is_a_constant_of_the_weights_or_learned_without_statistics():
    pretrained, fresh = Encoder("resnet18", pretrained=True), Encoder("resnet18")
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        training, evaluating = pretrained.train()(image), pretrained.eval()(image)
    torch.testing.assert_close(training, evaluating, rtol=0, atol=0)
    assert all(parameter.ndim == 4 for parameter in pretrained.parameters())
    for encoder in (pretrained, fresh):
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in encoder.modules())
    assert any(isinstance(layer, nn.GroupNorm) for layer in fresh.modules())


def test_anything_but_an_image_is_seen_as_it_is():
    encoder = Encoder("resnet18", inputs=2)
    flow = torch.rand(1, 2, 64, 64)
    with torch.no_grad():
        expected = encoder.body.get_submodule("conv1")(flow)
    assert expected.shape == (1, 64, 32, 32)
    seen = outputs_of(encoder, ["body.conv1"], flow)
    torch.testing.assert_close(seen, [expected], rtol=0, atol=0)


@pytest.mark.parametrize("last_layer", ["as published", "of another size", "missing"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_last_layer_of_a_file_does_not_matter(last_layer, suffix, tmp_path):
    classes = 3 if last_layer == "of another size" else 1000
    weights = classifier("resnet18", classes).state_dict()
    if last_layer == "missing":
        weights = {name: value for name, value in weights.items() if not name.startswith("fc.")}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(weights, path)
    else:
        torch.save(weights, path)
    encoder = Encoder("resnet18", pretrained=True)
    load_encoder_weights(encoder, str(path))
    for name, value in encoder.body.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("held", "wanted", "first_difference"),
    [
        ("resnet34", "resnet18", "layer1.2.conv1.weight"),  # holds more blocks
        ("resnet18", "resnet34", "layer1.2.conv1.weight"),  # holds fewer
        ("resnet50", "resnet18", "layer1.0.conv1.weight"),  # of another kernel
        ("squeezenet1_0", "resnet18", "conv1.weight"),
        ("mobilenet_v3_small", "squeezenet1_0", "features.0.weight"),
    ],
)
def test_weights_of_another_architecture_are_refused(held, wanted, first_difference, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(classifier(held).state_dict(), path)
    encoder = Encoder(wanted, pretrained=True)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    message = f"{path}: not the weights of a {wanted}, see '{first_difference}'"
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_encoder_weights(encoder, str(path))
    assert "\n" not in str(caught.value)
    torch.testing.assert_close(encoder.state_dict(), before, rtol=0, atol=0)


@pytest.mark.skipif(not REAL_SQUEEZENET.is_file(), reason="no published weights at hand")
def test_published_weights_load():
    encoder = Encoder("squeezenet1_0", pretrained=True)
    load_encoder_weights(encoder, str(REAL_SQUEEZENET))
    published = torch.load(REAL_SQUEEZENET, weights_only=True)
    for name, value in encoder.body.state_dict().items():
        torch.testing.assert_close(value, published[f"features.{name}"], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("source", "architecture", "url"),
    [
        ("torchvision", "resnet18", get_model_weights("resnet18")["DEFAULT"].url),
        ("dino", "resnet50", DINO_RESNET50),
    ],
)
def test_what_was_downloaded_before_needs_no_network(source, architecture, url, cache):
    weights = classifier(architecture, 1000).state_dict()
    torch.save(weights, cache / Path(urlsplit(url).path).name)
    encoder = Encoder(architecture, pretrained=True)
    load_encoder_weights(encoder, source)
    for name, value in encoder.body.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


def test_weights_learned_without_labels_exist_for_one_architecture():
    with pytest.raises(UsageError, match="dino: weights of a resnet50, not of a resnet34"):
        load_encoder_weights(Encoder("resnet34", pretrained=True), "dino")
