"""A run and the collection it learns from, which grows or of which it sees a part."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from selfseg.contracts import FramePairs
from selfseg.data.collection import Collection
from selfseg.errors import UsageError
from selfseg.experiment import ExperimentConfig
from selfseg.runtime import ray_train
from selfseg.training import checkpoint, run_folder
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc
from tests.toy import Listener
from tests.unit.methods.small_proposal import SMALL

STEPS = 4
CONFIG = ExperimentConfig.model_validate(
    {
        "method": SMALL.inpainters.model_dump(),
        "data": {"height": 32, "width": 32, "batch_size": 3, "gaps": [1], "loader_processes": 0},
        "optim": {"learning_rate": 1e-3},
        "loop": {"steps": STEPS, "checkpoint_every": 2, "threads": 1},
    }
)
FEW = {"swan": moving_disc(5), "car": moving_disc(4, seed=5)}
MORE = {**FEW, "dog": moving_disc(6, seed=8)}


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Train where the test runs instead of on Ray."""

    def work(payload, workers):
        assert workers == 1
        ray_train.train_worker({**payload, "audience": Listener()})

    monkeypatch.setattr(ray_train, "connect", lambda workers: None)
    monkeypatch.setattr(ray_train, "_launch", work)
    # It would settle torch's threads and modes for all tests that come later.
    monkeypatch.setattr(ray_train, "set_up_process", lambda *_, **__: 1)


def train(run: Path, collection_url: str, config: ExperimentConfig = CONFIG) -> None:
    ray_train.train(config, collection_url=collection_url, run_url=str(run))


def break_down_after(steps: int, monkeypatch) -> None:
    batches = ray_train.batches

    def fewer(*arguments, **options) -> Iterator[FramePairs]:
        yield from islice(batches(*arguments, **options), steps)
        raise ConnectionAbortedError

    monkeypatch.setattr(ray_train, "batches", fewer)


def begin(run: Path, collection_url: str, monkeypatch, config: ExperimentConfig = CONFIG) -> None:
    """Train to the first checkpoint and no further."""
    with monkeypatch.context() as patch:
        break_down_after(3, patch)
        with pytest.raises(ConnectionAbortedError):
            train(run, collection_url, config)
    assert checkpoint.committed(str(run)) == [checkpoint.step_url(str(run), 2)]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(checkpoint.step_url(str(run), STEPS))[0].weights)


def assert_bit_equal(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_goes_on_with_what_it_began_with_when_the_collection_has_grown(
    tmp_path, monkeypatch, capsys
):
    url = str(tmp_path / "c")
    old = write_collection(url, FEW, gaps=(1,)).id
    train(tmp_path / "undisturbed", url)
    begin(tmp_path / "run", url, monkeypatch)
    new = write_collection(url, MORE, gaps=(1,)).id
    assert Collection.open(url).manifest_id == new
    train(tmp_path / "run", url)
    assert f"goes on with manifest {old[:16]}, which it began with" in capsys.readouterr().out
    assert_bit_equal(tmp_path / "run", tmp_path / "undisturbed")
    _, record = checkpoint.load(checkpoint.step_url(str(tmp_path / "run"), STEPS))
    assert record.manifest == old
    # Not because the new video made no difference.
    train(tmp_path / "fresh", url)
    with pytest.raises(AssertionError):
        assert_bit_equal(tmp_path / "fresh", tmp_path / "undisturbed")


def test_a_run_that_is_older_than_a_setting_goes_on_with_its_default(tmp_path, monkeypatch):
    url, run = str(tmp_path / "c"), tmp_path / "run"
    write_collection(url, FEW, gaps=(1,))
    train(tmp_path / "undisturbed", url)
    today = ExperimentConfig.model_dump

    def before_there_was_a_fraction(config: ExperimentConfig, **options: object) -> dict:
        settings = today(config, **options)
        del settings["data"]["fraction"]
        return settings

    with monkeypatch.context() as patch:
        patch.setattr(ExperimentConfig, "model_dump", before_there_was_a_fraction)
        begin(run, url, monkeypatch)
    record = run_folder.read_record(str(run))
    assert record is not None
    assert "fraction" not in record.settings["data"]
    with pytest.raises(UsageError, match=r"data.fraction=null \(now 0.5\)"):
        train(run, url, CONFIG.override({"data.fraction": 0.5}))
    train(run, url)
    assert_bit_equal(run, tmp_path / "undisturbed")


def test_a_run_learns_from_the_manifest_that_the_url_names(tmp_path):
    url = str(tmp_path / "c")
    old = write_collection(url, FEW, gaps=(1,)).id
    train(tmp_path / "before", url)
    new = write_collection(url, MORE, gaps=(1,)).id
    train(tmp_path / "after", f"{url}@{old[:8]}")
    assert_bit_equal(tmp_path / "before", tmp_path / "after")
    record = run_folder.read_record(str(tmp_path / "after"))
    assert record is not None
    assert (record.collection, record.manifest) == (url, old)
    with pytest.raises(UsageError, match=f"was started with .* manifest {old[:12]}: repeat"):
        train(tmp_path / "after", f"{url}@{new[:8]}")


def test_a_run_on_a_subset_goes_on_bit_for_bit_and_not_on_another(tmp_path, monkeypatch):
    url = str(tmp_path / "c")
    write_collection(url, MORE, gaps=(1,))
    part = CONFIG.override({"data.fraction": 0.5})
    train(tmp_path / "undisturbed", url, part)
    begin(tmp_path / "run", url, monkeypatch, part)
    with pytest.raises(UsageError, match=r"data.fraction_seed=0 \(now 1\)"):
        train(tmp_path / "run", url, part.override({"data.fraction_seed": 1}))
    train(tmp_path / "run", url, part)
    assert_bit_equal(tmp_path / "run", tmp_path / "undisturbed")
