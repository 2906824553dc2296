"""A run and the collection it learns from, which grows or of which it sees a part."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
import torch

from selfseg import storage
from selfseg.contracts import FramePairs
from selfseg.data.format.manifest import lineage
from selfseg.data.format.schema import IMAGE
from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError, UserError
from selfseg.experiment import ExperimentConfig
from selfseg.reporting import results
from selfseg.reporting.collect import read_run
from selfseg.runtime import ray_train
from selfseg.training import checkpoint, run_folder
from tests.exact_collection import damage, write_collection
from tests.integration.test_bootstrap_run import CONFIG as ROUNDS
from tests.synthetic import Scene, moving_disc
from tests.toy import Alone, Listener
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
MOST = {**MORE, "cat": moving_disc(3, seed=9)}
FOLLOWING = CONFIG.override(
    {
        "data.follow": True,
        "data.augmentation.reverse": 0,
        "loop.steps": 10,
        "loop.checkpoint_every": 2,
        "loop.keep_checkpoints": 9,
    }
)
FEW_SAMPLES = 4 + 3
"""A video's last frame has no next one."""


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Train where the test runs instead of on Ray."""

    listener = Listener()

    def work(payload, crew, config):
        assert crew == (1, 1)
        ray_train.train_worker({**payload, "audience": listener, "meeting": Alone()})

    monkeypatch.setattr(ray_train, "connect", lambda workers: None)
    monkeypatch.setattr(ray_train, "_launch", work)
    # It would settle torch's threads and modes for all tests that come later.
    monkeypatch.setattr(ray_train, "set_up_process", lambda *_, **__: 1)
    return listener


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


def weights(run: Path, step: int = STEPS) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(checkpoint.step_url(str(run), step))[0].weights)


def assert_bit_equal(one: Path, other: Path, step: int = STEPS) -> None:
    first, second = weights(one, step), weights(other, step)
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

    def before_there_was_a_fraction(config: ExperimentConfig, **options: Any) -> dict:
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


def growing(monkeypatch, url: str, additions: dict[int, dict[str, Scene]]) -> list[list[str]]:
    """Write more videos just before a step's batch is read; return whose frames each step reads."""
    batches, left = ray_train.batches, dict(additions)
    seen: list[list[str]] = []

    def watched(*arguments, step: int, **options) -> Iterator[FramePairs]:
        stream = batches(*arguments, step=step, **options)
        del seen[step:]
        for number in count(step):
            if scenes := left.pop(number, None):
                write_collection(url, scenes, gaps=(1,))
            batch = next(stream)
            seen.append([key.partition("-")[0] for key in batch.keys])
            yield batch

    monkeypatch.setattr(ray_train, "batches", watched)
    return seen


def test_each_round_learns_from_what_has_arrived_and_goes_on_bit_for_bit(tmp_path, monkeypatch):
    url = str(tmp_path / "c")
    write_collection(url, MORE, gaps=(1,))
    config = ROUNDS.override(
        {"data.growth": [0.3, 0.6, 1], "data.rehearsal": 0.5, "data.augmentation.reverse": 0}
    )
    seen = growing(monkeypatch, url, {})
    with monkeypatch.context() as patch:
        break_down_after(7, patch)
        with pytest.raises(ConnectionAbortedError):
            train(tmp_path / "run", url, config)
    train(tmp_path / "run", url, config)
    # Round 0 has 2 steps, the others 4; of three videos one, two and three have arrived.
    first, second = (
        {video for videos in part for video in videos} for part in (seen[:2], seen[2:6])
    )
    assert (len(first), len(second)) == (1, 2)
    assert first < second
    assert all(len(first & set(videos)) == 1 for videos in seen[2:6])
    assert all(len(second & set(videos)) == 1 for videos in seen[6:])
    train(tmp_path / "undisturbed", url, config)
    assert_bit_equal(tmp_path / "run", tmp_path / "undisturbed", 10)


def course(run: Path) -> list[tuple[int, str]]:
    return [(move["step"], move["manifest"]) for move in read_run(str(run)).course]


def ids(url: str) -> list[str]:
    return [manifest_id for manifest_id, _ in lineage(url)][::-1]


def test_a_run_that_follows_moves_on_where_an_epoch_ends(tmp_path, monkeypatch, in_this_process):
    url, run = str(tmp_path / "c"), tmp_path / "run"
    write_collection(url, FEW, gaps=(1,))
    seen = growing(monkeypatch, url, {1: MORE, 5: MOST})
    train(run, url, FOLLOWING)
    # 7 samples in batches of 3: step 3 is the first that begins in the second epoch; then 12, and
    # 4 steps, in which every sample is read once.
    assert -(-FEW_SAMPLES // 3) == 3
    assert course(run) == list(zip((0, 3, 7), ids(url), strict=True))
    assert set().union(*seen[:3]) == set(FEW)
    assert set().union(*seen[3:7]) == set(MORE)
    assert "cat" in set().union(*seen[7:])
    assert in_this_process.notes() == [
        f"step {step}: the collection has grown by 1 videos; the run goes on with manifest "
        f"{manifest_id[:16]}"
        for step, manifest_id in course(run)[1:]
    ]
    scored = results.read_run(str(run), count_videos=True)
    assert scored.facts["collection.videos"] == len(MOST)


def test_a_run_that_follows_rehearses(tmp_path, monkeypatch):
    url = str(tmp_path / "c")
    write_collection(url, FEW, gaps=(1,))
    seen = growing(monkeypatch, url, {0: MORE})
    config = FOLLOWING.override({"data.rehearsal": 0.3, "data.batch_size": 4})
    train(tmp_path / "run", url, config)
    assert course(tmp_path / "run")[1][0] == 2
    # 0.3 of 4 is 1.
    assert [videos.count("dog") for videos in seen] == [0, 0, *[3] * 8]


@pytest.mark.parametrize("stop", [3, 4, 5, 8, 9])
def test_stopped_before_or_after_a_move_it_goes_on_bit_for_bit(tmp_path, monkeypatch, stop):
    additions = {1: MORE, 5: MOST}
    for name in ("whole", "broken"):
        write_collection(str(tmp_path / f"{name}-c"), FEW, gaps=(1,))
    with monkeypatch.context() as patch:
        growing(patch, str(tmp_path / "whole-c"), additions)
        train(tmp_path / "whole", str(tmp_path / "whole-c"), FOLLOWING)
    broken, url = tmp_path / "broken", str(tmp_path / "broken-c")
    with monkeypatch.context() as patch:
        growing(patch, url, additions)
        break_down_after(stop, patch)
        with pytest.raises(ConnectionAbortedError):
            train(broken, url, FOLLOWING)
    assert checkpoint.committed(str(broken))[-1] == checkpoint.step_url(
        str(broken), stop - stop % 2
    )
    with monkeypatch.context() as patch:
        growing(patch, url, {step: each for step, each in additions.items() if step >= stop})
        train(broken, url, FOLLOWING)
    assert course(broken) == course(tmp_path / "whole")
    assert_bit_equal(broken, tmp_path / "whole", 10)


def test_following_a_collection_that_stays_as_it_is_changes_nothing(tmp_path):
    url = str(tmp_path / "c")
    write_collection(url, FEW, gaps=(1,))
    train(tmp_path / "follows", url, FOLLOWING)
    train(tmp_path / "stays", url, FOLLOWING.override({"data.follow": False}))
    assert_bit_equal(tmp_path / "follows", tmp_path / "stays", 10)


def test_a_manifest_that_did_not_grow_from_the_runs_own_is_not_followed(
    tmp_path, monkeypatch, in_this_process
):
    url = str(tmp_path / "c")
    old = write_collection(url, FEW, gaps=(1,)).id
    (tmp_path / "c" / "LATEST").unlink()
    stranger = write_collection(url, MORE, gaps=(1,))
    assert stranger.parent is None
    seen = growing(monkeypatch, url, {})
    train(tmp_path / "run", f"{url}@{old[:8]}", FOLLOWING)
    assert in_this_process.notes() == [
        f"{url}: the run does not go on with manifest {stranger.id[:16]}: it did not grow from "
        f"{old[:16]}, which the run reads"
    ]
    assert set().union(*seen) == set(FEW)
    assert course(tmp_path / "run") == [(0, old)]


def keys_of_step(url: str, config: ExperimentConfig, step: int) -> tuple[str, ...]:
    stream = ray_train.batches(
        Collection.open(url), config.data, seed=config.seed, step=step, rank=0, world_size=1
    )
    return next(stream).keys


def newly_read_in(step: int, url: str, config: ExperimentConfig) -> str:
    """Return a sample that a step is the first to read."""
    before = {key for number in range(step) for key in keys_of_step(url, config, number)}
    return next(key for key in keys_of_step(url, config, step) if key not in before)


@pytest.mark.parametrize("stop", [3, 5, 6])
def test_a_run_that_lost_a_shard_goes_on_bit_for_bit(tmp_path, monkeypatch, in_this_process, stop):
    url, broken = str(tmp_path / "c"), tmp_path / "broken"
    write_collection(url, MORE, gaps=(1,))
    config = FOLLOWING.override({"data.follow": False, "data.quarantine": 1})
    train(tmp_path / "undamaged", url, config)
    assert in_this_process.notes() == []
    assert read_run(str(tmp_path / "undamaged")).course == []
    key = newly_read_in(3, url, config)
    shard = damage(Collection.open(url), key).name
    train(tmp_path / "whole", url, config)
    (loss,) = read_run(str(tmp_path / "whole")).course
    assert (loss["step"], loss["shard"]) == (3, shard)
    assert key in loss["cause"]
    assert in_this_process.notes()[0].startswith(f"step 3: the run goes on without shard {shard} ")
    with monkeypatch.context() as patch:
        break_down_after(stop, patch)
        with pytest.raises(ConnectionAbortedError):
            train(broken, url, config)
    train(broken, url, config)
    assert read_run(str(broken)).course == [loss]
    assert_bit_equal(broken, tmp_path / "whole", 10)
    with pytest.raises(AssertionError):
        assert_bit_equal(tmp_path / "whole", tmp_path / "undamaged", 10)
    with pytest.raises(UserError, match=rf"{shard}\.tar: damaged at {key}"):
        train(tmp_path / "strict", url, config.override({"data.quarantine": 0}))


def test_what_is_not_verified_is_learned_from_as_it_is(tmp_path):
    url = str(tmp_path / "c")
    write_collection(url, FEW, gaps=(1,))
    for shard in (tmp_path / "c" / "shards").glob("*.tar"):
        content = bytearray(shard.read_bytes())
        for ordinal in range(len(collection := Collection.open(url))):
            opened, _ = collection.place(ordinal)
            if opened.url == str(shard):
                span = collection.record(ordinal).parts[IMAGE]
                content[span.offset + 15] ^= 1  # the density that JFIF tells: no pixel changes
        shard.write_bytes(content)
    with pytest.raises(UserError, match="its checksum differs"):
        train(tmp_path / "strict", url)
    train(tmp_path / "trusting", url, CONFIG.override({"data.verify": False}))
    assert checkpoint.resolve(str(tmp_path / "trusting")).endswith(f"{STEPS:08d}")


def test_an_outage_that_a_worker_meets_is_told(tmp_path, monkeypatch, in_this_process):
    url = str(tmp_path / "c")
    write_collection(url, FEW, gaps=(1,))
    told: list[Any] = []
    monkeypatch.setattr(storage, "tell_of_waiting", told.append)
    train(tmp_path / "run", url)
    (tell,) = told
    tell("the store is away")
    assert in_this_process.notes()[-1] == "worker 0: the store is away"
