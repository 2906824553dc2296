"""Collections that grow while others add to them, read them, or are killed; folders and buckets."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.data.format.manifest import Manifest, commit_manifest, load_manifest, newest_id
from selfseg.data.format.settings import IngestSettings
from selfseg.data.ingest import writing
from selfseg.data.ingest.growing import grown
from selfseg.data.ingest.sources import SourceVideo, inspect
from selfseg.data.ingest.spooling import Spooled, spool, spool_url, spooled
from selfseg.data.ingest.writing import commit, deal, publish_shard, sweep
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.loader import batches
from selfseg.errors import UsageError, UserError
from tests.exact_collection import write_collection
from tests.reading import samples_of
from tests.synthetic import Scene, moving_disc, write_video
from tests.unit.data import tiny

FIRST = {"swan": moving_disc(9), "car": moving_disc(5, seed=5)}
CAT, DOG = {"cat": moving_disc(4, seed=9)}, {"dog": moving_disc(6, seed=8)}


@pytest.fixture
def url(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a collection, of which nothing is in the cache."""
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    write_collection(f"{place}/c", FIRST)
    return f"{place}/c"


def uploaded(url: str, scenes: Mapping[str, Scene]) -> Manifest:
    """Do all that adding takes but the last; return what would be published."""
    parent = newest_id(url)
    assert parent
    return grown(load_manifest(url, parent), parent, write_collection(url, scenes, published=False))


def everything(url: str) -> dict[str, dict[str, bytes]]:
    collection = Collection.open(url)
    records = [collection.record(ordinal) for ordinal in range(len(collection))]
    return {record.key: {part: record.read(part) for part in record.parts} for record in records}


def test_of_two_who_add_at_the_same_time_one_wins_and_the_other_is_told_and_repeats(url, tmp_path):
    one, other = uploaded(url, CAT), uploaded(url, DOG)
    commit(url, one)
    with pytest.raises(UsageError) as caught:
        commit(url, other)
    assert str(caught.value) == f"{url}: grew meanwhile by another command; repeat this one"
    assert set(Collection.open(url).videos) == {*FIRST, *CAT}
    commit(url, uploaded(url, DOG))
    write_collection(str(tmp_path / "alone"), FIRST | CAT | DOG)
    assert everything(url) == everything(str(tmp_path / "alone"))


def test_of_two_who_add_the_same_at_the_same_time_neither_fails(url):
    one, other = uploaded(url, CAT), uploaded(url, CAT)
    commit(url, one)
    commit(url, other)
    assert newest_id(url) == one.id == other.id
    commit(url, uploaded(url, DOG))
    with pytest.raises(UsageError, match="grew meanwhile by another command"):
        commit(url, other)


@pytest.mark.parametrize("read_before", [0, 1, 3])
def test_who_reads_does_not_notice_that_videos_are_added(url, read_before):
    def reading(collection: Collection):
        return batches(collection, tiny.CONFIG, seed=5, step=0, rank=0, world_size=1)

    undisturbed = samples_of(islice(reading(Collection.open(url)), 9))
    stream = reading(Collection.open(url))
    found = samples_of(islice(stream, read_before))
    commit(url, uploaded(url, CAT))
    assert found + samples_of(islice(stream, 9 - read_before)) == undisturbed


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that was ever written be as old as what runs that never ended have left."""
    monkeypatch.setattr(writing, "ABANDONED_S", -1)


@pytest.mark.usefixtures("long_ago")
def test_who_is_killed_before_the_manifest_leaves_the_collection_as_it_was(url):
    before, content = newest_id(url), everything(url)
    there = storage.listing(url)
    uploaded(url, CAT)
    left = set(storage.listing(url)) - set(there)
    assert left
    assert (newest_id(url), everything(url)) == (before, content)
    # Who adds videos long after that removes what was left.
    commit(url, uploaded(url, DOG))
    sweep(url)
    assert not left & set(storage.listing(url))
    assert set(Collection.open(url).videos) == {*FIRST, *DOG}
    assert content.items() <= everything(url).items()


@pytest.mark.parametrize("sweeps", ["before the commit", "during it", "after it"])
def test_who_sweeps_leaves_what_a_repeated_run_adds_to_or_has_added(url, monkeypatch, sweeps):
    """Its first run was killed: what it publishes is what lay there, named by no manifest."""

    def interrupted(collection: str, manifest: Manifest, expected: str | None) -> None:
        sweep(url)
        commit_manifest(collection, manifest, expected)

    cat, _ = uploaded(url, CAT), uploaded(url, DOG)
    commit(url, cat)
    dog = uploaded(url, DOG)
    if sweeps == "before the commit":
        sweep(url)
    if sweeps == "during it":
        monkeypatch.setattr(writing, "commit_manifest", interrupted)
    commit(url, dog)
    sweep(url)
    assert set(Collection.open(url).videos) == {*FIRST, *CAT, *DOG}
    everything(url)


def test_what_others_have_spooled_outlives_a_commit_and_is_gone_on_with(url, tmp_path):
    settings = IngestSettings(height=32, gaps=(1,), flow="none")
    film = inspect(write_video(tmp_path / "film.mp4", moving_disc(9).frames), None)
    assert isinstance(film, SourceVideo)
    parent, ledger = load_manifest(url), spool(film, url, settings, lambda _: None)
    commit(url, uploaded(url, CAT))
    sweep(url)
    assert spooled(film, url, settings) == ledger
    hands = deal([Spooled.of(spool_url(url, film, settings, "tar"), ledger)], 10**6)
    published = [publish_shard(url, hand)[0] for hand in hands]
    added = parent.override({"videos": [ledger.video], "shards": published})
    with pytest.raises(UsageError, match="grew meanwhile by another command; repeat this one"):
        commit(url, grown(parent, parent.id, added))
    assert spooled(film, url, settings) == ledger


@pytest.mark.usefixtures("long_ago")
def test_who_sweeps_stops_when_others_have_committed(url, monkeypatch):
    """What they have published was left over before, from one that was killed."""
    cat, _ = uploaded(url, CAT), uploaded(url, DOG)
    storage.write(storage.join(url, f"spool/{'1' * 16}.tar"), b"")  # goes first
    delete = storage.delete

    def overtaken(gone: str) -> None:
        monkeypatch.setattr(storage, "delete", delete)
        delete(gone)
        dog = uploaded(url, DOG)
        commit_manifest(url, dog, dog.parent)

    commit(url, cat)
    monkeypatch.setattr(storage, "delete", overtaken)
    sweep(url)
    assert set(Collection.open(url).videos) == {*FIRST, *CAT, *DOG}
    everything(url)


@pytest.mark.usefixtures("long_ago")
def test_an_append_whose_shards_were_swept_says_so_instead_of_naming_what_is_gone(url):
    commit(url, uploaded(url, CAT))
    dog = uploaded(url, DOG)
    sweep(url)
    with pytest.raises(UserError, match=r"removed meanwhile by another command; repeat this one$"):
        commit(url, dog)
    commit(url, uploaded(url, DOG))
    assert set(Collection.open(url).videos) == {*FIRST, *CAT, *DOG}
    everything(url)
