"""Curves in Weights & Biases from workers that Ray has started, by the real package, offline."""

import subprocess
import sys

import pytest

from selfseg.training.journal import read_lines
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

SETTINGS = {
    "data.height": 32,
    "data.width": 48,
    "data.batch_size": 2,
    "data.gaps": "[1]",
    "loop.steps": 6,
    "method.unet_width": 8,
    "method.imitation_steps": 2,
}


def test_an_offline_run_ends_with_what_the_journal_ends_with(tmp_path):
    collection, run = str(tmp_path / "collection"), tmp_path / "run"
    write_collection(collection, {"swan": moving_disc(6)}, gaps=(1,))
    changes = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    places = ("--collection", collection, "--run", str(run), "--workers", "2")
    command = "import sys; from selfseg.cli import main; sys.exit(main())"
    asked = ("train", "dystab_dynamic_cpu", *places, "--wandb", "offline", *changes)
    subprocess.run([sys.executable, "-c", command, *asked], check=True, capture_output=True)
    (written,) = run.glob("wandb/offline-run-*/run-*.wandb")
    kept = written.read_bytes()
    last = [line for line in read_lines(str(run)) if line["rank"] == 0][-1]
    assert last["step"] == 5
    assert [name for name, value in last["terms"].items() if repr(value).encode() not in kept] == []
    # Of the settings, so that a curve can be told from another's.
    assert b'"unet_width":8' in kept
