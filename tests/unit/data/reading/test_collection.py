"""Random access to a collection, and what is said when it is damaged."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from selfseg.data.format import schema
from selfseg.data.format.damage import DamagedShard
from selfseg.data.reading import opening as module
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.pairs import PairAddress, read_pair
from selfseg.errors import UserError
from tests.exact_collection import video_id, write_collection
from tests.synthetic import moving_disc

SCENES = {"swan": moving_disc(7), "car": moving_disc(4, seed=5, pan=(1, 0))}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("collection"))
    write_collection(folder, SCENES)
    return folder


@pytest.fixture
def own_url(tmp_path):
    write_collection(str(tmp_path), SCENES)
    return str(tmp_path)


def shards_of(url: str, suffix: str) -> list[Path]:
    return sorted((Path(url) / "shards").glob(f"*.{suffix}"))


def open_files() -> list[str]:
    """Paths of this process's open files."""
    links = list(Path("/proc/self/fd").iterdir())
    return [str(link.readlink()) for link in links if link.is_symlink()]


def test_every_sample_is_found_by_ordinal_and_by_key(url):
    collection = Collection.open(url)
    assert len(collection) == 7 + 4
    keys = {collection.key(ordinal) for ordinal in range(len(collection))}
    assert keys == {
        schema.sample_key(video_id(name), frame)
        for name, scene in SCENES.items()
        for frame in range(len(scene.frames))
    }
    assert all(collection.key(collection.ordinal(key)) == key for key in keys)


def test_a_record_holds_what_was_written(url):
    collection = Collection.open(url)
    for ordinal in range(len(collection)):
        record, scene = collection.record(ordinal), None
        meta = record.meta()
        scene = SCENES[meta.video]
        assert record.key == schema.sample_key(video_id(meta.video), meta.frame)
        image = schema.decode_image(record.read(schema.IMAGE)).astype(int)
        assert abs(image - scene.frames[meta.frame]).mean() < 3  # JPEG
        if meta.frame + 2 < len(scene.frames):
            flow = schema.decode_flow(record.read(schema.backward_part(2)))
            np.testing.assert_array_equal(
                flow, scene.flow(meta.frame + 2, meta.frame)[::2, ::2] / 2
            )


def test_videos_list_their_frames_in_order(url):
    collection = Collection.open(url)
    assert {name: len(ordinals) for name, ordinals in collection.videos.items()} == {
        "swan": 7,
        "car": 4,
    }
    frames = [collection.record(o).meta().frame for o in collection.videos["swan"]]
    assert frames == list(range(7))


def test_holds_tells_which_samples_have_a_part(url):
    collection = Collection.open(url)
    # A gap of 2 leads past the end from the last two frames of each of the two videos.
    assert collection.holds(schema.forward_part(2)).sum() == len(collection) - 2 * 2
    assert not collection.holds(schema.MASK).any()


def test_counts_are_the_shards_lengths_in_order_of_ordinals(url):
    collection = Collection.open(url)
    assert collection.counts == tuple(s.samples for s in collection.manifest.shards)
    assert sum(collection.counts) == len(collection)


def test_an_older_state_can_still_be_opened(own_url):
    first = Collection.open(own_url)
    write_collection(own_url, {"cow": moving_disc(3, seed=9)})
    assert set(Collection.open(own_url).videos) == {"cow"}
    assert Collection.open(own_url, first.manifest_id).videos == first.videos


def test_a_collection_can_be_handed_to_another_process(url):
    collection = Collection.open(url)
    copy = pickle.loads(pickle.dumps(collection))
    assert copy.record(3).read(schema.META) == collection.record(3).read(schema.META)


def test_no_collection_is_named_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=f"{tmp_path}: no collection.*shard_videos"):
        Collection.open(str(tmp_path))


def test_an_unknown_key_is_named(url):
    with pytest.raises(UserError, match="no sample cow_00000000"):
        Collection.open(url).ordinal("cow_00000000")


def test_an_absent_part_is_named(url):
    record = Collection.open(url).record(0)
    with pytest.raises(UserError, match=f"{record.key}: .* no mask.png"):
        record.read(schema.MASK)


def test_a_flipped_bit_is_noticed_and_located(own_url):
    collection = Collection.open(own_url)
    record = collection.record(0)
    shard = Path(own_url) / "shards" / f"{collection.manifest.shards[0].name}.tar"
    content = bytearray(shard.read_bytes())
    content[record.parts[schema.IMAGE].offset + 20] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match=rf"{shard}: damaged at {record.key}\.image\.jpg: .*again$"):
        record.read(schema.IMAGE)
    record.read(schema.META)  # the other parts are as good as before


def test_a_shard_cut_short_is_noticed(own_url):
    collection = Collection.open(own_url)
    for shard in shards_of(own_url, "tar"):
        shard.write_bytes(shard.read_bytes()[:600])
    with pytest.raises(UserError, match="cut off"):
        collection.record(0).read(schema.META)


def test_a_missing_shard_is_named(own_url):
    collection = Collection.open(own_url)
    for shard in shards_of(own_url, "tar"):
        shard.unlink()
    with pytest.raises(UserError, match=r"\.tar: no such file"):
        collection.record(0).read(schema.META)


def test_a_background_is_that_of_the_samples_own_video(tmp_path):
    write_collection(str(tmp_path), SCENES, with_backgrounds=True)
    collection = Collection.open(str(tmp_path))
    for name, ordinals in collection.videos.items():
        expected = np.median(SCENES[name].frames, axis=0).astype(np.uint8)
        for ordinal in ordinals:
            found = schema.decode_image(collection.background(ordinal))
            np.testing.assert_array_equal(found, expected)


def test_a_changed_background_is_refused(tmp_path):
    write_collection(str(tmp_path), SCENES, with_backgrounds=True)
    for path in (tmp_path / "backgrounds").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"backgrounds/.*\.png: damaged: .*verify --repair"):
        Collection.open(str(tmp_path)).background(0)


def test_a_changed_index_is_refused(own_url):
    index = shards_of(own_url, "idx")[0]
    index.write_bytes(index.read_bytes().replace(b"image.jpg", b"image.jpf", 1))
    with pytest.raises(UserError, match=f"{index}: damaged"):
        Collection.open(own_url)


def test_who_does_not_verify_does_not_notice(own_url):
    opened = Collection.open(own_url)
    shard = Path(own_url) / "shards" / f"{opened.manifest.shards[0].name}.tar"
    content = bytearray(shard.read_bytes())
    span = opened.record(0).parts[schema.IMAGE]
    content[span.offset + 20] ^= 1
    shard.write_bytes(content)
    found = Collection.open(own_url, verify=False).record(0).read(schema.IMAGE)
    assert found == bytes(content[span.offset : span.offset + span.size])


@pytest.mark.parametrize("part", [schema.IMAGE, schema.forward_part(1), schema.META])
def test_what_cannot_be_decoded_is_named_though_nobody_verifies(own_url, part):
    collection = Collection.open(own_url, verify=False)
    ordinal = int(collection.holds(part).argmax())
    key, span = collection.key(ordinal), collection.record(ordinal).parts[part]
    (path,) = (
        path for path in shards_of(own_url, "tar") if f"{key}.{part}".encode() in path.read_bytes()
    )
    content = bytearray(path.read_bytes())
    content[span.offset : span.offset + 8] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(DamagedShard) as caught:
        read_pair(collection, PairAddress(ordinal, 1, reverse=False), "quadratic")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: damaged at {key}.{part}: ")
    assert caught.value.shard.name == path.stem


def test_no_more_shards_stay_open_than_a_process_may_have(own_url, monkeypatch):
    monkeypatch.setattr(module, "OPEN_SHARDS", 2)
    collection = Collection.open(own_url)
    assert len(collection.counts) > 2
    for ordinal in range(len(collection)):
        collection.record(ordinal).read(schema.META)
    assert len([path for path in open_files() if path.startswith(own_url)]) == 2


def test_a_shard_that_is_removed_while_it_is_read_can_be_read_on(own_url):
    collection = Collection.open(own_url)
    before = collection.record(0).read(schema.IMAGE)
    for shard in shards_of(own_url, "tar"):
        shard.unlink()
    assert collection.record(0).read(schema.IMAGE) == before
