"""What `tools/collection.py verify --repair` puts right, and what not."""

import shutil
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.data.care.verifying import Finding
from selfseg.data.format.holdings import leftovers
from selfseg.data.format.manifest import LATEST, load_manifest
from selfseg.data.ingest.growing import grown
from selfseg.data.reading.collection import Collection
from tests.catalogued import add_catalogue, publish
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tests.unit.data.looked_after import (
    commit,
    contents,
    first_shard,
    flip,
    found,
    the_only,
)


@pytest.fixture
def catalogued(url, tmp_path):
    """Have a state of which a catalogue tells, and one that grew from it with a catalogue more."""
    first = add_catalogue(url)
    write_collection(str(tmp_path / "cow"), {"cow": moving_disc(3, seed=9)})
    added = add_catalogue(str(tmp_path / "cow"))
    for folder in ("shards", "catalogues"):
        shutil.copytree(tmp_path / "cow" / folder, f"{url}/{folder}", dirs_exist_ok=True)
    publish(url, grown(first, first.id, added))
    assert set(Collection.open(url).videos) == {"swan", "car", "cow"}
    return url


def test_every_catalogue_of_the_chain_is_looked_at_and_made_anew(catalogued):
    assert found(catalogued) == []
    assert leftovers(catalogued) == []
    before = contents(catalogued)
    first, second = load_manifest(catalogued).catalogues
    (Path(catalogued) / "catalogues" / f"{first}.json").unlink()
    flip(Path(catalogued) / "catalogues" / f"{second}.json", 5)
    assert found(catalogued) == [
        Finding(f"catalogues/{first}.json", "missing"),
        Finding(f"catalogues/{second}.json", "damaged: its sha256 differs"),
    ]
    mended = [finding.mended for finding in found(catalogued, repair=True)]
    assert mended == ["made anew from the indexes"] * 2
    assert contents(catalogued) == before


def test_a_catalogue_is_made_anew_from_an_index_that_is_made_anew(catalogued):
    before = contents(catalogued)
    for path in [*Path(catalogued).glob("catalogues/*"), *Path(catalogued).glob("shards/*.idx")]:
        path.unlink()
    findings = found(catalogued, repair=True)
    assert {finding.mended for finding in findings} == {
        "made anew from its tar", "made anew from the indexes"
    }  # fmt: skip
    assert contents(catalogued) == before


def test_an_index_is_made_anew_from_its_tar(url):
    before = contents(url)
    name, path = first_shard(url)
    path.with_suffix(".idx").unlink()
    finding = the_only(found(url, repair=True))
    assert finding == Finding(name.replace("tar", "idx"), "missing", "made anew from its tar")
    assert contents(url) == before


def test_without_a_copy_a_damaged_shard_and_its_index_are_left_as_they_are(url):
    _, path = first_shard(url)
    flip(path, 700)
    flip(path.with_suffix(".idx"), 9)
    before = contents(url)
    findings = found(url, repair=True)
    assert [finding.mended for finding in findings] == [None, None]
    assert all("--from URL" in finding.cause for finding in findings)
    assert contents(url) == before


def test_everything_but_the_pointer_can_be_taken_from_a_copy(url, spare):
    before = contents(url)
    for name in before.keys() - {LATEST}:
        storage.write(storage.join(url, name), before[name][:100])
    findings = found(url, repair=True, spare=spare)
    mended = {finding.name: finding.mended for finding in findings}
    indexes = {name: "made anew from its tar" for name in before if name.endswith(".idx")}
    others = dict.fromkeys(before.keys() - indexes.keys() - {LATEST}, f"taken from {spare}")
    assert mended == indexes | others
    assert contents(url) == before
    assert found(url) == []


def test_a_copy_that_is_damaged_or_incomplete_itself_mends_nothing(url, spare):
    name, path = first_shard(url)
    flip(path, 700)
    before = contents(url)
    flip(Path(spare) / name, 9000)
    finding = the_only(found(url, repair=True, spare=spare))
    assert f"{spare}/{name}: damaged" in finding.cause
    (Path(spare) / name).unlink()
    finding = the_only(found(url, repair=True, spare=spare))
    assert finding.cause.endswith(f"{spare} does not have it either")
    assert contents(url) == before


def test_what_a_repaired_index_brings_to_light_is_named(url):
    """A tar that was intact all along, of which the manifest counts another number of samples."""
    name, path = first_shard(url)
    shards = load_manifest(url).model_dump()["shards"]
    samples = shards[0]["samples"]
    shards[0]["samples"] += 1
    commit(url, shards=shards)
    path.with_suffix(".idx").unlink()
    index = name.replace("tar", "idx")
    findings = found(url, repair=True)
    assert findings[0] == Finding(index, "missing", "made anew from its tar")
    assert findings[1].name == index
    assert f"lists {samples} samples where the manifest counts {samples + 1}" in findings[1].cause
