"""Going on without damaged shards: all workers alike, in the same step, and not without end."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from selfseg.contracts import FramePairs
from selfseg.data.format.manifest import ShardEntry, shard_url
from selfseg.data.format.schema import split_key
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.following import Follower
from selfseg.data.reading.loader import batches
from selfseg.data.reading.quarantine import Quarantine
from selfseg.data.reading.selection import readable
from selfseg.errors import UserError
from tests.exact_collection import damage, write_collection
from tests.meeting import Meeting
from tests.reading import samples_of
from tests.synthetic import moving_disc
from tests.unit.data import tiny

SCENES = {"swan": moving_disc(14), "car": moving_disc(12, seed=5)}
SHARES = (0.25, 0.25, 0.25, 0.25)
STEPS = 18
"""Of 24 samples with a next frame, in batches of 4: three epochs."""


@pytest.fixture
def collection(tmp_path) -> Collection:
    write_collection(str(tmp_path), SCENES, gaps=(1,), shares=SHARES)
    return Collection.open(str(tmp_path))


def alone(budget: int, tell: Callable[[str], None] = lambda line: None) -> Quarantine:
    return Quarantine(budget, gather=lambda text: [text], tell=tell)


def read(
    collection: Collection,
    quarantine: Quarantine | None,
    config=tiny.CONFIG,
    *,
    step=0,
    rank=0,
    world_size=1,
    **options,
):
    """Return a worker's batches up to STEPS."""
    stream = batches(
        collection,
        config,
        seed=5,
        step=step,
        rank=rank,
        world_size=world_size,
        quarantine=quarantine,
        **options,
    )
    try:
        return list(islice(stream, STEPS - step))
    finally:
        stream.close()


def damage_shard(collection: Collection, number: int) -> ShardEntry:
    """Damage all samples of a shard."""
    first = sum(collection.counts[:number])
    for ordinal in range(first, first + collection.counts[number]):
        damage(collection, collection.key(ordinal))
    return collection.manifest.shards[number]


def of_shard(collection: Collection, shard: ShardEntry) -> set[str]:
    first = sum(collection.counts[: collection.manifest.shards.index(shard)])
    return {collection.key(first + row) for row in range(shard.samples)}


def keys_of(found: list[FramePairs]) -> list[str]:
    return [key for batch in found for key in batch.keys]


@pytest.mark.parametrize("loader_processes", [0, 1])
def test_reading_goes_on_without_a_damaged_shard_and_says_so(collection, loader_processes):
    shard, lines = damage_shard(collection, 1), []
    quarantine = alone(2, lines.append)
    config = tiny.CONFIG.override({"loader_processes": loader_processes})
    before = readable(collection, config)
    found = keys_of(read(collection, quarantine, config))
    (loss,) = quarantine.losses
    assert (loss.shard, loss.samples) == (shard.name, shard.samples)
    # From there on each of the others is read once an epoch.
    left = [collection.key(o) for o in before.tolist()]
    left = sorted(set(left) - of_shard(collection, shard))
    after = found[4 * loss.step :]
    for epoch in range(len(after) // len(left)):
        assert sorted(after[len(left) * epoch : len(left) * (epoch + 1)]) == left
    assert len(after) >= len(left)
    assert lines == [
        f"step {loss.step}: the run goes on without shard {shard.name} and its {shard.samples} "
        f"samples: {loss.cause}",
        "data.quarantine: 1 more shards may be lost",
    ]
    assert shard_url(collection.url, shard.name) in loss.cause


def test_until_the_damage_is_met_everything_is_read_as_if_there_was_none(collection):
    whole = read(collection, None)
    assert whole[2].keys[1] not in keys_of(whole[:2])
    damage(collection, whole[2].keys[1])
    quarantine = alone(1)
    found = read(collection, quarantine)
    assert [loss.step for loss in quarantine.losses] == [2]
    assert samples_of(found[:2]) == samples_of(whole[:2])
    assert found[2].keys != whole[2].keys


def test_several_shards_may_turn_out_damaged_in_one_step(collection):
    lost = {damage_shard(collection, number).name for number in (0, 1, 2)}
    quarantine = alone(3)
    found = keys_of(read(collection, quarantine))
    assert {loss.shard for loss in quarantine.losses} == lost
    assert len({loss.step for loss in quarantine.losses}) < 3
    assert set(found[-4:]) <= of_shard(collection, collection.manifest.shards[3])


def test_pairs_whose_other_frame_is_in_a_damaged_shard_are_left_out_too(collection):
    shard = damage_shard(collection, 1)
    reversing = tiny.CONFIG.override({"augmentation.reverse": 1})
    left = readable(collection, reversing, without={shard.name})
    lost = {split_key(key) for key in of_shard(collection, shard)}
    for ordinal in left.tolist():
        video, frame = split_key(collection.key(ordinal))
        assert not {(video, frame), (video, frame + 1)} & lost
    forward = readable(collection, tiny.CONFIG, without={shard.name})
    assert set(left.tolist()) < set(forward.tolist())
    quarantine = alone(1)
    read(collection, quarantine, reversing)
    assert len(quarantine.losses) == 1


def test_over_the_budget_the_run_ends_with_all_damaged_shards_named(collection):
    lost = [damage_shard(collection, number).name for number in (0, 1)]
    with pytest.raises(UserError) as caught:
        read(collection, alone(1))
    (line,) = str(caught.value).splitlines()
    assert all(shard_url(collection.url, name) in line for name in lost)
    assert line.startswith("2 damaged shards are more than the 1 of data.quarantine: ")
    assert line.endswith("or begin a run with a larger data.quarantine")


def test_without_a_quarantine_the_first_damage_ends_the_run(collection):
    damage_shard(collection, 1)
    with pytest.raises(UserError, match="damaged at"):
        read(collection, None)


def damage_on_the_way(collection: Collection) -> list[int]:
    """Damage a sample that is met in step 2, and one that is met later; return both steps."""
    whole = read(collection, None)
    damage(collection, whole[2].keys[1])
    found = read(collection, alone(1))
    step, key = next(
        (step, key)
        for step in range(3, STEPS)
        for key in found[step].keys
        if key not in keys_of([*whole[:3], *found[:step]])
    )
    damage(collection, key)
    return [2, step]


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5, 9])
def test_a_run_that_goes_on_reads_what_an_undisturbed_one_does(collection, stop):
    steps = damage_on_the_way(collection)
    first = alone(2)
    whole = samples_of(read(collection, first))
    assert [loss.step for loss in first.losses] == steps
    stopped = alone(2)
    begun = batches(
        collection, tiny.CONFIG, seed=5, step=0, rank=0, world_size=1, quarantine=stopped
    )
    found = samples_of(islice(begun, stop))
    assert [loss.step for loss in stopped.losses] == [step for step in steps if step < stop]
    resumed = alone(2)
    resumed.restore([{"step": 0, "manifest": "of the follower"}, *stopped.state()])
    assert found + samples_of(read(collection, resumed, step=stop)) == whole
    assert resumed.losses == first.losses


def test_workers_decide_alike_in_the_same_step_although_one_of_them_met_the_damage(collection):
    damage_on_the_way(collection)
    single = alone(2)
    whole = [batch.keys for batch in read(collection, single)]
    met: list[list[str]] = []
    meeting = Meeting(2, met.append)
    both = [Quarantine(2, gather=meeting.seat(rank), tell=lambda line: None) for rank in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        reading = [
            pool.submit(read, collection, each, rank=rank, world_size=2)
            for rank, each in enumerate(both)
        ]
        parts = [future.result() for future in reading]
    assert both[0].losses == both[1].losses == single.losses
    assert [one.keys + other.keys for one, other in zip(*parts, strict=True)] == whole
    assert [sorted(map(bool, texts)) for texts in met if any(texts)] == [[False, True]] * 2


def test_a_collection_that_is_followed_goes_on_growing_without_what_was_lost(collection):
    damage_shard(collection, 1)
    follower = Follower(
        collection.url,
        collection.manifest_id,
        looks=True,
        agree=lambda text: text,
        tell=lambda line: None,
    )
    write_collection(
        collection.url, {**SCENES, "dog": moving_disc(6, seed=8)}, gaps=(1,), shares=SHARES
    )
    quarantine = alone(1)
    config = tiny.CONFIG.override({"follow": True})
    found = keys_of(read(collection, quarantine, config, follower=follower))
    assert any(key.startswith("dog") for key in found)
    assert len(follower.moves) == 2
    assert len(quarantine.losses) == 1
