"""A disk without room: one line that says so, nothing half-written that vouches for itself."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from selfseg import storage
from selfseg.contracts import FramePairs
from selfseg.stores import local
from selfseg.training import checkpoint, commit, session
from selfseg.training.journal import read_lines
from selfseg.training.worker import AcceleratedWorker
from tests.toy import Game, Listener, toy_batches, toy_plan


@dataclass
class Disk:
    """Has room for so many bytes below a folder; like others, it finds out when it must keep them.

    full: called when there is no room
    """

    folder: Path
    room: int
    full: Callable[[], None] = lambda: None

    def used(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def fsync(self, descriptor: int) -> None:
        del descriptor
        if self.used() > self.room:
            self.full()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    small = Disk(tmp_path, 1 << 40)
    monkeypatch.setattr(local.os, "fsync", small.fsync)
    return small


def train(run: Path, at: dict[int, Callable[[], None]] | None = None) -> Listener:
    def open_batches(step: int) -> Iterator[FramePairs]:
        for number, batch in enumerate(toy_batches(step), start=step):
            (at or {}).get(number, lambda: None)()
            yield batch

    listener = Listener()
    worker = AcceleratedWorker()
    session.run(toy_plan(run), Game(dropout=0.5), open_batches, worker=worker, audience=listener)
    return listener


def test_a_file_for_which_there_is_no_room_leaves_the_one_before(disk, tmp_path):
    storage.write(str(tmp_path / "file"), b"before")
    disk.room = 10
    with pytest.raises(storage.StorageError) as caught:
        storage.write(str(tmp_path / "file"), bytes(100))
    line = str(caught.value)
    assert line.startswith(f"{tmp_path}/file: no room on the disk (100 bytes are wanted, ")
    assert line.endswith(" are free); make room there and repeat the command")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_checkpoint_for_which_there_is_no_room_ends_the_run_which_goes_on_with_room(
    disk, tmp_path, share
):
    """The share is of one checkpoint, of which there is one: any file may be the one too many."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    train(whole)
    one = sum(file.stat().st_size for file in (whole / "checkpoints/step_00000004").iterdir())

    def shrink() -> None:
        while not checkpoint.committed(str(run)):
            pass
        disk.room = disk.used() + int(share * one)

    with pytest.raises(storage.StorageError, match=f"^{run}/.*: no room on the disk ") as caught:
        train(run, {6: shrink})
    assert "\n" not in str(caught.value)
    assert not list(run.rglob(f"*{local.TEMPORARY}"))
    first = checkpoint.step_url(str(run), 4)
    assert checkpoint.committed(str(run)) == [first]
    commit.verify(first)
    disk.room = 1 << 40
    assert train(run).notes() == ["going on from step 4"]
    assert [line["step"] for line in read_lines(str(run))] == list(range(12))
    ends = [checkpoint.load(checkpoint.step_url(str(r), 12))[0].weights for r in (run, whole)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[1])


def test_a_scratch_folder_without_room_is_named_with_its_variable(tmp_path, monkeypatch):
    monkeypatch.setattr(local.tempfile, "tempdir", str(tmp_path))
    with (
        pytest.raises(
            storage.StorageError, match=rf"^{tmp_path}/.*no room.*set TMPDIR to a folder"
        ),
        storage.scratch(),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []
