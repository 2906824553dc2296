"""Fewer workers go on where more were, and more where fewer were: on the same global batches."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from itertools import islice
from pathlib import Path

import pytest
import torch

from selfseg.training import checkpoint, session
from selfseg.training.attempts import read_attempts
from selfseg.training.journal import read_lines
from selfseg.training.worker import AcceleratedWorker
from tests.distributed.ray_elastic import STEPS, notes_of, opened, plan_of
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tests.toy import Game, Listener, plain_descent

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SCENES = {"swan": moving_disc(14), "car": moving_disc(12, seed=5)}


def test_a_run_goes_on_without_a_lost_node_and_with_one_that_comes(tmp_path):
    url, run, alone = (str(tmp_path / name) for name in ("collection", "run", "alone"))
    write_collection(url, SCENES, gaps=(1,), shares=(0.25, 0.25, 0.25, 0.25))
    command = [sys.executable, "-m", "tests.distributed.ray_elastic", run, url]
    variables = {name: text for name, text in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, check=False)
    said = (notes_of(run) / "output.txt").read_text()
    assert done.returncode == 0, done.stderr.decode() + said

    first, second, third = read_attempts(run)
    assert [each.workers for each in (first, second, third)] == [2, 1, 2]
    assert first.first_step < second.first_step < third.first_step < STEPS
    assert third.cause == "workers were moved, or became more or fewer"
    together = [*range(second.first_step), *range(third.first_step, STEPS)]
    assert [(line["rank"], line["step"]) for line in read_lines(run)] == [
        *((0, step) for step in range(STEPS)),
        *((1, step) for step in together),
    ]

    whole = [list(batch.keys) for batch in islice(opened(url, 0, 1)(step=0), STEPS)]
    read = keys_read(run)
    assert {step for _, step in read} == set(range(STEPS))
    for (_, step), shares in read.items():
        assert [key for rank in sorted(shares) for key in shares[rank]] == whole[step]

    game = Game()
    session.run(
        plan_of(alone),
        game,
        lambda step: opened(url, 0, 1)(step=step),
        worker=AcceleratedWorker(),
        audience=Listener(),
        optimisers=plain_descent(game),
    )
    weights = [checkpoint.load(checkpoint.step_url(at, STEPS))[0].weights for at in (run, alone)]
    torch.testing.assert_close(*map(dict, weights), rtol=1e-3, atol=1e-5)


def keys_read(run: str) -> dict[tuple[int, int], dict[int, list[str]]]:
    """Return which samples all workers read, by how many there were and step, and by worker."""
    found: dict[tuple[int, int], dict[int, list[str]]] = defaultdict(dict)
    for path in notes_of(run).glob("*.jsonl"):
        for line in path.read_text().splitlines():
            workers, step, rank, keys = json.loads(line)
            assert found[workers, step].setdefault(rank, keys) == keys
    return {
        (workers, step): read for (workers, step), read in found.items() if len(read) == workers
    }
