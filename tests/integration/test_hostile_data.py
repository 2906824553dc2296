"""Who may write to a bucket can give readers wrong data, and nothing more."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from selfseg import storage
from selfseg.data.format.index import index_tar
from selfseg.data.format.manifest import LATEST, Manifest, load_manifest, manifest_url
from selfseg.data.reading.collection import Collection
from selfseg.errors import UserError
from selfseg.nets.weights import read_weights
from selfseg.training import checkpoint, commit, session
from selfseg.training.worker import AcceleratedWorker
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tests.toy import Game, Listener, toy_batches, toy_plan


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def bomb(folder: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"optimisers": Bomb(folder), "worker": {}}, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    plan = toy_plan(folder, steps=1)
    session.run(plan, Game(), toy_batches, worker=AcceleratedWorker(), audience=Listener())
    return folder


def test_the_bomb_goes_off_where_pickles_are_trusted(tmp_path):
    torch.load(io.BytesIO(bomb(tmp_path / "hit")), weights_only=False)
    assert (tmp_path / "hit").is_dir()


def test_a_bomb_in_a_checkpoint_that_vouches_for_it_is_refused_in_a_line(run, tmp_path):
    (url,) = checkpoint.committed(str(run))
    name, data = commit.OPTIMISERS, bomb(tmp_path / "hit")
    told = json.loads(storage.read(storage.join(url, commit.COMMIT)))
    told["files"][name] = commit.fingerprint(data)
    forged = str(tmp_path / "forged/checkpoints/step_00000001")
    for file in Path(url).iterdir():
        storage.upload(file, storage.join(forged, file.name))
    storage.write(storage.join(forged, name), data)
    storage.write(storage.join(forged, commit.COMMIT), json.dumps(told).encode())
    with pytest.raises(
        UserError, match=f"^{forged}: intact, but not a checkpoint of this"
    ) as caught:
        checkpoint.load(forged)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "hit").exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_bomb_given_as_weights_is_refused_in_a_line(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(bomb(tmp_path / "hit"))
    with pytest.raises(UserError, match=f"^{path}: not a file of weights") as caught:
        read_weights(str(path))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "hit").exists()


def test_a_checkpoint_that_names_files_elsewhere_is_refused(run, tmp_path):
    (url,) = checkpoint.committed(str(run))
    forged = str(tmp_path / "step_00000001")
    for file in Path(url).iterdir():
        storage.upload(file, storage.join(forged, file.name))
    secret = tmp_path / "secret"
    secret.write_bytes(safetensors.torch.save({"w": torch.zeros(1)}))
    told = json.loads(storage.read(storage.join(url, commit.COMMIT)))
    told["files"]["../secret"] = commit.fingerprint(secret.read_bytes())
    storage.write(storage.join(forged, commit.COMMIT), json.dumps(told).encode())
    with pytest.raises(commit.DamagedCheckpoint, match=r"COMMIT.json names '../secret'"):
        checkpoint.load(forged)


@pytest.mark.parametrize("name", ["../../x_00000000.image.jpg", "/etc/x_00000000.image.jpg"])
def test_the_name_of_a_tars_member_is_a_key_and_never_a_path(tmp_path, name):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        member = tarfile.TarInfo(name)
        member.size = 5
        tar.addfile(member, io.BytesIO(b"bytes"))
    before = sorted(tmp_path.rglob("*"))
    (entry,) = index_tar(tmp_path / "shard.tar")
    assert [span.size for span in entry.parts.values()] == [5]
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/etc/x_00000000.image.jpg").exists()


@pytest.fixture
def collection(tmp_path) -> str:
    url = str(tmp_path / "collection")
    write_collection(url, {"swan": moving_disc(3)}, gaps=(1,), shares=(1.0,))
    return url


def forge(collection: str, path: tuple[str | int, ...], value: str) -> None:
    """Publish a manifest that is as its id says, with one value exchanged."""
    tree = json.loads(load_manifest(collection).to_bytes())
    place = tree
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    data = json.dumps(tree).encode()
    manifest_id = hashlib.sha256(data).hexdigest()
    storage.write(manifest_url(collection, manifest_id), data)
    storage.write(storage.join(collection, LATEST), manifest_id.encode())


@pytest.mark.parametrize("value", ["../../x", "..", "/etc/passwd", "", "a/b"])
@pytest.mark.parametrize(
    "path",
    [
        ("shards", 0, "name"),
        ("shards", 0, "sha256"),
        ("shards", 0, "index_sha256"),
        ("videos", 0, "id"),
        ("videos", 0, "name"),
        ("videos", 0, "background"),
        ("parent",),
    ],
    ids=lambda path: str(path[-1]),
)
def test_a_manifest_whose_names_lead_elsewhere_is_refused_in_a_line(collection, path, value):
    forge(collection, path, value)
    with pytest.raises(UserError) as caught:
        Collection.open(collection)
    line = str(caught.value)
    assert line.startswith(f"{collection}/manifest-")
    assert ".".join(map(str, path)) in line
    assert "\n" not in line


def test_a_forged_manifest_that_is_plain_is_read(collection):
    forge(collection, ("videos", 0, "name"), "another name, with .. in it")
    assert [video.name for video in load_manifest(collection).videos] == [
        "another name, with .. in it"
    ]
    assert isinstance(load_manifest(collection), Manifest)
