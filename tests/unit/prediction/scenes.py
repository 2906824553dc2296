"""What tests of prediction share: a model that needs no training, and videos it can segment."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from selfseg.contracts import FramePairs
from selfseg.data.ingesting import IngestSettings


class FastIsForeground:
    """A method without weights: what moves more than a pixel a frame or two."""

    players = nn.ModuleDict()
    needs_motion = True

    def segment(self, batch: FramePairs) -> Tensor:
        speed = (batch.flow - batch.camera).norm(dim=1, keepdim=True)
        return torch.sigmoid(4 * (speed - 1))


class BrightIsForeground:
    """A method that looks at the image alone."""

    players = nn.ModuleDict()
    needs_motion = False

    def segment(self, batch: FramePairs) -> Tensor:
        return (batch.image.mean(1, keepdim=True) > 0.5).float()


def model_of(method: object, *, height: int = 48, width: int = 64) -> Any:
    """Return a model as `load_model` would, around a method that was never saved."""
    data = SimpleNamespace(height=height, width=width, gaps=(1, 2), camera="none")
    return SimpleNamespace(
        method=method,
        config=SimpleNamespace(data=data),
        ingest=IngestSettings(height=height, gaps=(1, 2, 3)),
        url="runs/test/checkpoints/step_1",
    )
