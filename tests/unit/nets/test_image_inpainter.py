import pytest
import torch
from torch import nn

from selfseg.nets.image_inpainter import ImageInpainter

WIDTHS = (16, 24, 32)


def _with_hole(channels, *size):
    image, hole = torch.rand(2, channels, *size), torch.zeros(2, 1, *size)
    hole[..., 8:20, 12:30] = 1
    return image, hole


@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("size", [(64, 64), (32, 48), (50, 70)])
def test_any_grid_is_completed_on_itself(channels, size):
    image, hole = _with_hole(channels, *size)
    with torch.no_grad():
        assert ImageInpainter(channels, widths=WIDTHS)(image, hole).shape == image.shape


def test_what_lies_in_the_hole_is_not_looked_at_and_what_surrounds_it_is():
    network = ImageInpainter(3, widths=WIDTHS)
    image, hole = _with_hole(3, 64, 64)
    with torch.no_grad():
        completed = network(image, hole)
        torch.testing.assert_close(network(image + 5 * hole, hole), completed, rtol=0, atol=0)
        change = network(image + 5 * (1 - hole), hole) - completed
    assert (change * hole).abs().max() > 1e-3


def test_a_hole_is_told_from_black_pixels():
    network = ImageInpainter(3, widths=WIDTHS)
    image, hole = _with_hole(3, 64, 64)
    black = image * (1 - hole)
    with torch.no_grad():
        assert (network(black, hole) - network(black, 0 * hole)).abs().max() > 1e-3


def test_the_papers_widths_see_the_whole_frame_in_five_halvings():
    network = ImageInpainter(3)
    strides = [
        layer.stride
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d) and layer.stride != (1, 1)
    ]
    assert strides == [(2, 2)] * 5
    image = torch.rand(1, 3, 128, 128, requires_grad=True)
    network(image, torch.zeros(1, 1, 128, 128))[..., 0, 0].sum().backward()
    assert image.grad is not None
    assert image.grad[..., -1, -1].abs().sum() > 0


def test_every_weight_learns_and_nothing_is_shared_between_the_images_of_a_batch():
    network = ImageInpainter(3, widths=WIDTHS)
    assert not list(network.buffers())
    image, hole = _with_hole(3, 64, 64)
    with torch.no_grad():
        together, alone = network(image, hole)[:1], network(image[:1], hole[:1])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    network(image, hole).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
