"""The reading order, proved without a file and without a process."""

from collections import Counter
from hashlib import blake2b

import numpy as np
import pytest

from selfseg.data.reading.draws import permutation, uniforms, words
from selfseg.data.reading.order import Order, share_of
from selfseg.errors import UsageError

SHARDS = {
    "equal": (16, 16, 16, 16),
    "very unequal": (1, 97, 3, 0, 250, 2),
    "one": (40,),
    "many small": (1,) * 37,
    "smaller than a batch": (2, 1),
}


def order(counts=(16, 16, 16, 16), **changes) -> Order:
    settings = {"seed": 3, "batch_size": 8, "lanes": 4, "block": 5, "tail": "carry"}
    return Order(counts, **{**settings, **changes})


def read(of: Order, steps: int) -> list:
    return [sample for step in range(steps) for sample in of.batch(step)]


@pytest.mark.parametrize("counts", SHARDS.values(), ids=SHARDS)
@pytest.mark.parametrize("lanes", [1, 4, 1000])
@pytest.mark.parametrize("block", [1, 5, 10_000])
def test_every_sample_is_read_exactly_once_an_epoch(counts, lanes, block):
    of = order(counts, lanes=lanes, block=block)
    epochs = 3
    # Whole epochs lie in the first `steps` batches; what a batch holds beyond them is epoch 3's.
    steps = -(-epochs * sum(counts) // 8)
    samples = Counter(read(of, steps))
    for epoch in range(epochs):
        for ordinal in range(sum(counts)):
            assert samples.pop((epoch, ordinal)) == 1
    assert {epoch for epoch, _ in samples} <= {epochs, epochs + 1, epochs + 2}


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_the_parts_of_all_workers_are_the_global_batch_in_order(world_size):
    of = order(SHARDS["very unequal"])
    for step in range(100):
        parts = [of.part(step, rank=r, world_size=world_size) for r in range(world_size)]
        assert sum(parts, ()) == of.batch(step)


def test_changing_the_number_of_workers_midway_changes_nothing():
    whole = read(order(), 30)
    changing = []
    for step, world_size in enumerate([1] * 10 + [4] * 10 + [2] * 10):
        for rank in range(world_size):  # each part from a process that starts afresh
            changing += order().part(step, rank=rank, world_size=world_size)
    assert changing == whole


def test_going_on_from_a_step_equals_having_read_up_to_it():
    read_through = order(SHARDS["very unequal"])
    straight = [read_through.batch(step) for step in range(200)]
    for step in (199, 0, 57, 45):  # backwards too: nothing depends on what was read before
        assert order(SHARDS["very unequal"]).batch(step) == straight[step]
        assert read_through.batch(step) == straight[step]


def test_a_far_step_costs_no_more_than_a_near_one(monkeypatch):
    drawn = []
    counted = lambda size, *names: drawn.append(size) or permutation(size, *names)  # noqa: E731
    monkeypatch.setattr("selfseg.data.reading.order.permutation", counted)
    order((1000,) * 50, block=100, seed=11).batch(10**9)
    # Two epochs at most are touched: the shards of each, and a block of each lane.
    assert sum(drawn) <= 2 * (50 + 4 * 100)


def test_epochs_and_seeds_differ_from_each_other():
    first, again, other = order(), order(), order(seed=4)
    epochs = [tuple(o for _, o in read(first, 8 * (e + 1))[64 * e :]) for e in range(3)]
    assert len(set(epochs)) == 3
    assert read(first, 8) == read(again, 8)
    assert read(first, 8) != read(other, 8)


def test_carry_begins_the_next_epoch_within_the_batch():
    of = order((10,), batch_size=4)
    assert [[epoch for epoch, _ in of.batch(step)] for step in range(3)] == [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 1, 1],
    ]


def test_drop_leaves_out_the_tail_and_a_different_one_each_epoch():
    of = order((10,), batch_size=4, tail="drop")
    epochs = [of.batch(2 * e) + of.batch(2 * e + 1) for e in range(8)]
    assert all({epoch for epoch, _ in samples} == {e} for e, samples in enumerate(epochs))
    left_out = {frozenset(range(10)) - {o for _, o in samples} for samples in epochs}
    assert all(len(ordinals) == 2 for ordinals in left_out)
    assert len(left_out) > 1


def test_a_collection_smaller_than_a_batch_fills_it_from_several_epochs():
    of = order((2, 1), batch_size=8)
    assert [epoch for epoch, _ in of.batch(0)] == [0, 0, 0, 1, 1, 1, 2, 2]


def test_drop_without_a_whole_batch_is_refused():
    with pytest.raises(UsageError, match=r"batch_size 8 exceeds .* 3 samples; set data.tail=carry"):
        order((2, 1), tail="drop")


def test_a_collection_without_samples_is_refused():
    with pytest.raises(UsageError, match="no sample"):
        order((0, 0))


@pytest.mark.parametrize(
    ("batch_size", "world_size", "remedy"), [(8, 3, "6 or 9"), (2, 4, "batch_size=4,")]
)
def test_a_batch_that_cannot_be_shared_evenly_is_refused(batch_size, world_size, remedy):
    with pytest.raises(UsageError, match=f"batch_size {batch_size} .* {world_size} .*{remedy}"):
        share_of(batch_size, world_size)


def test_neighbours_in_a_batch_come_from_different_places():
    # 4 lanes of 100 out of 400 samples in one shard: 4 neighbours lie about 100 apart.
    batch = [o for _, o in order((400,), batch_size=4, block=10).batch(0)]
    gaps = np.diff(sorted(batch))
    assert (abs(gaps - 100) < 10).sum() >= 2


def test_a_block_is_read_before_the_next_begins():
    of = order((400,), lanes=1, block=40, batch_size=40)
    for step in range(10):
        ordinals = np.array([ordinal for _, ordinal in of.batch(step)])
        # 40 consecutive numbers in any order; the rotation may wrap them around the end.
        reach = min(np.ptp(ordinals), np.ptp((ordinals + 200) % 400))
        assert reach == 39


def philox_block(key: int, counter: int) -> list[int]:
    """Philox4x64-10 as published: Salmon et al., Parallel random numbers, 2011, section 3.3."""
    low = 2**64 - 1
    x = [(counter >> 64 * i) & low for i in range(4)]
    k = [key & low, key >> 64]
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * x[0], 0xCA5A826395121157 * x[2]
        x = [(right >> 64) ^ x[1] ^ k[0], right & low, (left >> 64) ^ x[3] ^ k[1], left & low]
        k = [(k[0] + 0x9E3779B97F4A7C15) & low, (k[1] + 0xBB67AE8584CAA73B) & low]
    return x


def test_draws_are_the_published_philox_words_on_any_version_of_numpy():
    key = int.from_bytes(blake2b(b'[7, "a"]', digest_size=16).digest(), "little")
    assert words(8, 7, "a").tolist() == philox_block(key, 1) + philox_block(key, 2)


def test_streams_of_different_names_differ():
    names = [(7, "a"), (7, "b"), (1, 12), (11, 2), (112,)]
    assert len({words(1, *each)[0] for each in names}) == len(names)


def test_uniforms_fill_the_unit_interval_evenly():
    drawn = uniforms(100_000, "test")
    assert drawn.min() >= 0
    assert drawn.max() < 1
    # The standard error of the mean is 1 / sqrt(12 n) = 0.0009.
    assert abs(drawn.mean() - 0.5) < 0.004
