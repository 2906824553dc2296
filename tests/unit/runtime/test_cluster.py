import os
import socket
import subprocess
import sys

import pytest

from selfseg.errors import UserError
from selfseg.runtime.cluster import KEEP_MEMORY, connect


def test_a_named_cluster_that_does_not_answer_is_an_error_at_once(monkeypatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UserError, match=f"RAY_ADDRESS {address}: no cluster answers"):
            connect()


def test_an_address_that_is_none_is_an_error(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(UserError, match="RAY_ADDRESS nonsense: no cluster answers"):
        connect()


HELD_AND_FREED = """
from pathlib import Path
import torch

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

before = resident_mb()
tensors = [torch.ones(1_000_000) for _ in range(25)]
held = resident_mb()
del tensors
print(held - before, resident_mb() - before)
"""


def test_the_memory_of_freed_tensors_stays_with_a_worker() -> None:
    run = subprocess.run(
        [sys.executable, "-c", HELD_AND_FREED],
        env=os.environ | KEEP_MEMORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    held_mb, kept_mb = map(float, run.stdout.split())
    assert held_mb > 90
    assert kept_mb > 90
