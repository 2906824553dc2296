"""What a run reads as its collection grows: new videos when they arrive, earlier ones beside."""

from collections import Counter
from itertools import islice

import pytest
import torch

from selfseg.contracts import FramePairs
from selfseg.data.format.schema import split_key
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.course import segments, spread
from selfseg.data.reading.loader import batches
from selfseg.data.reading.order import Sample
from selfseg.data.reading.subsets import chosen_videos
from selfseg.errors import UsageError
from selfseg.experiment import read_recipe
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tests.unit.data.tiny import CONFIG

FRAMES = {"swan": 7, "car": 5, "dog": 6, "cat": 8, "bus": 4}
GROWING = CONFIG.override({"growth": [0.4, 0.6, 1.0]})
STARTS = (0, 6, 20)


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Collection:
    folder = str(tmp_path_factory.mktemp("collection"))
    scenes = {name: moving_disc(frames, seed=frames) for name, frames in FRAMES.items()}
    write_collection(folder, scenes, gaps=(1,))
    return Collection.open(folder)


def read(
    collection, config, steps: range, *, rank=0, world_size=1, starts=STARTS
) -> list[FramePairs]:
    endless = batches(
        collection,
        config,
        seed=5,
        step=steps.start,
        rank=rank,
        world_size=world_size,
        starts=starts,
    )
    return list(islice(endless, len(steps)))


def keys(*arguments, **options) -> list[tuple[str, ...]]:
    return [batch.keys for batch in read(*arguments, **options)]


def videos(share: float, collection: Collection) -> set[str]:
    return {each.id for each in chosen_videos(collection.manifest, None, fraction=share, seed=0)}


def size(video_ids: set[str]) -> int:
    """Count samples: the last frame of each video has no next one."""
    return sum(FRAMES[video_id.partition("-")[0]] - 1 for video_id in video_ids)


def video_of(key: str) -> str:
    return split_key(key)[0]


def test_each_round_reads_the_videos_that_have_arrived_from_its_first_step_on(collection):
    read_so_far: set[str] = set()
    for share, steps in zip(GROWING.growth, (range(6), range(6, 20), range(20, 60)), strict=True):
        there = videos(share, collection)
        assert there > read_so_far
        samples = [key for batch in keys(collection, GROWING, steps) for key in batch]
        assert {video_of(key) for key in samples} == there
        # Every sample once, before one is read again.
        assert len(set(samples[: size(there)])) == size(there)
        read_so_far = there


def test_new_videos_fill_the_rest_of_every_batch_and_each_sample_is_read_once_an_epoch(collection):
    config = GROWING.override({"rehearsal": 0.25})
    earlier, now = videos(0.4, collection), videos(0.6, collection)
    added = now - earlier
    assert added
    read_batches = keys(collection, config, range(6, 20))
    new, old = ([key for b in read_batches for key in b if video_of(key) in which]
                for which in (added, earlier))  # fmt: skip
    assert [sum(video_of(key) in earlier for key in batch) for batch in read_batches] == [1] * 14
    assert len(new) == 14 * 3
    for samples, count in ((new, size(added)), (old, size(earlier))):
        whole = len(samples) // count
        assert whole >= 1
        for epoch in range(whole):
            assert len(set(samples[epoch * count : (epoch + 1) * count])) == count
    # In the next round those two are the earlier ones.
    later = Counter(
        video_of(key) in now for b in keys(collection, config, range(20, 30)) for key in b
    )
    assert later == {True: 10, False: 30}


@pytest.mark.parametrize(("rehearsal", "kept"), [(0.0, "new"), (1.0, "earlier")])
def test_rehearsal_may_be_nothing_or_everything(collection, rehearsal, kept):
    config = GROWING.override({"rehearsal": rehearsal})
    earlier = videos(0.4, collection)
    added = videos(0.6, collection) - earlier
    read_videos = {
        video_of(key) for batch in keys(collection, config, range(6, 20)) for key in batch
    }
    assert read_videos == (added if kept == "new" else earlier)


def test_before_anything_was_added_rehearsal_changes_nothing(collection):
    rehearsing = GROWING.override({"rehearsal": 0.5})
    assert keys(collection, rehearsing, range(6)) == keys(collection, GROWING, range(6))


@pytest.mark.parametrize("changes", [{}, {"rehearsal": 0.5}, {"tail": "drop"}])
def test_workers_share_each_batch_and_go_on_where_they_stopped(collection, changes):
    config = GROWING.override(changes)
    whole = read(collection, config, range(30))
    parts = [keys(collection, config, range(30), rank=rank, world_size=2) for rank in range(2)]
    assert [one + other for one, other in zip(*parts, strict=True)] == [b.keys for b in whole]
    for step in (5, 6, 7, 20, 25):
        resumed = read(collection, config, range(step, 30))
        assert all(
            one.keys == other.keys and torch.equal(one.image, other.image)
            for one, other in zip(resumed, whole[step:], strict=True)
        )


def test_each_worker_rehearses(collection):
    config = GROWING.override({"rehearsal": 0.5})
    earlier = videos(0.4, collection)
    for rank in range(2):
        for batch in keys(collection, config, range(6, 20), rank=rank, world_size=2):
            assert [video_of(key) in earlier for key in batch] in ([True, False], [False, True])


def test_samples_of_two_kinds_are_dealt_out_evenly():
    earlier, added = ([Sample(kind, n) for n in range(count)] for kind, count in ((0, 2), (1, 6)))
    dealt = spread([tuple(earlier), tuple(added)])
    assert sorted(dealt) == [*earlier, *added]
    assert [sum(sample.epoch == 0 for sample in half) for half in (dealt[:4], dealt[4:])] == [1, 1]


def test_a_share_that_adds_no_video_goes_on_with_the_order_before(collection):
    starts = (0, 6, 13)
    still = CONFIG.override({"growth": [0.31, 0.4, 0.4]})  # each is two of five videos
    constant = CONFIG.override({"fraction": 0.4})
    assert keys(collection, still, range(25), starts=starts) == keys(
        collection, constant, range(25), starts=(0,)
    )


def test_what_is_all_there_at_once_is_read_as_without_growth(collection):
    at_once = CONFIG.override({"growth": [1, 1, 1], "rehearsal": 0.5})
    both = (
        read(collection, at_once, range(12)),
        read(collection, CONFIG, range(12), starts=(0,)),
    )
    for one, other in zip(*both, strict=True):
        assert one.keys == other.keys
        assert torch.equal(one.image, other.image)


def test_rehearsed_samples_are_shown_as_they_were_not_before(collection):
    """A segment counts epochs anew, and draws anew."""
    config = GROWING.override({"rehearsal": 1})
    first, again = (
        {key: batch.image[row] for batch in read(collection, config, range(start, start + 2))
         for row, key in enumerate(batch.keys)}
        for start in (0, 6)
    )  # fmt: skip
    common = first.keys() & again.keys()
    assert common
    assert all(not torch.equal(first[key], again[key]) for key in common)


def test_few_new_samples_fill_their_part_of_a_batch_whatever_the_tail(collection):
    config = GROWING.override({"batch_size": 8, "rehearsal": 0, "tail": "drop"})
    added = videos(0.6, collection) - videos(0.4, collection)
    assert size(added) < 8
    (batch,) = keys(collection, config, range(6, 7))
    assert len(batch) == 8
    assert len(set(batch)) == size(added)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"growth": [0.5, 0.3]}, r"data: growth \[0.5, 0.3\] must not shrink"),
        ({"growth": [0, 1]}, r"data\.growth"),
        ({"growth": [0.5, 1.1]}, r"data\.growth"),
        ({"growth": [0.5, 1, 1, 1], "fraction": 0.5}, r"data: fraction 0.5 .* set data.fraction=1"),
        ({"rehearsal": 1.5}, r"data\.rehearsal"),
        (
            {"rehearsal": 0.1, "batch_size": 4},
            r"data: rehearsal 0.1 of batch_size 4 is rounded to 0 samples, .* none of the earlier",
        ),
        (
            {"rehearsal": 0.9, "batch_size": 4},
            r"data: rehearsal 0.9 of batch_size 4 is rounded to 4 samples, .* none of the new",
        ),
        ({"growth": [0.5, 1]}, r"data.growth has 2 shares, .* of which there are 4, 0 to 3$"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(changes, message):
    recipe = read_recipe("dystab_bootstrap_cpu")
    with pytest.raises(UsageError, match=message) as error:
        recipe.override({f"data.{name}": value for name, value in changes.items()})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("changes", [{}, {"start.segmenter": "run"}])
def test_where_no_videos_are_to_come_there_are_no_earlier_ones_to_rehearse(changes):
    recipe = read_recipe("dystab_bootstrap_cpu")
    with pytest.raises(
        UsageError, match=r"data.rehearsal=0.5 draws .* set data.growth or data.fol"
    ):
        recipe.override({"data.rehearsal": 0.5, **changes})
    for coming in ({"data.follow": True}, {"data.growth": [0.25, 0.5, 0.75, 1]}):
        assert recipe.override({"data.rehearsal": 0.5, **coming, **changes}).data.rehearsed


def test_a_method_without_rounds_takes_no_growth():
    with pytest.raises(UsageError, match=r"data.growth has 2 shares, .* there are none$"):
        read_recipe("dystab_dynamic_cpu").override({"data.growth": [0.5, 1]})


def test_a_first_share_that_does_not_fill_a_batch_is_refused_by_its_setting(collection):
    with pytest.raises(UsageError, match=r"data.growth=0.01 leave 1 of the collection's 5 videos"):
        segments(
            collection,
            CONFIG.override({"growth": [0.01, 1], "batch_size": 9}),
            seed=5,
            starts=(0, 6),
        )
