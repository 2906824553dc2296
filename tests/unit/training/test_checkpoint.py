"""Checkpoints are whole or not there; whatever else is found is named in one line."""

import json
from pathlib import Path

import pytest
import torch

from selfseg.errors import UserError
from selfseg.training import checkpoint, commit, retention
from selfseg.training.checkpoint import RunRecord, TrainingState
from selfseg.training.commit import DamagedCheckpoint

RECORD = RunRecord(settings={"seed": 1}, collection="s3://a/b", manifest="f" * 64, ingest={"h": 2})


def state(step: int = 7, *, average: bool = False) -> TrainingState:
    weights = {"phi.weight": torch.arange(6.0).reshape(2, 3).T, "phi.count": torch.tensor(step)}
    moments = {"state": {0: {"exp_avg": torch.ones(3, 2)}}, "param_groups": [{"lr": 1e-3}]}
    return TrainingState(
        step=step,
        skipped=2,
        weights=weights,
        average={"phi.weight": torch.zeros(3, 2)} if average else None,
        optimisers={"phi": moments},
        worker={"scale": 4.0},
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return Path(checkpoint.save(str(tmp_path), state(), RECORD))


@pytest.mark.parametrize("average", [False, True])
def test_what_was_saved_is_what_is_loaded(tmp_path, average):
    before = state(average=average)
    after, record = checkpoint.load(checkpoint.save(str(tmp_path), before, RECORD))
    assert record == RECORD
    assert (after.step, after.skipped, after.worker) == (7, 2, {"scale": 4.0})
    assert all(torch.equal(after.weights[name], before.weights[name]) for name in before.weights)
    assert torch.equal(after.optimisers["phi"]["state"][0]["exp_avg"], torch.ones(3, 2))
    assert (after.average is not None) == average


@pytest.mark.parametrize("name", [*(f"{n}" for n in ("method.safetensors", "optimisers.pt")),
                                  "progress.json", "settings.json"])  # fmt: skip
def test_one_flipped_bit_anywhere_is_found_and_the_file_named(saved, name):
    data = bytearray((saved / name).read_bytes())
    data[len(data) // 2] ^= 1
    (saved / name).write_bytes(data)
    with pytest.raises(DamagedCheckpoint, match=f"{saved}: damaged: {name} is not what was writ"):
        checkpoint.load(str(saved))


def test_a_missing_file_is_named(saved):
    (saved / "optimisers.pt").unlink()
    with pytest.raises(DamagedCheckpoint, match=r"damaged: optimisers\.pt is missing"):
        commit.verify(str(saved))


def test_a_torn_commit_is_damage(saved):
    (saved / "COMMIT.json").write_text('{"files": {')
    with pytest.raises(DamagedCheckpoint, match=r"damaged: COMMIT\.json is not readable"):
        checkpoint.load(str(saved))


def test_prediction_reads_no_optimiser(saved):
    (saved / "optimisers.pt").unlink()
    read = checkpoint.read_inference(str(saved))
    assert torch.equal(read.weights["phi.weight"], torch.arange(6.0).reshape(2, 3).T)
    assert (read.step, read.ingest, read.collection) == (7, {"h": 2}, "s3://a/b")


def test_an_intact_checkpoint_of_another_make_is_not_called_damaged(saved):
    progress = b"[]"
    (saved / "progress.json").write_bytes(progress)
    commit = json.loads((saved / "COMMIT.json").read_text())
    commit["files"]["progress.json"] = {
        "sha256": "4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945",
        "size": 2,
    }
    (saved / "COMMIT.json").write_text(json.dumps(commit))
    with pytest.raises(UserError, match="intact, but not a checkpoint of this version") as caught:
        checkpoint.load(str(saved))
    assert not isinstance(caught.value, DamagedCheckpoint)


def test_no_pickle_runs_on_loading(saved, tmp_path):
    torch.save({"optimisers": Path("x"), "worker": {}}, saved / "optimisers.pt")
    data = (saved / "optimisers.pt").read_bytes()
    told = json.loads((saved / "COMMIT.json").read_text())
    told["files"]["optimisers.pt"] = commit.fingerprint(data)
    (saved / "COMMIT.json").write_text(json.dumps(told))
    with pytest.raises(UserError, match="not a checkpoint of this version"):
        checkpoint.load(str(saved))


def test_a_run_stands_for_its_newest_committed_checkpoint(tmp_path):
    urls = [checkpoint.save(str(tmp_path), state(step), RECORD) for step in (3, 5, 9)]
    Path(urls[2], "COMMIT.json").unlink()
    assert checkpoint.resolve(str(tmp_path)) == urls[1]
    assert checkpoint.resolve(urls[0]) == urls[0]


def test_prediction_from_a_damaged_checkpoint_names_the_one_to_take_instead(tmp_path):
    urls = [checkpoint.save(str(tmp_path), state(step), RECORD) for step in (3, 5, 9)]
    for url in urls[1:]:
        Path(url, "method.safetensors").write_bytes(b"")
    with pytest.raises(DamagedCheckpoint) as caught:
        checkpoint.read_inference(checkpoint.resolve(str(tmp_path)))
    damage = f"{urls[2]}: damaged: method.safetensors is not what was written"
    assert str(caught.value) == f"{damage}; give {urls[0]}, the newest whole one"
    Path(urls[0], "progress.json").unlink()
    with pytest.raises(DamagedCheckpoint, match=f"{damage}; give another$"):
        checkpoint.read_inference(urls[2])


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ([], "nothing there: give the --run of `selfseg train`"),
        (["holiday.jpg"], "neither a run nor a checkpoint: give the --run"),
        (["run.json"], "this run has no checkpoint yet: let it train"),
        (["settings.json", "method.safetensors"], "this checkpoint was never finished: give"),
    ],
)
def test_what_is_no_checkpoint_is_told_apart(tmp_path, found, complaint):
    for name in found:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=f"^{tmp_path}: {complaint}"):
        checkpoint.resolve(str(tmp_path))


def test_saving_again_replaces_a_damaged_one(saved, tmp_path):
    (saved / "method.safetensors").write_bytes(b"")
    checkpoint.save(str(tmp_path), state(), RECORD)
    commit.verify(str(saved))


def test_on_s3_it_is_the_same(s3):
    run = f"{s3}/checkpoint/run"
    urls = [checkpoint.save(run, state(step), RECORD) for step in (3, 5)]
    assert checkpoint.resolve(run) == urls[1]
    retention.prune(run, 1, newest=5)
    assert checkpoint.newest_whole(run) == (urls[1], [])
