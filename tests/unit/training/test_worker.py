"""What a worker does about half precision, whose gradients may overflow."""

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.amp import GradScaler

from selfseg.training.worker import AcceleratedWorker


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> AcceleratedWorker:
    """A worker that scales losses as on a GPU; accelerate refuses to where there is none."""
    worker = AcceleratedWorker()
    monkeypatch.setattr(Accelerator, "mixed_precision", "fp16")
    worker._accelerator.native_amp = True
    worker._accelerator.scaler = GradScaler("cpu", init_scale=8.0)
    return worker


def test_a_step_that_is_left_out_lowers_the_scale_and_the_next_one_can_be_taken(
    scaling: AcceleratedWorker,
) -> None:
    weight = nn.Parameter(torch.ones(1))
    optimiser = torch.optim.SGD([weight], 1.0)
    for gradient in (float("inf"), float("nan"), 8.0):
        weight.grad = None
        scaling.backward((gradient * weight).sum())
        scaling.clip(optimiser, [weight], norm=None, value=None)
        scaling.forgo()
    # Halved twice; the last gradient was sound, and is what it is without a scale.
    assert scaling.state()["scale"] == 2.0
    assert weight.grad is not None
    assert weight.grad.item() == 8.0


def test_without_a_scale_there_is_nothing_to_take_note_of() -> None:
    worker = AcceleratedWorker()
    worker.forgo()
    assert worker.state() == {}
