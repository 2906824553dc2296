"""Batches as training sees them; several processes are in tests/distributed."""

from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selfseg.contracts import FramePairs
from selfseg.data.format.schema import split_key
from selfseg.data.reading.collection import Collection, Record
from selfseg.data.reading.loader import batches
from selfseg.data.reading.selection import DataConfig, readable, reading_order
from selfseg.errors import UsageError, UserError
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc

SCENES = {"swan": moving_disc(7), "car": moving_disc(4, seed=5), "one": moving_disc(1, seed=7)}
CONFIG = DataConfig(
    height=24, width=32, batch_size=4, gaps=(1, 2), lanes=2, block=3, loader_processes=0
)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("collection"))
    write_collection(folder, SCENES, gaps=(1, 2))
    return Collection.open(folder)


def read(
    collection, number, config=CONFIG, *, step=0, rank=0, world_size=1, moving=True
) -> list[FramePairs]:
    endless = batches(
        collection, config, seed=5, step=step, rank=rank, world_size=world_size, moving=moving
    )
    return list(islice(endless, number))


def seen(batch: FramePairs) -> dict[str, torch.Tensor]:
    return dict(zip(batch.keys, batch.image, strict=True))


def assert_equal(one: FramePairs, other: FramePairs) -> None:
    assert one.keys == other.keys
    for part in ("image", "flow", "flow_back", "camera", "camera_back"):
        assert torch.equal(getattr(one, part), getattr(other, part))


def test_frames_without_a_later_neighbour_are_no_samples_but_are_seen_in_reverse(collection):
    # 7 frames give 6 with a next frame, 4 give 3, and a single one gives none.
    assert len(readable(collection, CONFIG)) == 6 + 3
    assert reading_order(collection, CONFIG, readable(collection, CONFIG), seed=5).samples == 9
    seen = {split_key(key) for batch in read(collection, 40) for key in batch.keys}
    assert {frame for video, frame in seen if video.startswith("swan")} == set(range(7))
    assert {frame for video, frame in seen if video.startswith("car")} == set(range(4))
    assert not {frame for video, frame in seen if video.startswith("one")}


def test_without_reversal_every_sample_is_read_once_an_epoch(collection):
    forward = CONFIG.override({"augmentation.reverse": 0})
    keys = [key for batch in read(collection, 9, forward) for key in batch.keys]
    expected = sorted(collection.key(o) for o in readable(collection, CONFIG).tolist())
    for epoch in range(4):  # 9 batches of 4 are 4 epochs of 9
        assert sorted(keys[9 * epoch : 9 * epoch + 9]) == expected


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_workers_parts_make_up_the_global_batch(collection, world_size):
    whole = read(collection, 6)
    parts = [read(collection, 6, rank=r, world_size=world_size) for r in range(world_size)]
    for step, batch in enumerate(whole):
        joined = [parts[rank][step] for rank in range(world_size)]
        assert sum((part.keys for part in joined), ()) == batch.keys
        assert torch.equal(torch.cat([part.image for part in joined]), batch.image)
        assert torch.equal(torch.cat([part.flow for part in joined]), batch.flow)


def test_reading_goes_on_where_it_stopped(collection):
    straight = read(collection, 8)
    for earlier, later in zip(straight[5:], read(collection, 3, step=5), strict=True):
        assert_equal(earlier, later)


@settings(max_examples=5, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 4]), min_size=8, max_size=8))
def test_reading_stopped_at_every_step_goes_on_with_any_number_of_workers(collection, world_sizes):
    for step, whole in enumerate(read(collection, 8)):
        workers = world_sizes[step]
        parts = [
            read(collection, 1, step=step, rank=rank, world_size=workers)[0]
            for rank in range(workers)
        ]
        assert sum((part.keys for part in parts), ()) == whole.keys
        assert torch.equal(torch.cat([part.image for part in parts]), whole.image)
        assert torch.equal(torch.cat([part.flow for part in parts]), whole.flow)


def test_a_later_epoch_shows_the_samples_differently(collection):
    still_order = CONFIG.override({"augmentation.reverse": 0})
    first, second = (
        {key: batch.image[row] for batch in read(collection, 9, still_order, step=step)
         for row, key in enumerate(batch.keys)}
        for step in (0, 9)
    )  # fmt: skip
    assert all(not torch.equal(first[key], second[key]) for key in first)


def test_batches_lie_on_the_grid_of_the_settings(collection):
    (batch,) = read(collection, 1)
    assert batch.image.shape == (4, 3, 24, 32)
    assert batch.flow.shape == batch.camera_back.shape == (4, 2, 24, 32)
    assert 0 <= batch.image.min() < batch.image.max() <= 1


def test_a_collection_without_motion_is_refused_in_one_line(tmp_path):
    write_collection(str(tmp_path), SCENES, with_flow=False)
    with pytest.raises(UserError, match=f"^{tmp_path}: holds no motion.* without --flow none$"):
        read(Collection.open(str(tmp_path)), 1)


def test_a_gap_that_was_not_ingested_is_refused_by_name(collection):
    with pytest.raises(UsageError, match=r"data.gaps: .* no flow over 3 frames; .*\[1, 2\]"):
        read(collection, 1, CONFIG.override({"gaps": [1, 3]}))


def test_a_batch_that_cannot_be_shared_evenly_is_refused_before_reading(collection):
    with pytest.raises(UsageError, match=r"batch_size 4 .* 3 workers; set data.batch_size=3 or 6"):
        batches(collection, CONFIG, seed=5, step=0, rank=0, world_size=3)


def test_a_collection_smaller_than_a_batch_fills_it(tmp_path):
    write_collection(str(tmp_path), {"car": SCENES["car"]})
    (batch,) = read(Collection.open(str(tmp_path)), 1, CONFIG.override({"batch_size": 8}))
    assert len(batch.keys) == 8


def test_more_workers_than_shards_are_served(tmp_path):
    write_collection(str(tmp_path), SCENES, shares=[1])
    collection = Collection.open(str(tmp_path))
    whole = read(collection, 3)
    parts = [read(collection, 3, rank=rank, world_size=4) for rank in range(4)]
    assert [sum((p[s].keys for p in parts), ()) for s in range(3)] == [b.keys for b in whole]


def test_annotated_batches_show_each_frame_with_its_own_mask(tmp_path):
    write_collection(str(tmp_path), SCENES, with_masks=True)
    config = CONFIG.override({"augmentation.crop": [0.5, 1.0]})
    collection = Collection.open(str(tmp_path))
    batch = next(batches(collection, config, seed=5, step=0, rank=0, world_size=1, annotated=True))
    assert batch.truth is not None
    # Exact flow moves where the disc is and nowhere else, up to the pixels on its edge.
    moving = (batch.flow - batch.camera).norm(dim=1, keepdim=True) > 0.5
    annotated = batch.truth > 0.5
    shared = (moving & annotated).sum((1, 2, 3)) / (moving | annotated).sum((1, 2, 3))
    assert shared.min() > 0.7


def test_without_being_asked_no_batch_holds_a_mask(collection):
    assert all(batch.truth is None for batch in read(collection, 3))


def test_a_collection_without_masks_is_refused_by_who_learns_from_them(tmp_path):
    write_collection(str(tmp_path), {"swan": moving_disc(3)})
    with pytest.raises(UserError, match=r"holds no annotated masks.*--masks ROOT"):
        readable(Collection.open(str(tmp_path)), CONFIG, annotated=True)


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory):
    """Film two discs from a camera at rest, so fast that they are nowhere twice."""
    scenes = {
        "left": moving_disc(7, velocity=(9, 0), start=(4, 24), radius=9),
        "down": moving_disc(5, velocity=(0, 12), start=(32, 0), radius=9, seed=5),
    }
    folder = str(tmp_path_factory.mktemp("at_rest"))
    write_collection(folder, scenes, with_masks=True, with_backgrounds=True)
    return Collection.open(folder)


def test_a_background_is_seen_and_lit_as_its_image_is(at_rest):
    endless = batches(
        at_rest,
        CONFIG.override({"augmentation.crop": [0.5, 0.9]}),
        seed=5,
        step=0,
        rank=0,
        world_size=1,
        annotated=True,
        background=True,
    )
    for batch in islice(endless, 8):
        assert batch.truth is not None
        assert batch.background is not None
        assert 0 <= batch.background.min() < batch.background.max() <= 1
        outside = (batch.truth == 0).float()
        count = outside.sum((1, 2, 3))
        apart = (batch.image - batch.background).mean(1, keepdim=True) * outside
        mirrored = (batch.image - batch.background.flip(3)).mean(1, keepdim=True) * outside
        # JPEG is off by as much above as below; another light, or another view, is not.
        assert (apart.sum((1, 2, 3)) / count).abs().max() < 0.002
        assert (4 * apart.abs().sum((1, 2, 3)) < mirrored.abs().sum((1, 2, 3))).all()


def test_a_reversed_pair_has_the_background_of_its_video(at_rest):
    reverse = CONFIG.override({"augmentation.reverse": 1})
    endless = batches(at_rest, reverse, seed=5, step=0, rank=0, world_size=1, background=True)
    for batch in islice(endless, 8):
        assert batch.background is not None
        apart = (batch.image - batch.background).abs().mean((1, 2, 3))
        assert apart.max() < 0.08


def test_without_being_asked_no_batch_holds_a_background(at_rest):
    assert all(batch.background is None for batch in read(at_rest, 2))


def test_a_collection_without_backgrounds_is_refused_at_once_by_who_wants_them(collection):
    with pytest.raises(UserError, match=r"holds no backgrounds.*with --background median$"):
        batches(collection, CONFIG, seed=5, step=0, rank=0, world_size=1, background=True)


@pytest.fixture(scope="module")
def stills(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("stills"))
    write_collection(folder, SCENES, with_flow=False)
    return Collection.open(folder)


def test_where_nothing_has_to_move_every_frame_is_read_once_an_epoch(stills):
    keys = [key for batch in read(stills, 6, moving=False) for key in batch.keys]
    every = sorted(stills.key(ordinal) for ordinal in range(len(stills)))
    assert len(every) == 7 + 4 + 1
    for epoch in range(2):  # 6 batches of 4 are 2 epochs of 12
        assert sorted(keys[12 * epoch : 12 * epoch + 12]) == every


def test_where_nothing_has_to_move_nothing_does(stills):
    for batch in read(stills, 3, moving=False):
        for part in (batch.flow, batch.flow_back, batch.camera, batch.camera_back):
            assert torch.equal(part, torch.zeros(4, 2, 24, 32))


def test_an_image_is_varied_alike_with_its_motion_and_without(collection):
    forward = CONFIG.override({"augmentation.reverse": 0})
    moving = {
        key: image for batch in read(collection, 2, forward) for key, image in seen(batch).items()
    }
    alone = {
        key: image
        for batch in read(collection, 3, forward, moving=False)
        for key, image in seen(batch).items()
    }
    assert len(moving) == 8
    for key, image in moving.items():
        assert torch.equal(image, alone[key])


def test_motion_that_nobody_looks_at_is_not_even_read(collection, monkeypatch):
    parts = []
    read_part = Record.read

    def noting(self, part):
        parts.append(part)
        return read_part(self, part)

    monkeypatch.setattr(Record, "read", noting)
    # A gap that was not ingested does not matter either.
    opened = Collection.open(collection.url)
    read(opened, 3, CONFIG.override({"gaps": [9]}), moving=False)
    assert parts == ["image.jpg"] * 12


def test_without_motion_too_reading_goes_on_and_is_shared(stills):
    straight = read(stills, 6, moving=False)
    for earlier, later in zip(straight[4:], read(stills, 2, step=4, moving=False), strict=True):
        assert_equal(earlier, later)
    parts = [read(stills, 6, rank=rank, world_size=2, moving=False) for rank in range(2)]
    for step, batch in enumerate(straight):
        assert parts[0][step].keys + parts[1][step].keys == batch.keys


def test_annotated_stills_come_with_their_masks(tmp_path):
    write_collection(str(tmp_path), SCENES, with_flow=False, with_masks=True)
    opened = Collection.open(str(tmp_path))
    endless = batches(
        opened, CONFIG, seed=5, step=0, rank=0, world_size=1, annotated=True, moving=False
    )
    truth = next(endless).truth
    assert truth is not None
    assert truth.shape == (4, 1, 24, 32)
    assert 0 < truth.mean() < 1
