import pytest
import torch
from torch import nn
from torchvision.models.segmentation import deeplabv3_resnet50

from selfseg.nets.deeplab import DeepLab
from selfseg.nets.flow_inpainter import FlowInpainter
from selfseg.nets.pyramid import Pyramid
from selfseg.nets.unet import UNet

OF_AN_IMAGE = {
    "deeplab": lambda: DeepLab(3, 2, "resnet18"),
    "deeplab, pretrained": lambda: DeepLab(3, 2, "resnet18", pretrained=True),
    "pyramid on a ResNet": lambda: Pyramid("resnet18", 2),
    "pyramid on a SqueezeNet": lambda: Pyramid("squeezenet1_0", 2, pretrained=True),
    "pyramid on a MobileNet": lambda: Pyramid("mobilenet_v3_small", 2, width=16),
}


@pytest.mark.parametrize("size", [(64, 96), (50, 70)])
def test_logits_lie_on_the_grid_of_the_input(size):
    assert UNet(2, 2, 8)(torch.rand(2, 2, *size)).shape == (2, 2, *size)
    for build in OF_AN_IMAGE.values():
        with torch.no_grad():
            assert build()(torch.rand(2, 3, *size)).shape == (2, 2, *size)


@pytest.mark.parametrize("network", OF_AN_IMAGE)
def test_every_weight_learns_and_those_of_the_encoder_can_be_told_by_name(network):
    network = OF_AN_IMAGE[network]()
    network(torch.rand(2, 3, 64, 96)).square().sum().backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    assert all(grad is not None and grad.abs().sum() > 0 for grad in gradients.values())
    of_encoder = [weight for name, weight in gradients.items() if name.startswith("encoder.")]
    assert len(of_encoder) == len(list(network.encoder.parameters()))
    assert len(of_encoder) < len(gradients)


def test_a_pyramid_begins_undecided():
    with torch.no_grad():
        probability = Pyramid("squeezenet1_0", 2)(torch.rand(4, 3, 64, 96)).softmax(1)
    assert (probability - 0.5).abs().mean() < 0.1


def test_a_pyramid_sees_every_grid():
    torch.manual_seed(0)
    network = Pyramid("squeezenet1_0", 1)
    image = torch.rand(1, 3, 64, 96)
    weights = [weight for weight in network.laterals.parameters() if weight.ndim == 4]
    assert len(weights) == len(network.encoder.strides)
    with torch.no_grad():
        whole = network(image)
        for weight in weights:
            kept = weight.clone()
            weight.zero_()
            assert (network(image) - whole).abs().max() > 1e-3
            weight.copy_(kept)


def test_deeplab_on_a_resnet34_is_as_large_as_the_papers_static_model():
    # Sec. 5.1: 21 M. The paper does not say how wide its head is.
    parameters = sum(weight.numel() for weight in DeepLab(3, 2, "resnet34").parameters())
    assert 20e6 < parameters < 24e6


def test_deeplab_on_a_resnet50_is_torchvisions_but_for_normalisation():
    ours = DeepLab(3, 21)
    theirs = deeplabv3_resnet50(weights=None, weights_backbone=None)
    convolutions = [
        [str(layer) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        for network in (ours, theirs)
    ]
    assert convolutions[0] == convolutions[1]


def test_every_weight_of_the_inpainter_learns():
    network = FlowInpainter()
    flow, context, image = (
        torch.rand(1, 2, 64, 96),
        torch.ones(1, 1, 64, 96),
        torch.rand(1, 3, 64, 96),
    )
    guess = network(flow, context, image)
    assert guess.shape == flow.shape
    # The heads start near zero, but not at it: the gradient passes them at once.
    guess.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_the_inpainter_does_not_see_flow_outside_its_context():
    network = FlowInpainter()
    image, flow = torch.rand(1, 3, 64, 96), torch.rand(1, 2, 64, 96)
    context = torch.ones(1, 1, 64, 96)
    context[..., 20:40, 30:60] = 0
    changed = flow + 5 * (1 - context)
    with torch.no_grad():
        torch.testing.assert_close(
            network(changed, context, image), network(flow, context, image), rtol=0, atol=0
        )


def test_deeplab_takes_flow_and_keeps_no_batch_statistics():
    network = DeepLab(2, 2)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert not list(network.buffers())
    with torch.no_grad():
        assert network(torch.rand(1, 2, 48, 64)).shape == (1, 2, 48, 64)
