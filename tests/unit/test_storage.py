import multiprocessing
import os
import stat
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from selfseg import storage
from selfseg.errors import UsageError
from selfseg.stores import local, s3_client
from tools.local_s3 import HOST, free_ports

CLAIMANTS = 4
CLAIMS = 25


def test_a_url_is_a_bucket_by_its_scheme_and_a_folder_without_one():
    assert storage.is_remote("s3://bucket/prefix")
    assert not storage.is_remote("/folder/s3/prefix")


@pytest.mark.parametrize("base", ["s3://bucket/run", "s3://bucket/run/", "/data/run", "run/"])
def test_joined_parts_are_separated_by_one_slash(base: str):
    assert storage.join(base, "metrics", "a.jsonl") == f"{base.rstrip('/')}/metrics/a.jsonl"


def test_something_below_the_root_folder_stays_absolute():
    assert storage.join("/", "data") == "/data"


@pytest.mark.parametrize("url", ["gs://bucket/a", "file:///a", "http://host/a"])
def test_another_scheme_is_a_mistake_of_usage_that_says_what_is_supported(url: str):
    with pytest.raises(UsageError, match=r"only paths and s3:// URLs") as error:
        storage.read(url)
    assert str(error.value).startswith(url)


def test_without_keys_and_without_a_role_the_variable_to_set_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    s3_client._have_role.cache_clear()
    with pytest.raises(storage.StorageError, match="no credentials, and no role; set AWS_ACCESS_"):
        storage.read("s3://bucket/a")


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_without_keys_the_variable_to_set_is_named(monkeypatch: pytest.MonkeyPatch, missing: str):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
    monkeypatch.delenv(missing)
    with pytest.raises(storage.StorageError, match=f"^s3://bucket/a: no credentials.*{missing}$"):
        storage.read("s3://bucket/a")


def test_an_endpoint_where_nobody_listens_is_reported_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
):
    endpoint = f"http://{HOST}:{free_ports(None)['s3.port']}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_ENDPOINT_URL_S3": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    begin = time.monotonic()
    with pytest.raises(storage.StorageError, match=f"no connection to {endpoint} .*start") as error:
        storage.probe("s3://bucket/run")
    assert time.monotonic() - begin < 10
    assert "\n" not in str(error.value)


def test_an_endpoint_that_is_no_url_is_reported(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "a key of no use")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "nonsense")
    with pytest.raises(storage.StorageError, match=r"Invalid endpoint: nonsense; correct"):
        storage.read("s3://bucket/a")


@pytest.mark.parametrize("url", ["s3://", "s3:///key"])
def test_a_url_without_a_bucket_is_a_mistake_of_usage(url: str):
    with pytest.raises(UsageError, match="names no bucket"):
        storage.read(url)


def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_other(tmp_path: Path):
    target = tmp_path / "checkpoint"
    target.write_bytes(b"old")

    def write_half() -> None:
        with local.replacing(target) as file:
            file.write(b"half of the ne")
            raise RuntimeError("the process is interrupted")

    with pytest.raises(RuntimeError):
        write_half()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"checkpoint": b"old"}


def test_an_unfinished_write_of_a_killed_process_is_not_listed(tmp_path: Path):
    def write_and_die():
        with local.replacing(tmp_path / "shard") as file:
            file.write(b"half")
            os._exit(9)

    writer = multiprocessing.get_context("fork").Process(target=write_and_die)
    writer.start()
    writer.join()
    assert writer.exitcode == 9
    assert len(list(tmp_path.iterdir())) == 1
    assert storage.listing(str(tmp_path)) == []


def test_written_files_have_the_rights_that_the_user_gives_to_new_files(tmp_path: Path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    storage.write(str(tmp_path / "written"), b"")
    rights = [stat.S_IMODE(path.stat().st_mode) for path in (ordinary, tmp_path / "written")]
    assert rights[0] == rights[1]


def test_of_processes_that_replace_at_once_no_change_is_lost(tmp_path: Path):
    counter = str(tmp_path / "counter")
    storage.write(counter, b"0")
    context = multiprocessing.get_context("fork")
    counting = [context.Process(target=_count, args=(counter,)) for _ in range(CLAIMANTS)]
    for process in counting:
        process.start()
    for process in counting:
        process.join()
    assert [process.exitcode for process in counting] == [0] * CLAIMANTS
    assert storage.read(counter) == str(CLAIMANTS * CLAIMS).encode()


def _count(url: str) -> None:
    for _ in range(CLAIMS):
        while True:
            seen = storage.read(url)
            try:
                storage.replace(url, str(int(seen) + 1).encode(), seen)
            except storage.Conflict:
                continue
            break


def test_a_lock_that_is_never_released_is_reported_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(local, "LOCK_PATIENCE_S", 0.2)
    parent, child = multiprocessing.Pipe()
    holder = multiprocessing.get_context("fork").Process(
        target=_hold, args=(tmp_path / ".LATEST.selfseg-lock", child)
    )
    holder.start()
    parent.recv()
    with pytest.raises(storage.Conflict, match=r"another process has held .*\.LATEST.*stop it"):
        storage.replace(str(tmp_path / "LATEST"), b"new", None)
    parent.send("enough")
    holder.join()
    storage.replace(str(tmp_path / "LATEST"), b"new", None)
    assert storage.read(str(tmp_path / "LATEST")) == b"new"


def _hold(lock: Path, parent: Connection) -> None:
    with local.filelock.FileLock(lock):
        parent.send("held")
        parent.recv()


def test_a_file_where_a_folder_is_needed_is_reported(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(storage.StorageError, match="choose another") as error:
        storage.write(str(tmp_path / "file" / "below"), b"")
    assert str(tmp_path / "file") in str(error.value)
    with pytest.raises(storage.StorageError, match="choose another"):
        storage.probe(str(tmp_path / "file"))


def test_a_folder_in_place_of_a_file_is_reported(tmp_path: Path):
    for attempt in (storage.read, storage.size, storage.delete):
        with pytest.raises(storage.StorageError, match=f"^{tmp_path}: "):
            attempt(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_to_is_reported(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(storage.StorageError, match="permission denied"):
        storage.probe(str(tmp_path))


def test_a_probe_makes_the_folder_and_leaves_nothing_in_it(tmp_path: Path):
    storage.probe(str(tmp_path / "new" / "run"))
    assert (tmp_path / "new" / "run").is_dir()
    assert list((tmp_path / "new" / "run").iterdir()) == []
