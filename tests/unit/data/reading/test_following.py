"""Moving on to a collection's newer states: all workers together, and to none that does not fit."""

from itertools import count, islice

import pytest

from selfseg import storage
from selfseg.data.reading import following
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.course import segment_after, segments
from selfseg.data.reading.following import Follower
from selfseg.data.reading.loader import batches
from selfseg.errors import UsageError
from selfseg.experiment import read_recipe
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tests.unit.data import tiny

FEW = {"swan": moving_disc(5), "car": moving_disc(4, seed=5)}
MORE = {**FEW, "dog": moving_disc(6, seed=8)}
CONFIG = tiny.CONFIG.override({"follow": True, "rehearsal": 0.5})


@pytest.fixture
def collection(tmp_path) -> Collection:
    write_collection(str(tmp_path), FEW, gaps=(1,))
    return Collection.open(str(tmp_path))


def follower(collection: Collection, tell=lambda line: None, **options) -> Follower:
    options = {"looks": True, "agree": lambda text: text, **options}
    return Follower(collection.url, collection.manifest_id, tell=tell, **options)


def read(collection, follower, steps, config=CONFIG, rank=0, world_size=1):
    stream = batches(
        collection,
        config,
        seed=5,
        step=0,
        rank=rank,
        world_size=world_size,
        follower=follower,
    )
    return (batch.keys for batch in islice(stream, steps))


@pytest.mark.parametrize("tail", ["carry", "drop"])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 7])
def test_an_epoch_ends_before_the_first_batch_that_begins_in_the_next(collection, tail, batch_size):
    config = CONFIG.override({"batch_size": batch_size, "tail": tail, "rehearsal": None})
    (course,) = segments(collection, config, seed=5, starts=(0,))
    samples = 4 + 3  # a video's last frame has no next one
    length = samples - samples % batch_size if tail == "drop" else samples
    ends = {next(s for s in count() if s * batch_size >= epoch * length) for epoch in range(1, 6)}
    looked = [step for step in range(max(ends) + 1) if course.begins_epoch(step)]
    assert looked == sorted(ends)


def test_of_rehearsed_and_added_samples_the_larger_part_says_where_an_epoch_ends(collection):
    """Two samples of a batch are of seven earlier ones, two of the three that were added."""
    write_collection(collection.url, MORE, gaps=(1,))
    before = {video.id for video in collection.manifest.videos}
    grown = Collection.open(collection.url)
    added = segment_after(grown, CONFIG.override({"follow": True}), before, seed=5, start=10)
    earlier = added.parts[0].order.samples
    assert earlier > added.parts[1].order.samples
    ends = {10 + next(s for s in count() if s * 2 >= epoch * earlier) for epoch in (1, 2)}
    assert [step for step in range(max(ends) + 1) if added.begins_epoch(step)] == sorted(ends)


def test_workers_move_on_together_although_one_of_them_looks(collection):
    told: list[str] = []

    def agree(text: str) -> str:
        told.append(text)
        return text

    lines: list[str] = []
    whole = list(read(collection, follower(collection), 2))
    first = read(collection, follower(collection, lines.append, agree=agree), 8, world_size=2)
    second = read(
        collection,
        follower(collection, lines.append, looks=False, agree=lambda text: told[-1]),
        8,
        rank=1,
        world_size=2,
    )
    # The second worker hears of what is there when the first one looks, and no later.
    parts = [(next(first), next(second))]
    grown = write_collection(collection.url, MORE, gaps=(1,))
    parts += zip(first, second, strict=True)
    assert [one + other for one, other in parts[:2]] == whole
    # 7 samples in batches of 4: the second epoch begins in step 2.
    assert told == [grown.id, *[""] * (len(told) - 1)]
    new = [sum(key.startswith("dog") for key in one + other) for one, other in parts]
    assert new == [0, 0, *[2] * 6]
    assert len(lines) == 1


def test_videos_without_a_sample_to_read_are_not_moved_on_to_and_named_once(collection):
    lines: list[str] = []
    stay = list(read(collection, None, 8))
    grown = write_collection(collection.url, {**FEW, "one": moving_disc(1)}, gaps=(1,))
    assert list(read(collection, follower(collection, lines.append), 8)) == stay
    assert lines == [
        f"{collection.url}: the run does not go on with manifest {grown.id[:16]}: "
        f"{collection.url}: the videos that were added have no sample to read"
    ]
    # The next ones come with that one.
    newest = write_collection(collection.url, {**MORE, "one": moving_disc(1)}, gaps=(1,))
    moving = follower(collection, lines.append)
    list(read(collection, moving, 8))
    assert moving.moves[-1].manifest == newest.id


def test_a_place_out_of_reach_does_not_end_a_run(collection, monkeypatch):
    lines: list[str] = []
    write_collection(collection.url, MORE, gaps=(1,))
    answers = iter([storage.StorageError("nobody answers"), None])
    newest_id = following.newest_id

    def ask(url: str) -> str | None:
        if error := next(answers, None):
            raise error
        return newest_id(url)

    monkeypatch.setattr(following, "newest_id", ask)
    moving = follower(collection, lines.append)
    list(read(collection, moving, 6))
    # An epoch of 7 samples has ended before step 2, a second one before step 4.
    assert [move.step for move in moving.moves] == [0, 4]
    assert lines[0] == "step 2: no look at whether the collection has grown: nobody answers"


@pytest.mark.parametrize("changes", [{"growth": [0.25, 0.5, 0.75, 1]}, {"fraction": 0.5}])
def test_what_is_followed_is_all_of_a_collection(changes):
    recipe = read_recipe("dystab_bootstrap_cpu").override({"data.follow": True})
    with pytest.raises(UsageError, match=r"^setting: data: follow goes .* no growth and no frac"):
        recipe.override({f"data.{name}": value for name, value in changes.items()})
