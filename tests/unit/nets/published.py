"""Networks as others publish them: torchvision's, with statistics of a training behind them."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.optical_flow import raft_small

SEED = 5


def classifier(architecture: str, num_classes: int = 10) -> nn.Module:
    """Return a classifier in evaluation, whose normalisation is not the identity."""
    torch.manual_seed(SEED)
    network = get_model(architecture, weights=None, num_classes=num_classes).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.weight, layer.bias, layer.running_mean):
                assert values is not None
                nn.init.normal_(values, 0.2, 0.1)
            assert layer.running_var is not None
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return network


def outputs_of(network: nn.Module, layers: list[str], image: Tensor) -> list[Tensor]:
    """Return what the layers of these names put out when the network sees `image`."""
    seen: list[Tensor] = []

    def see(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(output)

    hooks = [network.get_submodule(name).register_forward_hook(see) for name in layers]
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    return seen


def raft_that_sees(path: Path, shift: tuple[float, float]) -> Path:
    """Save weights with which RAFT finds everything moved by `shift`, in pixels of its grid.

    Its twelve updates each add the same, on a grid of an eighth.
    """
    torch.manual_seed(SEED)
    network = raft_small(weights=None)
    last = network.update_block.flow_head.conv2
    assert isinstance(last.bias, nn.Parameter)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor(shift) / (12 * 8))
    torch.save(network.state_dict(), path)
    return path
