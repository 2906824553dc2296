"""Copies of remote objects; here a local path stands for the remote object."""

import hashlib
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.data.cache import cache_folder, fetch
from selfseg.errors import UserError

CONTENT = b"shard" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def remote(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFSEG_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "remote.tar"
    path.write_bytes(CONTENT)
    return path


def files() -> list[str]:
    return [p.name for p in cache_folder().iterdir() if p.is_file()]


def test_an_object_is_copied_once(remote):
    path = fetch(str(remote), SHA256)
    assert path.read_bytes() == CONTENT
    remote.unlink()
    assert fetch(str(remote), SHA256) == path
    assert files() == [SHA256]


def test_another_content_than_promised_is_refused_and_leaves_nothing(remote):
    remote.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(UserError, match=rf"{remote}: damaged: .* {SHA256}; ingest it again"):
        fetch(str(remote), SHA256)
    assert files() == []


def test_a_download_that_breaks_off_leaves_nothing_and_can_be_repeated(remote, monkeypatch):
    def break_off(url: str, path: Path) -> None:
        path.write_bytes(CONTENT[:7])
        raise storage.StorageError(f"{url}: connection lost")

    with monkeypatch.context() as broken:
        broken.setattr(storage, "download", break_off)
        with pytest.raises(storage.StorageError):
            fetch(str(remote), SHA256)
    assert files() == []
    assert fetch(str(remote), SHA256).read_bytes() == CONTENT


def test_what_a_killed_download_left_is_not_taken_for_the_object(remote):
    cache_folder().mkdir()
    (cache_folder() / f"{SHA256}.0123.part").write_bytes(CONTENT[:7])
    assert fetch(str(remote), SHA256).read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(remote, monkeypatch):
    monkeypatch.setenv("SELFSEG_CACHE", str(remote))
    with pytest.raises(UserError, match=f"{remote}: .*set SELFSEG_CACHE"):
        fetch(str(remote), SHA256)


def test_without_the_variable_the_users_cache_folder_is_used(monkeypatch, tmp_path):
    monkeypatch.delenv("SELFSEG_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "selfseg"
