"""Several workers do what one would, and several that were stopped what they would have done."""

import pytest
import torch

from selfseg.training import checkpoint
from selfseg.training.journal import read_lines
from selfseg.training.trainee import Plan
from tests.distributed.replicas import in_group, train_replica
from tests.toy import toy_plan

pytestmark = pytest.mark.distributed


def weights(plan: Plan, step: int) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(checkpoint.step_url(plan.run_url, step))[0].weights)


@pytest.mark.parametrize("world_size", [2, 3])
def test_parts_of_a_batch_equal_the_whole(tmp_path, world_size):
    parts, whole = (toy_plan(tmp_path / name) for name in ("parts", "whole"))
    in_group(train_replica, tmp_path / "meet", world_size, plan=parts, dropout=0.0, descent=True)
    in_group(train_replica, tmp_path / "alone", 1, plan=whole, dropout=0.0, descent=True)
    torch.testing.assert_close(weights(parts, 12), weights(whole, 12))
    lines = read_lines(parts.run_url)
    assert [line["rank"] for line in lines] == [r for r in range(world_size) for _ in range(12)]
    # Each worker logs the loss of its own part: they differ, and their mean is the whole's.
    for step, line in enumerate(read_lines(whole.run_url)):
        own = [each["terms"]["loss"] for each in lines if each["step"] == step]
        assert len(set(own)) == world_size
        assert sum(own) / world_size == pytest.approx(line["terms"]["loss"], rel=1e-4)


def test_three_workers_that_were_stopped_end_bit_equal_to_three_that_were_not(tmp_path):
    # From three workers on, the order in which gradients are added up matters.
    whole, broken = (toy_plan(tmp_path / name, steps=6, checkpoint_every=2) for name in "ab")
    in_group(train_replica, tmp_path / "m1", 3, plan=whole, dropout=0.5, descent=False)
    in_group(train_replica, tmp_path / "m2", 3, plan=broken, dropout=0.5, descent=False)
    (tmp_path / "b/checkpoints/step_00000006/COMMIT.json").unlink()
    (tmp_path / "b/checkpoints/step_00000004/COMMIT.json").unlink()
    in_group(train_replica, tmp_path / "m3", 3, plan=broken, dropout=0.5, descent=False)
    one, other = weights(whole, 6), weights(broken, 6)
    assert all(torch.equal(one[name], other[name]) for name in one)
