"""What `tools/collection.py verify` finds."""

import gc
import hashlib
import tarfile
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.data.care.verifying import Finding, read_states, verify
from selfseg.data.format import schema
from selfseg.data.format.holdings import leftovers
from selfseg.data.format.index import Span, dump_index, parse_index
from selfseg.data.format.manifest import LATEST, ShardEntry, load_manifest, newest_id
from selfseg.data.ingest.writing import publish_catalogue
from selfseg.data.reading.collection import Collection
from tests.catalogued import listed, publish
from tests.exact_collection import video_id, write_collection
from tests.synthetic import moving_disc
from tests.unit.data.looked_after import SCENES, commit, first_shard, flip, found, the_only


def test_nothing_is_wrong_with_what_was_just_written(url):
    assert found(url) == []
    assert leftovers(url) == []


def test_the_bytes_read_are_reported_up_to_the_last(url):
    states, _ = read_states(url, newest_id(url) or "", None)
    seen: list[int] = []
    assert list(verify(url, states, mend=None, report=seen.append)) == []
    assert seen == sorted(seen)
    assert seen[-1] == load_manifest(url).size


@pytest.mark.parametrize("part", [schema.IMAGE, schema.META])
def test_a_bit_flipped_in_a_part_is_named_by_shard_key_and_part(url, part):
    record = Collection.open(url).record(0)
    name, path = first_shard(url)
    flip(path, record.parts[part].offset + 3)
    finding = the_only(found(url))
    assert finding.name == name
    assert finding.cause == f"damaged: {record.key}.{part}: its checksum differs"


# Of the name, of the size, and of the magic that says "ustar".
@pytest.mark.parametrize("byte", [5, 130, 257])
def test_a_bit_flipped_in_a_header_is_named_by_the_part_it_would_lose(url, byte):
    record = Collection.open(url).record(1)
    name, path = first_shard(url)
    flip(path, record.parts[schema.IMAGE].offset - tarfile.BLOCKSIZE + byte)
    finding = the_only(found(url))
    assert finding.name == name
    assert finding.cause == f"damaged: {record.key}.image.jpg: its tar header is damaged"


def test_a_part_under_another_name_is_no_better_than_one_without(url):
    """A whole header, with the right checksum of its own, that a reader would believe."""
    record = Collection.open(url).record(1)
    span = record.parts[schema.IMAGE]
    name, path = first_shard(url)
    header = tarfile.TarInfo(f"{record.key}.picture.jpg")
    header.size = span.size
    data = bytearray(path.read_bytes())
    data[span.offset - tarfile.BLOCKSIZE : span.offset] = header.tobuf(tarfile.USTAR_FORMAT)
    path.write_bytes(data)
    expected = f"damaged: {record.key}.image.jpg: its tar header is damaged"
    assert the_only(found(url)) == Finding(name, expected)


def test_a_bit_flipped_in_the_padding_hits_no_sample(url):
    name, path = first_shard(url)
    flip(path, path.stat().st_size - 1)
    expected = "damaged: between the samples, which are all intact"
    assert the_only(found(url)) == Finding(name, expected)


def test_a_tar_cut_at_a_members_end_names_the_first_lost_part_and_counts_the_others(url):
    collection = Collection.open(url)
    name, path = first_shard(url)
    size = path.stat().st_size
    last = collection.record(collection.counts[0] - 1)
    parts = sorted(last.parts, key=lambda part: last.parts[part].offset)
    begin = last.parts[parts[0]].offset - tarfile.BLOCKSIZE
    path.write_bytes(path.read_bytes()[:begin])
    total = sum(len(collection.record(ordinal).parts) for ordinal in range(collection.counts[0]))
    assert the_only(found(url)) == Finding(
        name,
        f"cut off after {begin} of {size} bytes: {last.key}.{parts[0]}: it is lost, "
        f"and {len(parts) - 1} more of its {total} parts",
    )


@pytest.mark.parametrize("suffix", ["tar", "idx"])
def test_a_missing_file_is_named_and_nothing_that_follows_from_it(url, suffix):
    name, path = first_shard(url)
    path.with_suffix(f".{suffix}").unlink()
    assert the_only(found(url)) == Finding(name.replace("tar", suffix), "missing")


def test_where_the_index_is_damaged_too_nobody_can_say_which_samples_are_hit(url):
    name, path = first_shard(url)
    flip(path, 700)
    flip(path.with_suffix(".idx"), 9)
    assert found(url) == [
        Finding(name, "damaged; which samples are hit only its index could tell"),
        Finding(name.replace("tar", "idx"), "damaged: its sha256 differs"),
    ]


def test_a_changed_background_is_named(url):
    path = sorted((Path(url) / "backgrounds").iterdir())[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert the_only(found(url)) == Finding(
        f"backgrounds/{path.name}", "damaged: its sha256 differs"
    )


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_looked_at(url):
    """A folder in its place stands for what a disk refuses to give."""
    name, path = first_shard(url)
    path.unlink()
    path.mkdir()
    (Path(url) / "backgrounds" / f"{load_manifest(url).videos[0].background}.png").unlink()
    tar, background = found(url)
    assert (tar.name, background.cause) == (name, "missing")
    assert "is a folder, not a file" in tar.cause


def test_a_catalogue_that_does_not_fit_the_indexes_is_named(url):
    (entry, held), *others = listed(url, load_manifest(url).shards)
    wrong = publish_catalogue(url, [(entry, held[1:]), *others])
    commit(url, catalogues=[wrong])
    finding = the_only(found(url, repair=True))
    assert finding.name == f"catalogues/{wrong}.json"
    assert finding.cause.startswith(
        f"tells of shards/{entry.name}.tar other samples than its index"
    )
    assert finding.mended is None


def test_a_shard_that_only_an_earlier_state_names_is_checked_as_well(url):
    name, path = first_shard(url)
    write_collection(url, {"cow": moving_disc(3, seed=9)}, with_backgrounds=True)
    assert found(url) == []
    path.unlink()
    assert the_only(found(url)) == Finding(name, "missing")


def test_what_many_states_name_is_held_once(url):
    for size in range(2, 20):
        commit(url, shard_bytes=size)
    gc.collect()
    before = sum(type(one) is ShardEntry for one in gc.get_objects())
    states, findings = read_states(url, newest_id(url) or "", None)
    gc.collect()
    held = sum(type(one) is ShardEntry for one in gc.get_objects()) - before
    assert held == len(states.shards) == len(load_manifest(url).shards)
    assert findings == []


def test_a_lost_link_of_the_chain_is_named(url):
    first = load_manifest(url).id
    write_collection(url, {"cow": moving_disc(3, seed=9)})
    (Path(url) / f"manifest-{first}.json").unlink()
    assert the_only(found(url)) == Finding(f"manifest-{first}.json", "missing")


def test_a_pointer_to_nothing_is_named(url):
    (Path(url) / LATEST).write_text("\n")
    assert the_only(found(url)) == Finding(LATEST, "names no manifest, but ''")


def test_an_index_of_another_tar_is_noticed_though_the_manifest_vouches_for_it(url, spare):
    name, path = first_shard(url)
    entries = parse_index(path.with_suffix(".idx").read_bytes())
    span = entries[1].parts[schema.IMAGE]
    entries[1].parts[schema.IMAGE] = Span(span.offset, span.size - 1, span.crc32)
    data = dump_index(entries)
    path.with_suffix(".idx").write_bytes(data)
    shards = load_manifest(url).model_dump()["shards"]
    shards[0]["index_sha256"] = hashlib.sha256(data).hexdigest()
    # Published without a parent, which would still expect the index as it was.
    publish(url, load_manifest(url).override({"shards": shards}))
    for repair in (False, True):
        finding = the_only(found(url, repair=repair, spare=spare))
        assert finding.name == name.replace("tar", "idx")
        assert finding.cause.startswith(f"says of {entries[1].key} what its tar does not hold; ")
        assert finding.mended is None


def test_a_sample_that_is_in_two_shards_is_named_with_both(url):
    before = load_manifest(url)
    write_collection(url, SCENES, shares=(1.0,), with_backgrounds=True)
    (whole,) = load_manifest(url).shards
    shards = sorted((*before.shards, whole), key=lambda shard: shard.name)
    commit(url, shards=[shard.model_dump() for shard in shards])
    findings = found(url)
    assert len(findings) == 7 + 4
    keys = {
        schema.sample_key(video_id(name), frame)
        for name, scene in SCENES.items()
        for frame in range(len(scene.frames))
    }
    assert {finding.cause.partition(":")[0] for finding in findings} == keys
    for finding in findings:
        other = finding.cause.partition("is in ")[2].removesuffix(" already")
        # One of the two is the shard that holds all.
        assert (finding.name == f"shards/{whole.name}.tar") != (other == f"shards/{whole.name}.tar")


def test_frames_that_no_shard_holds_are_named_and_counted(url):
    collection = Collection.open(url)
    gone = [schema.split_key(collection.key(ordinal)) for ordinal in range(collection.counts[0])]
    commit(url, shards=[shard.model_dump() for shard in collection.manifest.shards[1:]])
    expected = []
    for name in sorted(SCENES):
        frames = [frame for video, frame in gone if video == video_id(name)]
        if frames:
            more = f", and {len(frames) - 1} more of its frames" if len(frames) > 1 else ""
            cause = f"{video_id(name)}: no shard holds frame {min(frames)}{more}"
            expected.append(Finding("", cause))
    assert expected
    assert found(url) == expected


def test_files_that_no_state_names_are_left_over(url):
    write_collection(url, {"cow": moving_disc(3, seed=9)})
    for name in ("shards/0000000000000000.tar", "notes.txt"):
        storage.write(storage.join(url, name), b"")
    assert leftovers(url) == ["notes.txt", "shards/0000000000000000.tar"]
