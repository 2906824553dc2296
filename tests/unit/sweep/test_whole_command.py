"""A sweep's command from its options to its report; only Ray, training and scores are pretended."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import command
import pytest
import torch

from selfseg.data.reading.collection import Collection
from selfseg.errors import UsageError, UserError
from selfseg.prediction.benchmarks import Benchmark
from selfseg.runtime import ray_train
from selfseg.runtime import trial as trials_work
from selfseg.runtime.trial import Work, take
from selfseg.sweep.choice import read_chosen
from selfseg.sweep.plan import Halving, Trial
from selfseg.sweep.ran import Ran
from selfseg.training import attempts, checkpoint, run_folder
from selfseg.training.checkpoint import TrainingState
from tests.exact_collection import write_collection
from tests.synthetic import Scene, moving_disc
from tests.unit.sweep.toy_sweep import SWEEP

VIDEOS = ("bus", "car", "cat", "dog")
VALIDATION, TEST = ("bus", "cat"), ("car", "dog")
CELLS = [cell.name for cell in SWEEP.cells]
BEST = CELLS[2]
STEPS = 9


def scenes_of(names: Sequence[str]) -> dict[str, Scene]:
    return {name: moving_disc(3, seed=place) for place, name in enumerate(names)}


class Pretended:
    """What a sweep asks of Ray, and what of training and scoring would take long."""

    def __init__(self, output: Path, videos: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.output, self.videos = output, videos
        self.trained: list[tuple[str, int | None, str]] = []
        self.scored: list[tuple[str, tuple[str, ...]]] = []
        self.interrupted_after = len(CELLS) * 3
        monkeypatch.setattr(command, "connect", lambda workers: None)
        monkeypatch.setattr(command, "slots", lambda workers: 4)
        monkeypatch.setattr(command, "neighbours", lambda workers: 2)
        monkeypatch.setattr(command, "run", self._run)
        monkeypatch.setattr(ray_train, "train", self._train)
        monkeypatch.setattr(trials_work, "gpus_for", lambda workers: False)
        monkeypatch.setattr(trials_work, "each", self._each)
        monkeypatch.setattr(trials_work, "score", self._score)

    def __call__(self, *options: str) -> None:
        """Type the command."""
        short = {"method.inpainter_steps": 4, "method.proposal_steps": 5, "loop.steps": STEPS}
        told = ["--collection", self.videos, "--output", str(self.output), "--size", "cpu"]
        told += [part for name, value in short.items() for part in ("--set", f"{name}={value}")]
        args = command.build_parser(lambda size: SWEEP).parse_args([*told, *options])
        command.perform(SWEEP, args)

    def forget(self) -> None:
        self.trained.clear()
        self.scored.clear()

    def _run(self, trials: Sequence[Trial], work: Work, *, halving: Halving, **_: object) -> Ran:
        for trial in trials:
            for step in halving.steps(trial.config):
                if len(self.trained) >= self.interrupted_after:
                    raise KeyboardInterrupt
                take(trial, step, halving, work)
        return Ran(at_once=1)

    def _train(
        self, config: Any, *, collection_url: str, run_url: str, until: int | None, **_: object
    ) -> None:
        self.trained.append((Path(run_url).name, until, collection_url))
        state = TrainingState(until or STEPS, 0, {"w": torch.ones(1)}, None, {}, {})
        record = ray_train.record_of(config, Collection.open(collection_url), None)
        run_folder.claim(run_url, record, command="")
        checkpoint.save(run_url, state, record)

    def _each(
        self, call: Callable[[str], Any], urls: Sequence[str], **_: object
    ) -> list[tuple[str, Any]]:
        return [(url, call(url)) for url in urls]

    def _score(
        self, url: str, measure: Any, benchmark: Benchmark, *, validation: Benchmark, **_: object
    ) -> list[dict[str, Any]]:
        assert tuple(source.name for source in validation.sources) == VALIDATION
        self.scored.append((Path(url).name, tuple(source.name for source in benchmark.sources)))
        score = 0.9 if BEST in url else 0.5
        about = {"view": "static", "round": None, "crf": False, "benchmark": benchmark.name}
        return [{measure.name: score, **about, "sequences": {}}]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("videos"))
    write_collection(url, scenes_of(VIDEOS), with_masks=True)
    return url


@pytest.fixture
def sweep(videos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    return Pretended(tmp_path / "sweep", videos, monkeypatch)


def test_all_cells_are_scored_on_the_validation_part_and_the_best_once_on_the_test_part(sweep):
    sweep()
    state = f"{sweep.videos}@{Collection.open(sweep.videos).manifest_id[:8]}"
    names = [f"{cell},seed=0" for cell in CELLS]
    assert [(name, until) for name, until, _ in sweep.trained] == [(name, None) for name in names]
    assert all(url.startswith(state) for _, _, url in sweep.trained)
    best = f"{BEST},seed=0"
    assert sweep.scored == [*((name, VALIDATION) for name in names), (best, TEST)]
    assert BEST in (sweep.output / "report.html").read_text()
    assert len((sweep.output / "results.csv").read_text().splitlines()) == 1 + len(CELLS)

    sweep.forget()
    sweep()
    assert sweep.trained == sweep.scored == []


def test_the_first_cells_alone_look_at_no_test_part(sweep):
    sweep("--trials", "3")
    assert sweep.scored == [(f"{cell},seed=0", VALIDATION) for cell in CELLS[:3]]
    assert read_chosen(str(sweep.output)) is None


def test_a_dry_run_does_nothing(sweep):
    sweep("--dry-run")
    assert sweep.trained == sweep.scored == []
    assert not sweep.output.exists()


def test_in_rungs_trials_pause_at_each(sweep):
    sweep("--trials", "1", "--scheduler", "asha")
    assert [until for _, until, _ in sweep.trained] == [1, 3, None]


def test_scored_on_other_frames_all_is_scored_again_and_nothing_trained_anew(sweep):
    sweep()
    sweep.forget()
    sweep("--every", "2")
    assert len(sweep.scored) == len(CELLS) + 1
    chosen = read_chosen(str(sweep.output))
    assert chosen is not None
    assert chosen.before == (BEST,)


def test_videos_that_come_later_change_nothing(sweep, tmp_path):
    sweep.videos = shutil.copytree(sweep.videos, str(tmp_path / "grows"))
    sweep()
    sweep.forget()
    write_collection(sweep.videos, scenes_of((*VIDEOS, "swan")), with_masks=True)
    state = command.pinned(sweep.videos, str(sweep.output))
    sweep("--score-on", state)
    assert sweep.trained == []
    sweep("--seeds", "2", "--score-on", state)
    assert [url for _, _, url in sweep.trained] == [state] * len(CELLS)


def test_other_settings_on_the_same_output_are_refused_before_anything_trains(sweep):
    sweep()
    sweep.forget()
    with pytest.raises(UsageError, match=r"was started with data\.batch_size="):
        sweep("--set", "data.batch_size=2")
    assert sweep.trained == []


def test_an_interrupt_leaves_the_table_and_the_report_of_what_there_is(sweep):
    sweep.interrupted_after = 2
    with pytest.raises(KeyboardInterrupt):
        sweep()
    rows = (sweep.output / "results.csv").read_text().splitlines()
    assert [row.count(",finished,") for row in rows] == [0, 1, 1, 0, 0, 0, 0]
    text = (sweep.output / "report.html").read_text()
    assert "No cell is chosen before all trials are over" in text


def test_a_second_command_takes_the_sweep_over_and_the_first_trains_no_more(sweep, monkeypatch):
    train = ray_train.train

    def taken_over(config: Any, **how: Any) -> None:
        train(config, **how)
        attempts.take_over(str(sweep.output), time.time() + 1)

    with monkeypatch.context() as patch:
        patch.setattr(ray_train, "train", taken_over)
        with pytest.raises(UserError, match=r"sweep: another command has taken over this run"):
            sweep()
    assert len(sweep.trained) == 1
    sweep()
    assert len(sweep.trained) == len(CELLS)


def test_what_cannot_be_scored_is_said_before_anything_trains(sweep, monkeypatch):
    images = replace(SWEEP, measure=replace(SWEEP.measure, name="iou_mean"))
    monkeypatch.setattr("tests.unit.sweep.test_whole_command.SWEEP", images)
    with pytest.raises(UsageError, match=r"iou_mean is of single images: name some with masks"):
        sweep()
    assert sweep.trained == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--split", "val"], "--benchmark, --split: say where its tree is, by --root DIR"),
        (["--benchmark", "davis16"], "--benchmark, --split: say where its tree is, by --root DIR"),
        (["--root", "d", "--split", "val"], "--split: of which benchmark? Add --benchmark NAME"),
        (["--root", "d", "--score-on", "c"], "--score-on, --root: give one of them"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, told, sweep):
    with pytest.raises(UsageError, match=f"^{told.replace('?', '[?]')}$"):
        sweep(*options)


@pytest.mark.parametrize(
    ("option", "value"),
    [("--trials", "0"), ("--seeds", "-1"), ("--workers", "0"), ("--retries", "-1")],
)
def test_numbers_that_make_no_sense_are_refused(option, value, sweep, capsys):
    with pytest.raises(SystemExit):
        sweep(f"{option}={value}")
    least = 0 if option == "--retries" else 1
    assert f"argument {option}: {value}: must be {least} or more" in capsys.readouterr().err
