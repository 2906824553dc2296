from typing import Any

import pytest
import torch
from torch import nn

from selfseg.nets.crop_autoencoder import CropAutoencoder


def _small(**changes: Any) -> dict[str, Any]:
    """Return the arguments of a network that a test can afford, but for `changes`."""
    small = {"architecture": "small", "code": 128, "widths": (32, 24, 16, 8), "convolutions": 1}
    return small | changes


@pytest.mark.parametrize(
    ("side", "settings"),
    [
        (32, _small()),
        (64, _small()),
        (64, _small(widths=(32, 16))),
        (64, _small(architecture="squeezenet1_0")),
        (64, _small(architecture="mobilenet_v3_small")),
        (64, _small(architecture="resnet18", pretrained=True)),
        (128, _small(architecture="resnet50", convolutions=3)),
    ],
)
def test_a_foreground_is_bounded_and_lies_on_the_crops_grid_with_its_mask(side, settings):
    network = CropAutoencoder(side, **settings)
    with torch.no_grad():
        foreground, mask = network(torch.rand(2, 3, side, side))
    assert foreground.shape == (2, 3, side, side)
    assert mask.shape == (2, 1, side, side)
    assert foreground.min() >= 0
    assert foreground.max() <= 1
    bias = network.decoder[-1].bias
    assert isinstance(bias, nn.Parameter)
    with torch.no_grad():
        bias.fill_(-50)
        foreground, mask = network(torch.rand(2, 3, side, side))
    assert 0 <= foreground.max() < 1e-6
    assert mask.max() < -10


def test_by_default_it_squeezes_a_crop_as_the_paper_does():
    with torch.device("meta"):  # 72 M parameters that need no values
        network = CropAutoencoder(128)
    assert network.squeeze.in_features == 8 * 8 * 1024
    assert network.squeeze.out_features == 856
    convolutions = [layer for layer in network.decoder if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 4 * 3 + 1


def test_it_begins_grey_and_undecided_and_its_depth_neither_fades_nor_swells_what_it_sees():
    torch.manual_seed(0)
    network = CropAutoencoder(64, **_small(convolutions=3))
    crop = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        foreground, mask = network(crop)
        features = network.encoder(crop)[-1]
        before_head = network.decoder[:-1](network.squeeze(features.flatten(1)))
    assert (foreground - 0.5).abs().max() < 0.1
    assert mask.abs().max() < 0.4
    assert 0.05 < before_head.std() / features.std() < 2


@pytest.mark.parametrize("architecture", ["small", "resnet18", "squeezenet1_0"])
def test_every_weight_learns_and_those_of_the_parts_can_be_told_by_name(architecture):
    torch.manual_seed(0)
    network = CropAutoencoder(64, **_small(architecture=architecture))
    foreground, mask = network(torch.rand(2, 3, 64, 64))
    (foreground.square().sum() + mask.square().sum()).backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    assert all(grad is not None and grad.abs().sum() > 0 for grad in gradients.values())
    assert {name.split(".")[0] for name in gradients} == {"encoder", "squeeze", "decoder"}


def test_a_crop_is_learned_by_heart():
    torch.manual_seed(0)
    network = CropAutoencoder(32, **_small())
    crop = torch.zeros(1, 3, 32, 32)
    crop[:, 0, 8:24, 8:24] = 1
    truth = crop[:, :1]
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    errors = []
    for _ in range(60):
        foreground, logit = network(crop)
        wrong = nn.functional.binary_cross_entropy_with_logits(logit, truth)
        loss = (foreground - crop).square().mean() + wrong
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(loss.item())
    assert errors[-1] < 0.3 * errors[0]
