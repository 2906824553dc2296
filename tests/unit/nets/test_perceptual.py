from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import get_model_weights, vgg
from torchvision.transforms import functional

from selfseg.errors import UserError
from selfseg.nets.perceptual import PerceptualFeatures, load_perceptual_weights
from tests.unit.nets.published import classifier, outputs_of

TAPPED = {
    "resnet18": ["relu", "layer1", "layer2"],
    "vgg16": ["features.3", "features.8", "features.15"],
    "squeezenet1_0": ["features.1", "features.3", "features.5"],
}
REAL_SQUEEZENET = (
    Path(__file__).parents[4] / "shared" / "data" / "weights" / "squeezenet1_0_imagenet.pt"
)


def _published(architecture):
    """Return the classifier, changed in what the features differ in on purpose."""
    if architecture == "vgg16":  # the layers of its classifier take seconds to fill
        torch.manual_seed(0)
        return nn.Sequential(OrderedDict(features=vgg.make_layers(vgg.cfgs["D"])))
    network = classifier(architecture)
    if architecture == "resnet18":
        network.set_submodule("maxpool", nn.Identity())
    if architecture == "squeezenet1_0":
        stem = network.get_submodule("features.0")
        assert isinstance(stem, nn.Conv2d)
        stem.padding = (3, 3)
    return network


@pytest.mark.parametrize("architecture", TAPPED)
def test_features_are_those_of_the_published_network(architecture, tmp_path):
    network = _published(architecture)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    features = PerceptualFeatures(architecture)
    load_perceptual_weights(features, str(tmp_path / "weights.pt"))
    image = torch.rand(2, 3, 64, 96)
    recipe = get_model_weights(architecture)["DEFAULT"].transforms()
    seen = functional.normalize(image, recipe.mean, recipe.std)
    expected = outputs_of(network, TAPPED[architecture], seen)
    for found, reference in zip(features(image), expected, strict=True):
        torch.testing.assert_close(found, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", TAPPED)
def test_only_the_image_gets_a_gradient_and_training_changes_nothing(architecture):
    features = PerceptualFeatures(architecture)
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    training, evaluating = features.train()(image), features.eval()(image)
    torch.testing.assert_close(training, evaluating, rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in features.parameters())
    for taken in evaluating:
        (gradient,) = torch.autograd.grad(taken.square().sum(), image, retain_graph=True)
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("architecture", TAPPED)
def test_no_layer_is_kept_beyond_the_last_tap(architecture):
    features = PerceptualFeatures(architecture)
    names = [name for name, _ in features.encoder.body.named_children()]
    assert names[-1] == features.taps[-1] == TAPPED[architecture][-1].removeprefix("features.")


@pytest.mark.parametrize("architecture", TAPPED)
def test_a_pixel_that_changes_is_seen_by_every_tap(architecture):
    torch.manual_seed(0)
    features = PerceptualFeatures(architecture)
    image = torch.rand(1, 3, 64, 64)
    changed = image.clone()
    changed[..., 33, 21] = 1 - changed[..., 33, 21]
    for one, other in zip(features(image), features(changed), strict=True):
        assert (one - other).abs().max() > 1e-4


def test_weights_of_a_deeper_network_are_refused(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(classifier("resnet34").state_dict(), path)
    with pytest.raises(UserError, match=r"not the weights of a resnet18, see 'layer1\.2\."):
        load_perceptual_weights(PerceptualFeatures("resnet18"), str(path))


@pytest.mark.skipif(not REAL_SQUEEZENET.is_file(), reason="no published weights at hand")
def test_published_weights_load():
    features = PerceptualFeatures("squeezenet1_0")
    load_perceptual_weights(features, str(REAL_SQUEEZENET))
    published = torch.load(REAL_SQUEEZENET, weights_only=True)
    for name, value in features.encoder.body.state_dict().items():
        torch.testing.assert_close(value, published[f"features.{name}"], rtol=0, atol=0)
