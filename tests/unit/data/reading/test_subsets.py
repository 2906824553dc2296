"""Which videos a run reads, and that all of their samples are read, evenly and in turn."""

from itertools import islice, pairwise

import numpy as np
import pytest

from selfseg.data.format.manifest import Manifest, VideoEntry
from selfseg.data.format.schema import split_key
from selfseg.data.format.settings import IngestSettings
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.loader import batches
from selfseg.data.reading.selection import readable, reading_order
from selfseg.data.reading.subsets import chosen_videos
from selfseg.errors import UsageError
from tests.exact_collection import video_id, write_collection
from tests.synthetic import moving_disc
from tests.unit.data.tiny import CONFIG

FRAMES = {"swan": 7, "car": 4, "dog": 6, "cat": 5, "bus": 3}


def manifest(*ids: str) -> Manifest:
    """Return one of videos that are named by the part of their id before a dash."""
    videos = tuple(
        VideoEntry(id=each, name=each.split("-")[0], frames=1, sha256="", masks_sha256=None)
        for each in sorted(ids)
    )
    return Manifest(settings=IngestSettings(), shard_bytes=1, videos=videos, skipped=(), shards=())


def chosen(of: Manifest, names=None, *, fraction=1.0, seed=0) -> list[str]:
    return [video.id for video in chosen_videos(of, names, fraction=fraction, seed=seed)]


HUNDRED = manifest(*(f"v{number}" for number in range(100)))


def test_a_smaller_fraction_is_part_of_a_larger_one():
    parts = [chosen(HUNDRED, fraction=hundredths / 100) for hundredths in range(1, 101)]
    # Also where the product is a little more than a whole number in binary, as 0.07 * 100 is.
    assert [len(part) for part in parts] == list(range(1, 101))
    assert all(set(smaller) < set(larger) for smaller, larger in pairwise(parts))


def test_a_fraction_is_rounded_up():
    three = manifest("a", "b", "c")
    counts = [len(chosen(three, fraction=share)) for share in (0.001, 0.3, 0.34, 0.67, 1.0)]
    assert counts == [1, 1, 2, 3, 3]


def test_videos_do_not_change_places_when_the_collection_grows():
    before = chosen(HUNDRED)
    grown = manifest(*before, *(f"{place}{number}" for number in range(25) for place in "uw"))
    assert [video for video in chosen(grown) if video in before] == before


def test_another_seed_draws_another_part():
    parts = {tuple(chosen(HUNDRED, fraction=0.1, seed=seed)) for seed in range(5)}
    assert len(parts) == 5
    # All are equally likely: over 200 seeds each of 10 is first about 20 times.
    ten = manifest(*(f"v{number}" for number in range(10)))
    firsts = [chosen(ten, fraction=0.1, seed=seed)[0] for seed in range(200)]
    _, counts = np.unique(firsts, return_counts=True)
    assert len(counts) == 10
    assert counts.max() < 20 + 5 * np.sqrt(200 * 0.1 * 0.9)


def test_a_list_holds_names_or_ids_and_a_fraction_is_of_the_list():
    collection = manifest("a-1", "a-2", "b-1", "c-1")
    assert set(chosen(collection, ["a", "c-1"])) == {"a-1", "a-2", "c-1"}
    assert set(chosen(collection, ["a-2"])) == {"a-2"}
    part = chosen(collection, ["a", "b"], fraction=0.5)  # of three
    assert len(part) == 2
    assert set(part) <= {"a-1", "a-2", "b-1"}


def test_a_video_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(UsageError, match=r"^data.videos: .* no video d; choose from a, b, c$"):
        chosen(manifest("a-1", "a-2", "b-1", "c-1"), ["a", "d"])
    with pytest.raises(UsageError, match=r"no video x; choose from v0, .*, \.\.\.$"):
        chosen(HUNDRED, ["x"])


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Collection:
    folder = str(tmp_path_factory.mktemp("collection"))
    scenes = {name: moving_disc(frames, seed=frames) for name, frames in FRAMES.items()}
    write_collection(folder, scenes, gaps=(1,))
    return Collection.open(folder)


SUBSETS = {
    "list": {"videos": ["car", video_id("dog")]},
    "fraction": {"fraction": 0.6},
    "both": {"videos": ["swan", "car", "dog", "cat"], "fraction": 0.5, "fraction_seed": 3},
}


def keys(collection, config, number, *, rank=0, world_size=1, step=0) -> list[tuple[str, ...]]:
    endless = batches(collection, config, seed=5, step=step, rank=rank, world_size=world_size)
    return [batch.keys for batch in islice(endless, number)]


@pytest.mark.parametrize("changes", SUBSETS.values(), ids=SUBSETS)
def test_all_samples_of_a_subset_and_no_others_are_read_once_an_epoch(collection, changes):
    config = CONFIG.override(changes)
    videos = chosen_videos(
        collection.manifest, config.videos, fraction=config.fraction, seed=config.fraction_seed
    )
    # The last frame of each has no next one.
    size = sum(FRAMES[video.name] - 1 for video in videos)
    assert 0 < size < sum(FRAMES.values()) - len(FRAMES)
    read = [key for batch in keys(collection, config, size) for key in batch]
    for epoch in range(4):  # as many batches of 4 as samples are 4 epochs
        found = read[epoch * size : (epoch + 1) * size]
        assert len(set(found)) == size
        assert {split_key(key)[0] for key in found} == {video.id for video in videos}


def test_a_subset_is_shared_among_workers_and_read_on_where_it_stopped(collection):
    config = CONFIG.override({"fraction": 0.6})
    whole = keys(collection, config, 8)
    parts = [keys(collection, config, 8, rank=rank, world_size=2) for rank in range(2)]
    assert [one + other for one, other in zip(*parts, strict=True)] == whole
    assert {len(part) for worker in parts for part in worker} == {2}
    assert keys(collection, config, 3, step=5) == whole[5:]


def test_a_subset_is_read_shard_by_shard(collection):
    config = CONFIG.override({"fraction": 0.6, "lanes": 1, "block": 1})
    ordinals = readable(collection, config)
    order = reading_order(collection, config, ordinals, seed=5)
    first = [ordinals[sample.ordinal] for step in range(99) for sample in order.batch(step)]
    starts = np.cumsum(collection.counts)
    shards = np.searchsorted(starts, first[: len(ordinals)], side="right")
    # The rotation may cut one shard in two, of which the second part comes last.
    assert np.count_nonzero(np.diff(shards)) <= len(collection.counts)
    steps = np.diff(first[: len(ordinals)])[np.diff(shards) == 0]
    assert (steps > 0).all()


def test_a_subset_that_does_not_fill_a_batch_is_refused_in_one_line(collection):
    with pytest.raises(
        UsageError,
        match=r"^data.videos and data.fraction=0.01 leave 1 of the collection's 5 videos and "
        r"\d samples, too few for data.batch_size 8; choose more videos or a smaller batch$",
    ):
        readable(collection, CONFIG.override({"fraction": 0.01, "batch_size": 8}))
    # Without a subset a collection that is smaller than a batch fills it, as before.
    assert len(readable(collection, CONFIG.override({"batch_size": 99}))) == 20


def test_an_empty_list_and_an_empty_fraction_are_no_settings():
    for changes in ({"videos": []}, {"fraction": 0}, {"fraction": 1.1}):
        (name,) = changes
        with pytest.raises(UsageError, match=name):
            CONFIG.override(changes)
