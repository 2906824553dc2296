"""A collection copied object by object; here between folders."""

from collections.abc import Callable
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.data.care import copying
from selfseg.data.care.copying import CopyPlan, carry_out, plan_copy
from selfseg.data.format.holdings import Holding, bring
from selfseg.data.format.manifest import LATEST, load_manifest, newest_id
from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError, UserError
from tests.catalogued import add_catalogue
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc

COW = {"cow": moving_disc(3, seed=9)}


@pytest.fixture
def source(tmp_path):
    scenes = {"swan": moving_disc(7), "car": moving_disc(4, seed=5, pan=(1, 0))}
    write_collection(str(tmp_path / "source"), scenes, with_backgrounds=True)
    add_catalogue(str(tmp_path / "source"))
    return str(tmp_path / "source")


@pytest.fixture
def target(tmp_path):
    return str(tmp_path / "target")


def copy(source: str, target: str) -> CopyPlan:
    plan = plan_copy(source, target)
    carry_out(plan, lambda _: None)
    return plan


def contents(url: str) -> dict[str, bytes]:
    return {name: storage.read(storage.join(url, name)) for name in storage.listing(url)}


def brought(monkeypatch: pytest.MonkeyPatch, hook: Callable[[Holding], None]) -> list[str]:
    """List what is brought from now on, in order; `hook` is called before each."""
    names: list[str] = []

    def noted(holding: Holding, source: str, target: str) -> None:
        hook(holding)
        bring(holding, source, target)
        names.append(holding.name)

    monkeypatch.setattr(copying, "bring", noted)
    return names


def test_a_copy_is_the_same_byte_for_byte(source, target):
    plan = copy(source, target)
    assert contents(target) == contents(source)
    assert plan.size == load_manifest(source).size
    assert Collection.open(target).videos == Collection.open(source).videos


def test_what_no_state_names_is_not_copied(source, target):
    expected = contents(source)
    storage.write(f"{source}/spool/0000000000000000.tar", b"half a video")
    copy(source, target)
    assert contents(target) == expected


def test_a_collection_that_grew_is_copied_by_what_is_new(source, target):
    copy(source, target)
    before = {p: p.stat().st_mtime_ns for p in Path(target).rglob("*") if p.name != LATEST}
    shards = {f"shards/{shard.name}" for shard in load_manifest(source).shards}
    new = write_collection(source, COW)
    plan = copy(source, target)
    expected = {
        f"shards/{shard.name}.{suffix}" for shard in new.shards for suffix in ("tar", "idx")
    }
    assert {holding.name for holding in plan.missing} == expected
    assert not {Path(name).with_suffix("").as_posix() for name in expected} & shards
    assert [holding.name for holding in plan.manifests] == [f"manifest-{new.id}.json"]
    assert contents(target) == contents(source)
    assert all(path.stat().st_mtime_ns == then for path, then in before.items() if path.is_file())


def test_copying_again_brings_nothing(source, target):
    copy(source, target)
    plan = copy(source, target)
    assert (plan.missing, plan.manifests, plan.size) == ((), (), 0)


def test_what_another_program_cut_off_is_brought_again(source, target):
    copy(source, target)
    for name in ("shards/*.tar", "shards/*.idx", "backgrounds/*", "catalogues/*", "manifest-*"):
        path = min(Path(target).glob(name))
        path.write_bytes(path.read_bytes()[:-1])
    Path(target, LATEST).unlink()
    plan = copy(source, target)
    assert (len(plan.missing), len(plan.manifests)) == (4, 1)
    assert contents(target) == contents(source)


def test_an_earlier_state_is_copied_without_what_came_later(source, target):
    expected, first = contents(source), load_manifest(source).id
    write_collection(source, COW)
    copy(f"{source}@{first[:8]}", target)
    assert contents(target) == expected
    copy(source, target)
    assert contents(target) == contents(source)


def test_a_manifest_follows_what_it_names_the_oldest_first_and_the_pointer_is_last(
    source, target, monkeypatch
):
    first = load_manifest(source).id
    second = write_collection(source, COW).id
    names = brought(monkeypatch, lambda _: None)
    published: list[int] = []
    replace = storage.replace

    def noted(url: str, data: bytes, expected: bytes | None) -> None:
        published.append(len(names))
        replace(url, data, expected)

    monkeypatch.setattr(storage, "replace", noted)
    copy(source, target)
    assert names[-2:] == [f"manifest-{first}.json", f"manifest-{second}.json"]
    assert published == [len(names)]


def test_a_copy_that_breaks_off_shows_no_state_and_goes_on_with_the_rest(
    source, target, monkeypatch
):
    def break_off(holding: Holding) -> None:
        if holding.name.startswith("backgrounds"):
            raise storage.StorageError("connection lost")

    with monkeypatch.context() as patch:
        first = brought(patch, break_off)
        with pytest.raises(storage.StorageError):
            copy(source, target)
    assert newest_id(target) is None
    rest = brought(monkeypatch, lambda _: None)
    copy(source, target)
    assert first
    assert not set(first) & set(rest)
    assert contents(target) == contents(source)


def test_a_damaged_object_is_not_copied_and_the_repair_is_named(source, target):
    path = sorted((Path(source) / "shards").glob("*.tar"))[1]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=rf"^{path}: damaged: .* verify {source} --repair$"):
        copy(source, target)
    assert newest_id(target) is None
    assert f"shards/{path.name}" not in contents(target)


def test_another_collection_is_left_alone(source, target):
    write_collection(target, COW)
    before = contents(target)
    with pytest.raises(UsageError, match=rf"^{target}: holds another collection .*; choose"):
        copy(source, target)
    assert contents(target) == before


def test_a_later_state_is_not_taken_back(source, target):
    copy(source, target)
    write_collection(target, COW)
    before = contents(target)
    with pytest.raises(UsageError, match=rf"^{target}: holds a later state .*; copy the other way"):
        copy(source, target)
    assert contents(target) == before


def test_a_folder_with_something_else_is_refused(source, target):
    storage.write(f"{target}/thesis.tex", b"")
    with pytest.raises(UsageError, match=rf"^{target}: holds something else \(thesis\.tex\)"):
        copy(source, target)


def test_whoever_publishes_first_at_the_other_place_wins(source, target, monkeypatch):
    plan = plan_copy(source, target)
    winner = write_collection(target, COW)
    with pytest.raises(UsageError, match=rf"^{target}: another command wrote here meanwhile"):
        carry_out(plan, lambda _: None)
    assert newest_id(target) == winner.id
