"""Both stages of the proposal method on shards: they go on where they were stopped, in either."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from selfseg.contracts import Detector, FramePairs
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.loader import batches
from selfseg.errors import UsageError
from selfseg.experiment import ExperimentConfig, begin, build_method, load_model
from selfseg.training import checkpoint, run_folder, session
from selfseg.training.checkpoint import RunRecord
from selfseg.training.trainee import Plan
from selfseg.training.worker import AcceleratedWorker
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tests.toy import Listener
from tests.unit.methods.small_proposal import SMALL

LOADED = {
    "data": {"height": 32, "width": 32, "batch_size": 3, "gaps": [1], "loader_processes": 0},
    "optim": {"learning_rate": 1e-3, "average": 0.9},
}
CONFIG = ExperimentConfig.model_validate(
    {
        "method": SMALL.override(
            {"inpainter_steps": 6, "proposal_steps": 5, "warmup_steps": 2, "crop_weight": 1.0}
        ).model_dump(),
        "loop": {"steps": 11, "checkpoint_every": 4, "keep_checkpoints": 9},
        **LOADED,
    }
)
INPAINTERS = ExperimentConfig.model_validate(
    {
        "method": SMALL.inpainters.model_dump(),
        "loop": {"steps": 3, "checkpoint_every": 2},
        **LOADED,
    }
)


@pytest.fixture(scope="module")
def collection(tmp_path_factory) -> Collection:
    folder = str(tmp_path_factory.mktemp("collection"))
    write_collection(folder, {"swan": moving_disc(5), "car": moving_disc(4, seed=5)}, gaps=(1,))
    return Collection.open(folder)


def train(
    run_url: Path,
    collection: Collection,
    *,
    config: ExperimentConfig = CONFIG,
    stop_before: int | None = None,
) -> None:
    """Train as a worker does; with `stop_before`, break down while fetching that step's batch."""
    torch.manual_seed(0)
    method = build_method(config.method)

    def open_batches(step: int) -> Iterator[FramePairs]:
        stream = partial(batches, collection, config.data, seed=0, rank=0, world_size=1)
        moving = method.wants_motion
        for number, batch in enumerate(stream(step=step, moving=moving), start=step):
            if number == stop_before:
                raise ConnectionAbortedError
            yield batch

    record = RunRecord(
        settings=config.model_dump(mode="json"),
        collection=collection.url,
        manifest=collection.manifest_id,
        ingest=collection.manifest.settings.model_dump(mode="json"),
    )
    run_folder.claim(str(run_url), record, command="")
    plan = Plan(str(run_url), record, 0, config.optim, config.loop)
    session.run(
        plan,
        method,
        open_batches,
        worker=AcceleratedWorker(),
        audience=Listener(),
        begin=partial(begin, method, config),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory, collection) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    train(folder, collection)
    return folder


def weights(run_url: Path, step: int) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(checkpoint.step_url(str(run_url), step))[0].weights)


def players_that_differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    assert one.keys() == other.keys()
    return {name.split(".")[0] for name in one if not torch.equal(one[name], other[name])}


@pytest.mark.parametrize("stop_before", [2, 5, 6, 9])
def test_stopped_in_or_between_stages_it_goes_on_bit_for_bit(
    tmp_path, collection, whole, stop_before
):
    with pytest.raises(ConnectionAbortedError):
        train(tmp_path, collection, stop_before=stop_before)
    train(tmp_path, collection)
    assert not players_that_differ(weights(whole, 11), weights(tmp_path, 11))


def test_the_end_of_the_first_stage_is_kept_and_in_each_stage_its_own_players_learn(whole):
    inpainters = {"image_inpainter", "flow_inpainter"}
    assert players_that_differ(weights(whole, 4), weights(whole, 6)) == inpainters
    assert players_that_differ(weights(whole, 6), weights(whole, 8)) == {"proposer"}


def test_a_trained_run_finds_objects(whole, collection):
    method = load_model(checkpoint.resolve(str(whole)), torch.device("cpu")).method
    assert isinstance(method, Detector)
    stream = batches(collection, CONFIG.data, seed=0, step=0, rank=0, world_size=1)
    found = method.detect(next(stream).image[0], objects=2)
    assert 1 <= len(found.masks) <= 2
    assert found.masks.shape[1:] == (32, 32)


@pytest.fixture(scope="module")
def inpainters(tmp_path_factory, collection) -> Path:
    folder = tmp_path_factory.mktemp("inpainters")
    train(folder, collection, config=INPAINTERS)
    return folder


def only_proposals(**changes: Any) -> ExperimentConfig:
    return CONFIG.override({"method.inpainter_steps": 0, "loop.steps": 5, **changes})


def test_inpainters_of_another_run_are_taken_over_and_stay_as_they_are(
    tmp_path, collection, inpainters
):
    start = dict.fromkeys(("image_inpainter", "flow_inpainter"), str(inpainters))
    train(tmp_path, collection, config=only_proposals(start=start))
    theirs = checkpoint.read_inference(checkpoint.step_url(str(inpainters), 3)).weights
    ours = weights(tmp_path, 5)
    assert theirs.keys() == {name for name in ours if not name.startswith("proposer.")}
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, "image_inpainter"),
        ({"start": {"image_inpainter": "run"}}, "flow_inpainter"),
        ({"method.flow_weight": 0}, "image_inpainter"),
    ],
    ids=["both", "flow", "without flow"],
)
def test_without_steps_of_their_own_inpainters_must_come_from_a_run(changes, missing):
    config = only_proposals(**changes)
    with pytest.raises(UsageError, match=rf"^proposal begins .*: add --set start\.{missing}=RUN$"):
        begin(build_method(config.method), config)


def test_a_known_background_needs_no_inpainter():
    config = only_proposals(**{"method.background": "known"})
    begin(build_method(config.method), config)


def test_stages_that_do_not_add_up_are_named():
    with pytest.raises(UsageError, match=r"^setting: loop\.steps must be 12, the sum"):
        CONFIG.override({"method.inpainter_steps": 7})
