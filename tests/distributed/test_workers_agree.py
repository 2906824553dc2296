"""Several workers do what one would, and several that were stopped what they would have done."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from selfseg.training import checkpoint
from selfseg.training.journal import read_lines
from selfseg.training.trainee import Plan
from tests.distributed.replicas import average_twice, in_group, train_replica
from tests.toy import toy_plan

pytestmark = pytest.mark.distributed


def weights(plan: Plan, step: int) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(checkpoint.step_url(plan.run_url, step))[0].weights)


def test_parts_of_a_batch_equal_the_whole(tmp_path):
    parts, whole = (toy_plan(tmp_path / name) for name in ("parts", "whole"))
    in_group(train_replica, tmp_path / "meet", 2, plan=parts, dropout=0.0, descent=True)
    train_replica(whole, dropout=0.0, descent=True)
    torch.testing.assert_close(weights(parts, 12), weights(whole, 12))
    lines = read_lines(parts.run_url)
    assert [line["rank"] for line in lines] == [r for r in range(2) for _ in range(12)]
    # Each worker logs the loss of its own part: they differ, and their mean is the whole's.
    for step, line in enumerate(read_lines(whole.run_url)):
        own = [each["terms"]["loss"] for each in lines if each["step"] == step]
        assert len(set(own)) == 2
        assert sum(own) / 2 == pytest.approx(line["terms"]["loss"], rel=1e-4)


def test_a_run_goes_on_with_more_and_with_fewer_workers_to_the_same_weights(tmp_path):
    """One worker to step 4, three to step 8, two to the end; beside it, one all along."""
    whole, moved = (toy_plan(tmp_path / name, average=0.9) for name in ("whole", "moved"))
    train_replica(whole, dropout=0.0, descent=True)
    train_replica(replace(moved, until=4), dropout=0.0, descent=True)
    for workers, until in ((3, 8), (2, None)):
        meet, plan = tmp_path / f"meet{workers}", replace(moved, until=until)
        in_group(train_replica, meet, workers, plan=plan, dropout=0.0, descent=True)
    torch.testing.assert_close(weights(moved, 12), weights(whole, 12))
    means = [checkpoint.read_inference(checkpoint.resolve(p.run_url)) for p in (moved, whole)]
    torch.testing.assert_close(means[0].weights, means[1].weights)
    took_part = Counter(line["step"] for line in read_lines(moved.run_url))
    assert [took_part[step] for step in range(12)] == [1] * 4 + [3] * 4 + [2] * 4


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


def averaged_twice(folder: Path, workers: int) -> tuple[list[int], torch.Tensor]:
    """Return how many exchanges one bucket took and two did, and what came out of each."""
    result, sums = folder / "exchanges.json", folder / "means.pt"
    in_group(average_twice, folder / "meet", workers, result=result, sums=sums)
    return json.loads(result.read_text()), torch.load(sums)


def test_two_workers_exchange_a_bucket_at_once_and_its_size_changes_no_bit(tmp_path):
    exchanges, (one_bucket, two_buckets) = averaged_twice(tmp_path, 2)
    assert exchanges == [1, 2]
    assert torch.equal(one_bucket, two_buckets)


def test_three_workers_exchange_each_gradient_and_no_bucket_changes_a_bit(tmp_path):
    exchanges, (one_bucket, two_buckets) = averaged_twice(tmp_path, 3)
    assert exchanges == [4, 4]
    assert torch.equal(one_bucket, two_buckets)
