"""Algorithm 1 on shards, and then chi on stills: both go on where they were stopped."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from selfseg.contracts import FramePairs
from selfseg.data.reading.collection import Collection
from selfseg.data.reading.loader import batches
from selfseg.errors import UsageError, UserError
from selfseg.experiment import ExperimentConfig, begin, build_method, load_model, round_checkpoint
from selfseg.prediction.subjects import Subject
from selfseg.training import checkpoint, run_folder, session
from selfseg.training.checkpoint import RunRecord
from selfseg.training.trainee import Plan
from selfseg.training.worker import AcceleratedWorker
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tests.toy import Listener

CONFIG = ExperimentConfig.model_validate(
    {
        "method": {
            "name": "dystab_bootstrap",
            "dynamic": {
                "segmenter": "unet",
                "unet_width": 8,
                "psi": "affine",
                "imitation_steps": 2,
            },
            "static": {
                "network": "pyramid",
                "encoder": "squeezenet1_0",
                "delta": -1,
                "first_delta": -1,
            },
            "initial_steps": 2,
            "rounds": 2,
            "static_steps": 2,
            "dynamic_steps": 2,
        },
        "data": {"height": 32, "width": 48, "batch_size": 2, "gaps": [1], "loader_processes": 0},
        "optim": {"learning_rate": 1e-3, "average": 0.9},
        "loop": {"steps": 10, "checkpoint_every": 3, "keep_checkpoints": 9},
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
        moving = method.views != ("static",)
        stream = partial(batches, collection, config.data, seed=0, rank=0, world_size=1)
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


def weights(run_url: Path | str, step: int) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(checkpoint.step_url(str(run_url), step))[0].weights)


@pytest.mark.parametrize("stop_before", [3, 6, 7, 9])
def test_stopped_in_or_between_rounds_it_goes_on_bit_for_bit(
    tmp_path, collection, whole, stop_before
):
    with pytest.raises(ConnectionAbortedError):
        train(tmp_path, collection, stop_before=stop_before)
    train(tmp_path, collection)
    expected, found = weights(whole, 10), weights(tmp_path, 10)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_each_rounds_models_are_found_by_number(whole):
    ends = [2, 6, 10]
    for number, step in enumerate(ends):
        url = round_checkpoint(str(whole), number)
        assert url == checkpoint.step_url(str(whole), step)
        assert load_model(url, torch.device("cpu")).round == number
    within = checkpoint.step_url(str(whole), 3)
    assert load_model(within, torch.device("cpu")).round is None
    with pytest.raises(UsageError, match=r"--round 3: .* has rounds 0 to 2"):
        round_checkpoint(str(whole), 3)


@pytest.mark.parametrize("asked", [None, 1], ids=["by its checkpoint", "by its number"])
def test_a_score_knows_the_round_that_it_is_of(whole, asked):
    url = str(whole) if asked else round_checkpoint(str(whole), 1)
    benchmark = SimpleNamespace(sources=[SimpleNamespace(still=False)])
    settled = Subject(checkpoint=url, round=asked).settled(benchmark)  # pyright: ignore[reportArgumentType] # a stand-in
    assert settled.checkpoint == checkpoint.step_url(str(whole), 6)
    assert (settled.round, settled.view, settled.seed) == (1, "fused", 0)


def test_a_round_that_is_not_complete_yet_is_named(tmp_path, collection):
    with pytest.raises(ConnectionAbortedError):
        train(tmp_path, collection, stop_before=7)
    assert round_checkpoint(str(tmp_path), 1).endswith("step_00000006")
    with pytest.raises(UserError, match="round 2 is not complete"):
        round_checkpoint(str(tmp_path), 2)


def test_in_each_phase_its_own_players_learn(whole):
    before, static, dynamic = (weights(whole, step) for step in (2, 3, 6))
    chi, phi = "static.head.weight", "segmenter.head.weight"
    assert torch.equal(before[phi], static[phi])
    assert not torch.equal(before[chi], static[chi])
    assert not torch.equal(static[phi], dynamic[phi])


def test_a_run_can_start_with_another_runs_players(tmp_path, collection, whole):
    started = CONFIG.override(
        {"method.initial_steps": 0, "loop.steps": 8, "start": {"segmenter": str(whole)}}
    )
    with pytest.raises(ConnectionAbortedError):
        train(tmp_path, collection, config=started, stop_before=2)
    begun = weights(tmp_path, 2)  # chi's phase has ended, phi has not moved yet
    average = checkpoint.read_inference(checkpoint.step_url(str(whole), 10)).weights
    name = "segmenter.head.weight"
    assert torch.equal(begun[name], average[name])


def test_a_player_that_begins_elsewhere_needs_no_initial_weights(tmp_path, whole):
    """A run that is fine-tuned needs neither a network nor the file that the first one had."""
    missing = {"method.static.weights": str(tmp_path / "missing.pt")}
    started = CONFIG.override({**missing, "start": {"static": str(whole)}})
    method = build_method(started.method)
    begin(method, started)
    average = checkpoint.read_inference(checkpoint.step_url(str(whole), 10)).weights
    chi = method.players["static"].state_dict()
    assert all(torch.equal(chi[name], average[f"static.{name}"]) for name in chi)
    fresh = CONFIG.override(missing)
    with pytest.raises(UserError, match=r"missing\.pt"):
        begin(build_method(fresh.method), fresh)


def test_what_it_cannot_start_with_is_named(tmp_path, collection, whole):
    method = build_method(CONFIG.method)
    for start, reason in (
        ({"painter": str(whole)}, "no such player; there are segmenter, static, earlier"),
        ({"static": str(tmp_path)}, "nothing there"),
    ):
        with pytest.raises(UserError, match=reason):
            begin(method, CONFIG.override({"start": start}))
    other = CONFIG.override({"method.dynamic.unet_width": 16, "start": {"segmenter": str(whole)}})
    with pytest.raises(UsageError, match=r"start\.segmenter: .* has another network in its place"):
        begin(build_method(other.method), other)


def test_a_misspelt_setting_of_a_method_is_named_by_the_path_that_it_was_given_by():
    """Not by pydantic's, on which the name of the method lies between its keys."""
    with pytest.raises(UsageError, match=r"^setting: method\.static\.colour: no such setting$"):
        CONFIG.override({"method.static.colour": 1})


def test_steps_that_do_not_add_up_are_named():
    with pytest.raises(UsageError, match=r"^setting: loop\.steps must be 11, the sum"):
        CONFIG.override({"method.initial_steps": 3})


@pytest.fixture(scope="module")
def stills(tmp_path_factory) -> Collection:
    folder = str(tmp_path_factory.mktemp("stills"))
    scenes = {f"photo{n}": moving_disc(1, seed=n) for n in range(5)}
    write_collection(folder, scenes, with_flow=False)
    return Collection.open(folder)


def on_stills(start: str) -> ExperimentConfig:
    """Return settings that go on with the chi of a bootstrapped run, without motion."""
    method = {
        "name": "dystab_self_training",
        "static": CONFIG.model_dump()["method"]["static"],
        "rounds": 2,
        "static_steps": 2,
    }
    settings = CONFIG.model_dump(mode="json") | {"method": method, "start": {"static": start}}
    settings["loop"]["steps"] = 4
    return ExperimentConfig.model_validate(settings)


@pytest.mark.parametrize("stop_before", [1, 2, 3])
def test_chi_goes_on_from_a_bootstrap_on_stills_alone_and_bit_for_bit(
    tmp_path, stills, whole, stop_before
):
    config = on_stills(str(whole))
    train(tmp_path / "straight", stills, config=config)
    with pytest.raises(ConnectionAbortedError):
        train(tmp_path / "stopped", stills, config=config, stop_before=stop_before)
    train(tmp_path / "stopped", stills, config=config)
    expected, found = (weights(tmp_path / name, 4) for name in ("straight", "stopped"))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    # In the first round chi' is the run's chi, in the second what the first has made of it.
    began = checkpoint.read_inference(checkpoint.step_url(str(whole), 10)).weights
    first = weights(tmp_path / "straight", 2)
    name = "head.weight"
    assert torch.equal(first[f"earlier.{name}"], began[f"static.{name}"])
    assert not torch.equal(first[f"static.{name}"], began[f"static.{name}"])
    assert torch.equal(expected[f"earlier.{name}"], first[f"static.{name}"])


def test_its_rounds_count_from_one_and_it_sees_by_chi_alone(tmp_path, stills, whole):
    train(tmp_path, stills, config=on_stills(str(whole)))
    for number in (1, 2):
        model = load_model(round_checkpoint(str(tmp_path), number), torch.device("cpu"))
        assert (model.round, model.method.views) == (number, ("static",))
    with pytest.raises(UsageError, match=r"--round 0: .* has rounds 1 to 2"):
        round_checkpoint(str(tmp_path), 0)


def test_self_training_without_a_trained_chi_is_refused():
    config = on_stills("").override({"start": {}})
    with pytest.raises(
        UsageError, match=r"^dystab_self_training begins with a trained static.* start\.static=RUN"
    ):
        begin(build_method(config.method), config)


def test_rounds_of_self_training_that_do_not_add_up_are_named():
    with pytest.raises(UsageError, match=r"^setting: loop\.steps must be 6, the sum"):
        on_stills("").override({"method.rounds": 3})
