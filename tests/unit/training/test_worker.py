"""What a worker does about half precision, whose gradients may overflow, and about memory."""

import subprocess
import sys

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


HELD_AND_FREED = """
from pathlib import Path
import torch
from selfseg.training.worker import keep_freed_memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

keep_freed_memory()
before = resident_mb()
tensors = [torch.ones(1_000_000) for _ in range(25)]
held = resident_mb()
del tensors
print(held - before, resident_mb() - before)
"""


def test_the_memory_of_freed_tensors_stays_with_the_process() -> None:
    # In a process of its own: what malloc is told holds until the process ends.
    run = subprocess.run(
        [sys.executable, "-c", HELD_AND_FREED], capture_output=True, text=True, check=True
    )
    held_mb, kept_mb = map(float, run.stdout.split())
    assert held_mb > 90
    assert kept_mb > 90
