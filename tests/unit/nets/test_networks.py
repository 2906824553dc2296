import pytest
import torch
from torch import nn

from selfseg.nets.deeplab import DeepLab
from selfseg.nets.flow_inpainter import FlowInpainter
from selfseg.nets.unet import UNet


@pytest.mark.parametrize("size", [(64, 96), (50, 70)])
def test_logits_lie_on_the_grid_of_the_input(size):
    assert UNet(2, 2, 8)(torch.rand(2, 2, *size)).shape == (2, 2, *size)


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
