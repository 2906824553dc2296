"""A folder belongs to one run; a rerun under other conditions is told what differs."""

import json

import pytest
import torch

from selfseg.errors import UsageError
from selfseg.training import checkpoint
from selfseg.training.checkpoint import RunRecord, TrainingState
from selfseg.training.run_folder import claim, read_record

SETTINGS = {"seed": 0, "loop": {"steps": 10, "precision": "no"}}


def record(
    manifest: str = "a" * 64, collection: str = "/data/one", **settings: object
) -> RunRecord:
    return RunRecord(
        settings=SETTINGS | settings, collection=collection, manifest=manifest, ingest={}
    )


@pytest.fixture
def run(tmp_path):
    """Give the URL of a run that has a checkpoint."""
    claim(str(tmp_path), record(), command="selfseg train ...")
    checkpoint.save(
        str(tmp_path), TrainingState(1, 0, {"w": torch.ones(1)}, None, {}, {}), record()
    )
    return str(tmp_path)


def test_the_folder_says_what_it_was_started_with(run, tmp_path):
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["settings"] == SETTINGS
    assert document["command"] == "selfseg train ..."
    assert {"selfseg", "torch", "ray"} == set(document["versions"])
    assert read_record(run) == record()


def test_the_same_run_may_go_on_also_when_its_collection_has_moved(run):
    claim(run, record(collection="s3://new/place"), command="")
    assert read_record(run) == record()


@pytest.mark.parametrize(
    ("wanted", "difference"),
    [
        (record(seed=4), r"seed=0 \(now 4\)"),
        (record(loop={"steps": 10, "precision": "bf16"}), r'loop.precision="no" \(now "bf16"\)'),
        (record(manifest="b" * 64), "collection /data/one with manifest aaaaaaaaaaaa"),
    ],
)
def test_what_differs_is_named(run, wanted, difference):
    with pytest.raises(UsageError, match=f"was started with {difference}: repeat that command"):
        claim(run, wanted, command="")


def test_a_run_without_a_checkpoint_has_nothing_to_lose(tmp_path):
    claim(str(tmp_path), record(), command="")
    claim(str(tmp_path), record(seed=4), command="")
    assert read_record(str(tmp_path)) == record(seed=4)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UsageError, match=r"holds something else \(holiday.jpg\): give an empty"):
        claim(str(tmp_path), record(), command="")
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_run_json_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "run.json").write_text('{"name": "marathon"}')
    with pytest.raises(UsageError, match=r"its run.json is not one of a run"):
        claim(str(tmp_path), record(), command="")
