"""Spooled samples become shards that are reproducible, mixed, verified and plain WebDataset."""

import gc
import hashlib
import io
import json
import pickle
import random
import tarfile
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from webdataset.compat import WebDataset

from selfseg import storage
from selfseg.data.format import schema
from selfseg.data.format.catalogue import Packed, Stretch
from selfseg.data.format.holdings import refuse_strangers
from selfseg.data.format.index import Span, parse_index
from selfseg.data.format.manifest import (
    Manifest,
    ShardEntry,
    VideoEntry,
    background_url,
    catalogue_url,
    index_url,
    load_manifest,
    manifest_url,
    newest_id,
    shard_url,
)
from selfseg.data.format.schema import sample_key, split_key
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest import writing
from selfseg.data.ingest.samples import Sample
from selfseg.data.ingest.spooling import RUN_SAMPLES, Ledger, Run, Spooled, write_runs
from selfseg.data.ingest.writing import Piece, commit, deal, publish_catalogue, publish_shard, sweep
from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError, UserError
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc

VIDEO = VideoEntry(id="a-0", name="a", frames=1, sha256="", masks_sha256=None)
VIDEOS = {"a-00000000": 20, "b-11111111": 13, "c-22222222": 1, "d-33333333": 30}


def sample(video: str, frame: int) -> Sample:
    seed = hashlib.sha256(f"{video}{frame}".encode()).digest()
    parts = {"meta.json": b"{}", "image.jpg": seed * 40, "forward_1.png": seed[:frame]}
    return Sample(f"{video}_{frame:08d}", parts)


def spool(folder: Path) -> list[Spooled]:
    folder.mkdir(parents=True)
    spooled = []
    for video, frames in VIDEOS.items():
        path = folder / f"{video}.tar"
        runs = tuple(write_runs((sample(video, frame) for frame in range(frames)), path))
        entry = VideoEntry(id=video, name=video[0], frames=frames, sha256="", masks_sha256=None)
        spooled.append(Spooled.of(str(path), Ledger(video=entry, runs=runs)))
    return spooled


def made_up(video: str, stretches: int, runs: int, seed: int = 0) -> Iterator[tuple[str, Ledger]]:
    """Yield ledgers of a video's stretches, of so many runs each, and where nothing is spooled."""
    draw = random.Random(f"{video} {seed}")
    frames = RUN_SAMPLES * runs * stretches
    entry = VideoEntry(id=video, name=video, frames=frames, sha256="f" * 64, masks_sha256=None)
    for start in range(0, frames, RUN_SAMPLES * runs):
        sizes = [512 * draw.randint(1, 2000) for _ in range(runs)]
        found = tuple(
            Run(
                key=sample_key(video, start + RUN_SAMPLES * number),
                samples=RUN_SAMPLES,
                offset=sum(sizes[:number]),
                size=size,
                crc32=draw.getrandbits(32),
            )
            for number, size in enumerate(sizes)
        )
        yield f"s3://films/c/spool/{draw.getrandbits(64):016x}.tar", Ledger(video=entry, runs=found)


def shards(folder: Path, shard_bytes: int = 40_000) -> list[ShardEntry]:
    hands = deal(spool(folder / "spool"), shard_bytes)
    return [publish_shard(str(folder), hand)[0] for hand in hands]


def manifest(entries: list[ShardEntry], *catalogues: str) -> Manifest:
    return Manifest(
        settings=IngestSettings(),
        shard_bytes=1,
        videos=(),
        skipped=(),
        shards=tuple(entries),
        catalogues=catalogues,
    )


def test_equal_samples_give_equal_shards_wherever_written(tmp_path):
    first = shards(tmp_path / "one")
    # In another place, and with the videos spooled in another order.
    hands = deal(reversed(spool(tmp_path / "two" / "spool")), 40_000)
    assert [publish_shard(str(tmp_path / "two"), hand)[0] for hand in hands] == first
    assert len(first) > 1


@pytest.mark.parametrize("seed", range(10))
def test_runs_are_dealt_like_cards_in_the_order_of_their_hashes(seed):
    draw = random.Random(seed)
    names = draw.sample(["a", "a_1", "a_00000008", "a-b", "ab", "Z", "0", "swan_", "\u00fc"], 6)
    ledgers = [
        ledger
        for name in names
        for ledger in made_up(name, draw.randint(1, 4), draw.randint(1, 40), seed)
    ]
    draw.shuffle(ledgers)
    pieces = [Piece(url, run) for url, ledger in ledgers for run in ledger.runs]

    def place(piece: Piece) -> tuple[str, ...]:
        key = piece.run.key
        return tuple(hashlib.sha256(n.encode()).hexdigest() for n in (split_key(key)[0], key))

    deck = sorted(pieces, key=place)
    size = sum(piece.run.size for piece in deck)
    for shard_bytes in (size, size // 3, size // 50, 512):
        num_shards = -(-size // shard_bytes)
        hands = [deck[first::num_shards] for first in range(min(num_shards, len(deck)))]
        dealt = deal((Spooled.of(*ledger) for ledger in ledgers), shard_bytes)
        assert len(dealt) == len(hands)
        assert list(dealt) == [sorted(hand, key=lambda piece: piece.run.key) for hand in hands]


def peak_of_dealing(videos: int, collection: str) -> int:
    """Return the bytes a command holds at most, of videos of 1,280 runs in 20 stretches."""
    ledgers = [
        pickle.dumps(ledger)
        for video in range(videos)
        for ledger in made_up(f"some-film-{video}-0f3a9c21", 20, 64)
    ]
    tracemalloc.start()
    try:
        spooled = [Spooled.of(*pickle.loads(ledger)) for ledger in ledgers]
        published = []
        for number, hand in enumerate(deal(spooled, 10**8)):
            sha256 = hashlib.sha256(str(number).encode()).hexdigest()
            entry = ShardEntry(
                name=sha256[:16], samples=1, size=1, sha256=sha256, index_sha256=sha256
            )
            runs = (piece.run for piece in hand)
            parts = ("image.jpg", "meta.json")
            held = [Stretch(*split_key(run.key), run.samples, parts) for run in runs]
            published.append((entry, Packed.of(held)))
        publish_catalogue(collection, published)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_who_deals_holds_few_bytes_a_run_until_the_catalogue_is_written(tmp_path):
    few, many = (peak_of_dealing(videos, str(tmp_path)) for videos in (2, 12))
    assert many - few < 120 * 10 * 1280


def test_what_shards_hold_is_told_by_their_catalogue(tmp_path):
    hands = deal(spool(tmp_path / "spool"), 40_000)
    published = [publish_shard(str(tmp_path), hand) for hand in hands]
    entries = [entry for entry, _ in published]
    told = manifest(entries, publish_catalogue(str(tmp_path), published))
    by_catalogue = Collection(str(tmp_path), told, "")
    by_indexes = Collection(str(tmp_path), manifest(entries), "")
    every = range(sum(VIDEOS.values()))
    assert [by_catalogue.key(n) for n in every] == [by_indexes.key(n) for n in every]
    for ordinal in every:
        record = by_catalogue.record(ordinal)
        assert {part: record.read(part) for part in record.parts} == sample(
            *split_key(record.key)
        ).parts


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that was ever written be as old as what runs that never ended have left."""
    monkeypatch.setattr(writing, "ABANDONED_S", -1)


@pytest.mark.usefixtures("long_ago")
def test_a_catalogue_is_kept_when_what_is_left_over_is_removed(tmp_path):
    hands = deal(spool(tmp_path / "old"), 40_000)
    published = [publish_shard(str(tmp_path), hand) for hand in hands]
    kept, orphan = publish_catalogue(str(tmp_path), published), publish_catalogue(str(tmp_path), [])
    entries = [entry for entry, _ in published]
    commit(str(tmp_path), manifest(entries, kept))
    sweep(str(tmp_path))
    assert Path(catalogue_url(str(tmp_path), kept)).exists()
    assert not Path(catalogue_url(str(tmp_path), orphan)).exists()


def test_a_shard_is_named_by_its_content(tmp_path):
    for entry in shards(tmp_path):
        tar = Path(shard_url(str(tmp_path), entry.name)).read_bytes()
        index = Path(index_url(str(tmp_path), entry.name)).read_bytes()
        assert hashlib.sha256(tar).hexdigest() == entry.sha256
        assert hashlib.sha256(index).hexdigest() == entry.index_sha256
        assert entry.name == entry.sha256[:16]
        assert entry.size == len(tar)


def test_members_are_sorted_and_say_nothing_of_when_and_by_whom(tmp_path):
    for entry in shards(tmp_path):
        with tarfile.open(shard_url(str(tmp_path), entry.name)) as tar:
            members = tar.getmembers()
        names = [member.name for member in members]
        assert names == sorted(names)
        facts = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members}
        assert facts == {(0, 0, 0, "", "", 0o644)}


def test_every_sample_is_in_one_shard_and_every_shard_draws_from_every_long_video(tmp_path):
    seen: list[str] = []
    entries = shards(tmp_path, shard_bytes=100_000)
    assert len(entries) == 3  # "a" has 3 runs and "d" has 4
    for entry in entries:
        index = parse_index(Path(index_url(str(tmp_path), entry.name)).read_bytes())
        keys = [found.key for found in index]
        assert len(keys) == entry.samples
        assert {key[0] for key in keys} >= {"a", "d"}
        seen += keys
    assert sorted(seen) == sorted(
        f"{v}_{n:08d}" for v, count in VIDEOS.items() for n in range(count)
    )


def test_neighbours_stay_together_in_runs(tmp_path):
    for hand in deal(spool(tmp_path / "spool"), 40_000):
        for piece in hand:
            start = int(piece.run.key[-8:])
            assert start % RUN_SAMPLES == 0
            assert piece.run.samples <= RUN_SAMPLES


def test_the_index_finds_every_part_without_the_tar_library(tmp_path):
    for entry in shards(tmp_path):
        data = Path(shard_url(str(tmp_path), entry.name)).read_bytes()
        for found in parse_index(Path(index_url(str(tmp_path), entry.name)).read_bytes()):
            video, frame = found.key.split("_")
            for part, content in sample(video, int(frame)).parts.items():
                span = found.parts[part]
                assert data[span.offset : span.offset + span.size] == content
                assert span == Span(span.offset, len(content), zlib.crc32(content))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_stock_webdataset_reads_the_shards(tmp_path):
    urls = [shard_url(str(tmp_path), entry.name) for entry in shards(tmp_path)]
    dataset = WebDataset(urls, shardshuffle=False, empty_check=False)
    read = {found["__key__"]: found for found in dataset}
    gc.collect()  # it leaves its files to the collector, which complains: here, not in a later test
    assert len(read) == sum(VIDEOS.values())
    for video, frames in VIDEOS.items():
        for frame in range(frames):
            parts = read[f"{video}_{frame:08d}"]
            for part, content in sample(video, frame).parts.items():
                assert parts[part] == content


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_stock_webdataset_decodes_every_part_as_we_do(tmp_path):
    written = write_collection(str(tmp_path), {"swan": moving_disc(5)}, with_masks=True)
    urls = [shard_url(str(tmp_path), shard.name) for shard in written.shards]
    dataset = WebDataset(urls, shardshuffle=False, empty_check=False)
    decoded = dataset.decode("rgb8", only=[schema.IMAGE, schema.META])
    read = {found["__key__"]: found for found in decoded}  # pyright: ignore[reportGeneralTypeIssues] # its stub says too little
    gc.collect()
    collection = Collection.open(str(tmp_path))
    assert read.keys() == {collection.key(ordinal) for ordinal in range(5)}
    for ordinal in range(5):
        record = collection.record(ordinal)
        found = read[record.key]
        assert {part for part in found if not part.startswith("__")} == set(record.parts)
        assert schema.Meta.model_validate(found[schema.META]) == record.meta()
        # Two JPEG decoders may round differently.
        ours = schema.decode_image(record.read(schema.IMAGE)).astype(int)
        assert abs(found[schema.IMAGE] - ours).max() <= 2
        for part in record.parts.keys() - {schema.IMAGE, schema.META}:
            # x above y in 1/32 pixel around 2^15, or a mask of 0 and 255: any reader of PNG.
            with Image.open(io.BytesIO(found[part])) as image:
                levels = np.asarray(image)
            if part == schema.MASK:
                assert ((levels == 255) == schema.decode_mask(record.read(part))).all()
            else:
                x, y = np.split((levels.astype(np.float32) - 2**15) / 32, 2)
                flow = schema.decode_flow(record.read(part))
                assert (np.stack([x, y], axis=-1) == flow).all()


def test_a_spool_that_came_back_changed_is_not_published(tmp_path):
    [hand] = deal(spool(tmp_path / "spool"), 10**9)
    path = Path(hand[0].url)
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="came back changed"):
        publish_shard(str(tmp_path), hand)
    assert storage.listing(storage.join(str(tmp_path), "shards")) == []


def test_a_spool_that_another_command_removed_meanwhile_says_to_repeat(tmp_path):
    [hand] = deal(spool(tmp_path / "spool"), 10**9)
    Path(hand[-1].url).unlink()
    with pytest.raises(UserError, match=f"^{tmp_path}: a spooled video was removed .*repeat this"):
        publish_shard(str(tmp_path), hand)


def test_a_sample_that_is_there_twice_is_not_published(tmp_path):
    [hand] = deal(spool(tmp_path / "spool"), 10**9)
    twice: list[Piece] = [hand[0], *hand]
    with pytest.raises(UserError, match="out of order"):
        publish_shard(str(tmp_path), twice)


@pytest.mark.usefixtures("long_ago")
def test_sweeping_leaves_the_collection_and_nothing_else(tmp_path):
    entries = shards(tmp_path)
    orphan = tmp_path / "shards" / f"{'0' * 16}.tar"
    orphan.write_bytes(b"from a run that was killed")
    (tmp_path / "spool" / "a-00000000.tar").rename(tmp_path / "spool" / f"{'1' * 16}.tar")
    commit(str(tmp_path), manifest(entries))
    sweep(str(tmp_path))
    loaded = load_manifest(str(tmp_path))
    assert loaded == manifest(entries)
    assert newest_id(str(tmp_path)) == loaded.id
    assert not orphan.exists()
    assert not (tmp_path / "spool" / f"{'1' * 16}.tar").exists()
    assert all(Path(shard_url(str(tmp_path), entry.name)).exists() for entry in entries)


@pytest.mark.usefixtures("long_ago")
def test_sweeping_leaves_the_backgrounds_that_are_named(tmp_path):
    kept, orphan = "a" * 64, "b" * 64
    for name in (kept, orphan):
        storage.write(background_url(str(tmp_path), name), b"scene")
    refuse_strangers(str(tmp_path))
    tree = manifest([]).model_dump() | {"videos": [VIDEO.model_dump() | {"background": kept}]}
    commit(str(tmp_path), Manifest.parse(tree, origin="test"))
    sweep(str(tmp_path))
    assert storage.listing(str(tmp_path / "backgrounds")) == [f"{kept}.png"]


@pytest.mark.usefixtures("long_ago")
def test_sweeping_does_not_touch_what_is_not_ours(tmp_path):
    (tmp_path / "holiday.mp4").write_bytes(b"dear to someone")
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "notes.txt").write_bytes(b"dear to someone")
    sweep(str(tmp_path))
    assert storage.listing(str(tmp_path)) == ["holiday.mp4", "shards/notes.txt"]


def test_of_two_who_commit_at_the_same_time_one_is_told(tmp_path):
    commit(str(tmp_path), manifest([]))
    other = manifest([]).override({"shard_bytes": 2})
    with pytest.raises(UsageError, match="another collection was written here"):
        commit(str(tmp_path), other)
    assert load_manifest(str(tmp_path)) == manifest([])


def test_a_place_that_holds_something_else_is_refused(tmp_path):
    refuse_strangers(str(tmp_path / "new"))
    commit(str(tmp_path), manifest([]))
    refuse_strangers(str(tmp_path))
    (tmp_path / "holiday.mp4").write_bytes(b"")
    with pytest.raises(UsageError, match=r"holds something else \(holiday\.mp4\)"):
        refuse_strangers(str(tmp_path))


def test_a_damaged_manifest_is_named(tmp_path):
    commit(str(tmp_path), manifest([]))
    path = Path(manifest_url(str(tmp_path), manifest([]).id))
    path.write_bytes(path.read_bytes().replace(b"240", b"241"))
    with pytest.raises(UserError, match="its content does not match its name"):
        load_manifest(str(tmp_path))


@pytest.mark.usefixtures("long_ago")
def test_a_collection_that_a_younger_setting_is_missing_in_keeps_its_name(tmp_path):
    commit(str(tmp_path), manifest([]))
    tree = json.loads(manifest([]).to_bytes()) | {"videos": [VIDEO.model_dump()]}
    del tree["settings"]["jpeg_quality"], tree["settings"]["background"]
    del tree["videos"][0]["background"]
    data = json.dumps(tree).encode()
    old = hashlib.sha256(data).hexdigest()
    Path(manifest_url(str(tmp_path), old)).write_bytes(data)
    collection = Collection.open(str(tmp_path), old)
    assert collection.manifest_id == old
    assert collection.manifest.settings == manifest([]).settings
    assert collection.manifest.videos == (VIDEO,)
    (tmp_path / "LATEST").write_text(f"{old}\n")
    sweep(str(tmp_path))
    assert Collection.open(str(tmp_path)).manifest_id == old


def test_a_collection_that_has_lost_its_pointer_says_so_and_is_read_by_its_ids(
    tmp_path,
):
    commit(str(tmp_path), manifest([]))
    (tmp_path / "LATEST").unlink()
    for look in (load_manifest, Collection.open):
        with pytest.raises(UserError) as error:
            look(str(tmp_path))
        assert str(error.value) == (
            f"{tmp_path}: holds manifests, but no LATEST, which names the newest; repeat the copy "
            "that was interrupted, or restore it by "
            f"tools/collection.py verify {tmp_path} --repair"
        )
    assert Collection.open(f"{tmp_path}@{manifest([]).id[:8]}").manifest == manifest([])


def test_a_place_without_a_collection_is_named_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"no collection here.*tools/shard_videos\.py"):
        load_manifest(str(tmp_path))
