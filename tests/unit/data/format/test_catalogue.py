import json

import numpy as np
import pytest

from selfseg.data.format.catalogue import (
    Catalogue,
    Packed,
    Stretch,
    dump_catalogue,
    parse_catalogue,
    parse_rows,
    stretches,
)
from selfseg.data.format.index import IndexEntry, Span

MOVING = ("forward_1.png", "image.jpg")
LAST = ("image.jpg",)
FIRST_SHARD = [Stretch("bear-1", 0, 2, MOVING), Stretch("swan_2", 8, 1, LAST)]
SECOND_SHARD = [Stretch("bear-1", 2, 2, MOVING), Stretch("bear-1", 4, 1, LAST)]
CATALOGUE = Catalogue([FIRST_SHARD, SECOND_SHARD])
KEYS = [
    "bear-1_00000000",
    "bear-1_00000001",
    "swan_2_00000008",
    "bear-1_00000002",
    "bear-1_00000003",
    "bear-1_00000004",
]


def entry(key, *parts):
    return IndexEntry(key, {part: Span(512, 1, 0) for part in parts})


def test_neighbouring_frames_with_the_same_parts_stand_together():
    entries = [
        entry("bear-1_00000003", "image.jpg", "forward_1.png"),
        entry("bear-1_00000004", "forward_1.png", "image.jpg"),
        entry("bear-1_00000005", "image.jpg"),
        entry("bear-1_00000007", "image.jpg"),
        entry("bear-2_00000008", "image.jpg"),
    ]
    assert stretches(entries) == [
        Stretch("bear-1", 3, 2, MOVING),
        Stretch("bear-1", 5, 1, LAST),
        Stretch("bear-1", 7, 1, LAST),
        Stretch("bear-2", 8, 1, LAST),
    ]


def test_a_catalogue_says_what_was_written_and_the_order_of_shards_does_not_matter():
    shards = {"b": SECOND_SHARD, "a": FIRST_SHARD}
    data = b"".join(dump_catalogue(shards))
    assert parse_catalogue(data) == shards
    assert b"".join(dump_catalogue(dict(reversed(shards.items())))) == data


def test_what_was_packed_comes_out_and_makes_the_same_catalogue():
    shards = {"b": SECOND_SHARD, "a": FIRST_SHARD, "c": []}
    packed = {name: Packed.of(held) for name, held in shards.items()}
    assert {name: list(held) for name, held in packed.items()} == shards
    assert list(dump_catalogue(packed)) == list(dump_catalogue(shards))


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"{}",
        b"no json",
        json.dumps({"parts": [], "shards": {"a": [["v", 0, 1, 0]]}}).encode(),
        json.dumps({"parts": [["image.jpg"]], "shards": {"a": [["v", 0, 1, 0, 0]]}}).encode(),
    ],
)
def test_what_is_no_catalogue_is_refused(data):
    with pytest.raises(ValueError, match="not a catalogue"):
        parse_catalogue(data)


def test_samples_are_counted_shard_by_shard():
    assert [CATALOGUE.key(ordinal) for ordinal in range(len(CATALOGUE))] == KEYS


def test_every_sample_is_found_by_its_video_and_frame():
    found = [CATALOGUE.find(*CATALOGUE.sample(ordinal)) for ordinal in range(len(CATALOGUE))]
    assert found == list(range(len(KEYS)))


@pytest.mark.parametrize(
    ("video", "frame"), [("bear-1", 5), ("bear-1", -1), ("swan_2", 0), ("swan_2", 9), ("cow-3", 0)]
)
def test_a_frame_that_is_not_there_is_not_found(video, frame):
    assert CATALOGUE.find(video, frame) is None


def test_a_frame_after_a_gap_is_found():
    holed = Catalogue([[Stretch("bear-1", 7, 2, LAST), Stretch("bear-1", 0, 3, LAST)]])
    assert [holed.find("bear-1", frame) for frame in range(9)] == [2, 3, 4, *[None] * 4, 0, 1]


def test_parts_videos_and_frames_are_known_of_every_sample():
    moving = [True, True, False, True, True, False]
    np.testing.assert_array_equal(CATALOGUE.holds("forward_1.png"), moving)
    assert not CATALOGUE.holds("mask.png").any()
    of_swan = [False, False, True, False, False, False]
    np.testing.assert_array_equal(CATALOGUE.of_videos({"swan_2", "cow-3"}), of_swan)
    np.testing.assert_array_equal(CATALOGUE.frames_of("bear-1"), [0, 1, 3, 4, 5])
    assert len(CATALOGUE.frames_of("cow-3")) == 0


def test_rows_make_the_same_catalogue_as_stretches():
    rows = parse_rows(b"".join(dump_catalogue({"a": FIRST_SHARD, "b": SECOND_SHARD})))
    catalogue = Catalogue([rows["a"], rows["b"]])
    assert [catalogue.key(ordinal) for ordinal in range(len(catalogue))] == KEYS
    np.testing.assert_array_equal(
        catalogue.holds("forward_1.png"), CATALOGUE.holds("forward_1.png")
    )


@pytest.mark.parametrize(
    ("other", "key"),
    [
        (Stretch("bear-1", 4, 9, MOVING), "bear-1_00000004"),
        (Stretch("swan_2", 0, 9, LAST), "swan_2_00000008"),
        (Stretch("bear-1", 5, 9, MOVING), None),
        (Stretch("swan_2", 0, 8, LAST), None),
    ],
)
def test_a_sample_that_is_held_twice_is_named(other, key):
    assert Catalogue([FIRST_SHARD, [other], SECOND_SHARD]).repeated == key


def test_nothing_is_in_an_empty_catalogue():
    empty = Catalogue([])
    assert len(empty) == 0
    assert empty.repeated is None
    assert empty.find("bear-1", 0) is None
    assert len(empty.holds("image.jpg")) == 0
