import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from selfseg.errors import UsageError, UserError
from selfseg.evaluation.baselines import BASELINES, centre_ellipse
from selfseg.evaluation.protocols import score_frame
from selfseg.prediction.evaluate import (
    Benchmark,
    Subject,
    evaluate,
    find_benchmark,
    keep,
    record,
    score_source,
    write_json,
)
from selfseg.prediction.segment import baseline_segmenter, compute_device, model_segmenter
from selfseg.prediction.sources import local_source
from tests.synthetic import Scene, moving_disc, write_frames, write_masks
from tests.unit.prediction.scenes import FastIsForeground, model_of

QUIET = Console(quiet=True)


def tree(root: Path, scenes: dict[str, Scene]) -> Path:
    """Lay scenes out as DAVIS does; all of them are split val."""
    for name, scene in scenes.items():
        write_frames(root / "JPEGImages" / "480p" / name, scene.frames)
        write_masks(root / "Annotations" / "480p" / name, scene.masks)
    (root / "ImageSets" / "480p").mkdir(parents=True)
    lines = [f"/JPEGImages/480p/{name}/00000.jpg x" for name in scenes]
    (root / "ImageSets" / "480p" / "val.txt").write_text("\n".join(lines))
    return root


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> Benchmark:
    scenes = {
        "right": moving_disc(4, height=120, width=200, radius=22, velocity=(5, 0), pan=(-1, 0)),
        "up": moving_disc(5, height=120, width=200, radius=25, velocity=(0, -4), seed=5),
    }
    root = tree(tmp_path_factory.mktemp("davis"), scenes)
    return find_benchmark(root=str(root), split="val", collection=None)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_is_scored_on_all_counted_frames(name, benchmark):
    scores = evaluate(Subject(baseline=name), benchmark, processes=1, console=QUIET)
    assert {each.name: each.frames for each in scores.sequences} == {"right": 2, "up": 3}
    assert 0 <= scores.j_mean <= 1
    if name.startswith("flow-otsu"):
        assert scores.j_mean > 0.6


def test_a_baselines_score_is_what_the_protocol_says_by_hand(benchmark):
    source = benchmark.sources[0]
    scored = score_source(baseline_segmenter("centre", gaps=None), source, crf=False)
    scene = moving_disc(4, height=120, width=200, radius=22, velocity=(5, 0), pan=(-1, 0))
    by_hand = [score_frame(centre_ellipse(240, 400), mask) for mask in scene.masks[1:-1]]
    assert scored.j == pytest.approx(np.mean([j for j, _ in by_hand]))
    assert scored.f == pytest.approx(np.mean([f for _, f in by_hand]))


def test_a_model_is_scored_the_same_way(benchmark):
    segmenter = model_segmenter(
        model_of(FastIsForeground(), height=120, width=200), gaps=None, device=torch.device("cpu")
    )
    assert score_source(segmenter, benchmark.sources[1], crf=False).j > 0.6
    assert score_source(segmenter, benchmark.sources[1], crf=True).j > 0.8


@pytest.mark.slow
def test_more_processes_find_the_same_scores(benchmark):
    subject = Subject(baseline="flow-otsu")
    one = evaluate(subject, benchmark, processes=1, console=QUIET)
    two = evaluate(subject, benchmark, processes=2, console=QUIET)
    for a, b in zip(one.sequences, two.sequences, strict=True):
        assert a.name == b.name
        # Flow depends in its last digits on the number of OpenCV's threads.
        assert a.j == pytest.approx(b.j, abs=0.01)


def test_the_json_says_what_was_scored_on_what(benchmark, tmp_path):
    subject = Subject(baseline="centre", crf=True)
    scores = evaluate(subject, benchmark, processes=1, console=QUIET)
    write_json(str(tmp_path / "scores.json"), record(subject, benchmark, scores))
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["title"] == "centre + CRF"
    assert (written["benchmark"], written["baseline"], written["crf"]) == (
        "davis16 val",
        "centre",
        True,
    )
    assert written["j_mean"] == scores.j_mean
    assert set(written["sequences"]) == {"right", "up"}


def test_frames_without_a_truth_do_not_count(tmp_path):
    scene = moving_disc(6, height=60, width=80)
    frames = write_frames(tmp_path / "disc", scene.frames)
    masks = write_masks(tmp_path / "masks", scene.masks)
    segmenter = baseline_segmenter("centre", gaps=None)
    for number in (1, 4):
        (masks / f"{number:05d}.png").unlink()
    assert score_source(segmenter, local_source(frames, "disc", masks=masks), crf=False).frames == 2
    for number in (2, 3):
        (masks / f"{number:05d}.png").unlink()
    with pytest.raises(UserError, match="disc: no frame with a mask between"):
        score_source(segmenter, local_source(frames, "disc", masks=masks), crf=False)


def test_a_truth_that_is_unreadable_or_of_another_size_is_named(tmp_path):
    scene = moving_disc(4, height=60, width=80)
    frames = write_frames(tmp_path / "disc", scene.frames)
    masks = write_masks(tmp_path / "masks", scene.masks)
    (masks / "00002.png").write_text("no image")
    source = local_source(frames, "disc", masks=masks)
    with pytest.raises(UserError, match=r"disc: mask 00002\.png is not an image"):
        score_source(baseline_segmenter("centre", gaps=None), source, crf=False)
    write_masks(masks, scene.masks[:, ::2, ::2])
    with pytest.raises(UserError, match=r"disc: mask 00000\.png is 40x30, its frame 80x60"):
        score_source(baseline_segmenter("centre", gaps=None), source, crf=False)


def test_what_cannot_be_scored_is_said_in_one_line():
    with pytest.raises(UsageError, match="--baseline magic: choose from flow-otsu, "):
        Subject(baseline="magic").segmenter()
    with pytest.raises(UsageError, match="nothing to score"):
        Subject().segmenter()
    for root, collection in ((None, None), ("tree", "shards")):
        with pytest.raises(UsageError, match="--benchmark davis16 --root DIR, or --collection URL"):
            find_benchmark(root=root, split="val", collection=collection)


def test_scores_are_kept_in_the_run_that_a_checkpoint_belongs_to(tmp_path):
    checkpoint = tmp_path / "run" / "checkpoints" / "step_00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "COMMIT.json").write_text("{}")
    entry = {"title": "flow-otsu + CRF", "benchmark": "davis16 val", "j_mean": 0.5}
    (url,) = keep(str(checkpoint), [entry])
    assert url == f"{tmp_path}/run/evaluations/davis16-val-flow-otsu-CRF.json"
    assert json.loads(Path(url).read_text()) == entry


def test_a_device_that_is_not_there_is_refused():
    for name in ("abacus", "cuda:99"):
        with pytest.raises(UsageError, match=f"--device {name}: no such device here"):
            compute_device(name)
    assert compute_device("cpu").type == "cpu"
