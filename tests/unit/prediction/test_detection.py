"""A method that finds objects one by one: what it sees, how it is scored, what it refuses."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from selfseg.cli import main
from selfseg.data.format.settings import IngestSettings
from selfseg.errors import UsageError
from selfseg.evaluation.thresholds import Thresholds
from selfseg.prediction.benchmarks import Benchmark, find_benchmark, held_out
from selfseg.prediction.detection import DetectorSegmenter, object_segmenter
from selfseg.prediction.evaluate import evaluate, record, with_thresholds
from selfseg.prediction.segment import model_segmenter
from selfseg.prediction.sources import Preparation
from selfseg.prediction.subjects import Subject
from tests.synthetic import moving_disc, write_frames, write_masks
from tests.unit.prediction.scenes import (
    BrightIsForeground,
    BrightObjects,
    FastIsForeground,
    model_of,
)

QUIET = Console(quiet=True)
CPU = torch.device("cpu")
RADIUS = 20


def bright_disc(root: Path, name: str, *, empty: tuple[int, ...] = ()) -> None:
    """Film a bright disc on black, as DAVIS lays it out; some frames are black and say so."""
    scene = moving_disc(5, height=96, width=128, radius=RADIUS, velocity=(3, 1))
    masks = scene.masks.copy()
    masks[list(empty)] = False
    frames = np.where(masks[..., None], 250, 0) * np.ones(3)
    write_frames(root / "JPEGImages" / "480p" / name, frames.astype(np.uint8))
    write_masks(root / "Annotations" / "480p" / name, masks)


@pytest.fixture
def benchmark(tmp_path) -> Benchmark:
    for name, empty in (("blinking", (2,)), ("dark", (1, 2, 3)), ("disc", ())):
        bright_disc(tmp_path, name, empty=empty)
    listed = "".join(
        f"/JPEGImages/480p/{name}/00000.jpg x\n" for name in ("blinking", "dark", "disc")
    )
    (tmp_path / "ImageSets" / "480p").mkdir(parents=True)
    (tmp_path / "ImageSets" / "480p" / "val.txt").write_text(listed)
    return find_benchmark(root=str(tmp_path))


def segmenter_of(method: object, **options: Any) -> Any:
    return object_segmenter(
        model_segmenter(model_of(method, height=96, width=128), gaps=None, device=CPU, **options)
    )


def subject_of(method: object, **options: Any) -> Any:
    """Return a subject around a method that was never saved."""
    saved = Subject(name="fake", **options)
    return SimpleNamespace(
        segmenter=lambda: segmenter_of(method),
        title=saved.title,
        crf=saved.crf,
        **{name: getattr(saved, name) for name in ("device", "checkpoint", "baseline", "view")},
        **{name: getattr(saved, name) for name in ("round", "seed", "augment", "gaps")},
    )


def test_a_detector_is_scored_by_its_boxes_and_beside_its_control(benchmark):
    scores = evaluate(subject_of(BrightObjects()), benchmark, processes=1, console=QUIET)
    written = record(subject_of(BrightObjects()), benchmark, scores)
    assert written["j_mean"] > 0.95
    # The control fills the box around a disc, and agrees with an empty truth where nothing is.
    disc = np.pi * RADIUS**2 / (2 * RADIUS + 1) ** 2
    assert written["sequences"]["disc"]["j_bump"] == pytest.approx(disc, abs=0.01)
    assert written["j_bump"] == pytest.approx((disc + (2 * disc + 1) / 3 + 1) / 3, abs=0.01)
    assert written["box_iou"] > 0.9
    assert (written["box_hit"], written["box_iou50"]) == (1, 1)
    assert written["map50"] == pytest.approx(1)
    assert "box_hit" not in written["sequences"]["dark"]


def test_a_detector_sees_the_grid_it_was_trained_on_or_the_frame_as_it_is(benchmark):
    method = BrightObjects()
    on_its_grid = object_segmenter(
        model_segmenter(model_of(method, height=32, width=32), gaps=None, device=CPU)
    )
    (frame, mask), *_ = on_its_grid.masks(benchmark.sources[0])
    assert method.looked_at[0] == (3, 32, 32)
    assert mask.shape == (32, 32)
    preparation = Preparation(IngestSettings(height=48, flow="none"), (1,), "none")
    as_it_is = DetectorSegmenter(method, preparation, CPU, grid=None)
    (frame, mask), *_ = as_it_is.masks(benchmark.sources[0])
    assert method.looked_at[-1] == (3, 96, 128)
    assert frame.image.shape == (48, 64, 3)


def test_the_best_threshold_on_some_videos_is_what_the_others_are_scored_at(benchmark):
    method = BrightObjects(mask=0.3, bump=0.4)
    faint = evaluate(subject_of(method), benchmark, processes=1, console=QUIET)
    assert faint.protocol.thresholds == Thresholds()
    assert {score.name: score.measured["j"] for score in faint.each}["disc"] == 0
    rest, validation = held_out(benchmark, ("disc",))
    chosen = with_thresholds(rest, subject_of(method), validation, processes=1, console=QUIET)
    thresholds = chosen.protocol.thresholds
    # All that lie below the only level find the same: the last of them is nearest to 0.5.
    assert thresholds == Thresholds(0.25, 0.35, ("disc",))
    scores = evaluate(subject_of(method), chosen, processes=1, console=QUIET)
    assert [score.name for score in scores.each] == ["blinking", "dark"]
    assert scores.mean("j") > 0.95
    assert "the best by mean J on disc" in scores.statement


def test_with_a_crf_thresholds_are_chosen_of_what_goes_into_it(benchmark):
    rest, validation = held_out(benchmark, ("disc",))
    subject = subject_of(BrightObjects(mask=0.3, bump=0.4), crf=True)
    chosen = with_thresholds(rest, subject, validation, processes=1, console=QUIET)
    thresholds = chosen.protocol.thresholds
    assert thresholds.before_crf
    assert thresholds.mask < 0.3
    assert thresholds.control < 0.4
    scores = evaluate(subject, chosen, processes=1, console=QUIET)
    assert scores.mean("j") > 0.9
    assert "before the CRF (the best by mean J on disc" in scores.statement
    # Told nothing, the CRF takes the same faint masks for background, and the bump's as well.
    untold = evaluate(subject, rest, processes=1, console=QUIET)
    for measure in ("j", "j_bump"):
        assert untold.mean(measure) < scores.mean(measure) - 0.2


def test_a_method_without_objects_gets_its_threshold_in_the_same_way(benchmark):
    rest, validation = held_out(benchmark, ("disc", "dark"))
    for crf in (False, True):
        subject = subject_of(BrightIsForeground(), crf=crf)
        chosen = with_thresholds(rest, subject, validation, processes=1, console=QUIET)
        scores = evaluate(subject, chosen, processes=1, console=QUIET)
        assert scores.mean("j") > 0.9
        assert scores.as_json()["validation"] == ["dark", "disc"]
        assert not scores.detection


@pytest.mark.slow
def test_thresholds_are_the_same_from_several_processes(benchmark):
    rest, validation = held_out(benchmark, ("disc", "blinking"))
    subject = Subject(baseline="grabcut")
    one, two = (
        with_thresholds(rest, subject, validation, processes=number, console=QUIET)
        for number in (1, 2)
    )
    assert one.protocol.thresholds == two.protocol.thresholds


def test_what_a_method_cannot_do_is_told():
    motion = model_segmenter(model_of(FastIsForeground()), gaps=None, device=CPU)
    assert object_segmenter(motion) is motion
    with pytest.raises(UsageError, match=r"--objects 2: runs/test.* finds no objects one by one"):
        object_segmenter(motion, objects=2)
    detector = model_segmenter(model_of(BrightObjects()), gaps=None, device=CPU)
    with pytest.raises(UsageError, match="--objects 0: must be 1 or more"):
        object_segmenter(detector, objects=0)
    with pytest.raises(UsageError, match=r"--augment: runs/test.* in whole frames alone"):
        segmenter_of(BrightObjects(), augment=True)


@pytest.mark.slow
def test_the_command_scores_what_is_left_at_the_threshold_of_the_rest(benchmark, tmp_path):
    options = ["--root", str(tmp_path), "--validation", "disc,dark"]
    written = tmp_path / "scores.json"
    main(["evaluate", "--baseline", "centre", *options, "--json", str(written)])
    scores = json.loads(written.read_text())
    assert scores["validation"] == ["dark", "disc"]
    assert scores["benchmark"].endswith("without 2 for validation")
    assert list(scores["sequences"]) == ["blinking"]
    assert 0.5 < scores["threshold"] < 1  # the ellipse is larger than the disc
