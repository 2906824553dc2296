import json
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from selfseg.data.ingest.videos import frame_paths
from selfseg.errors import UsageError, UserError
from selfseg.evaluation.baselines import BASELINES
from selfseg.evaluation.protocols import INNER_FRAMES, score_frame
from selfseg.evaluation.still_baselines import centre_ellipse
from selfseg.prediction.baselines import baseline_segmenter
from selfseg.prediction.benchmarks import Benchmark, counted, find_benchmark
from selfseg.prediction.evaluate import evaluate, keep, record, write_json
from selfseg.prediction.scoring import score_source
from selfseg.prediction.segment import compute_device, model_segmenter
from selfseg.prediction.sources import LocalSource, local_source
from selfseg.prediction.subjects import Subject
from selfseg.prediction.truth import Truth, by_stem
from tests.synthetic import Scene, moving_disc, write_frames, write_masks
from tests.unit.prediction.scenes import BrightIsForeground, FastIsForeground, model_of
from tests.unit.prediction.trees import block, write_picture

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
    return find_benchmark(root=str(root))


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_is_scored_on_all_counted_frames(name, benchmark):
    scores = evaluate(Subject(baseline=name), benchmark, processes=1, console=QUIET)
    assert {each.name: each.frames for each in scores.each} == {"right": 2, "up": 3}
    assert 0 <= scores.mean("j") <= 1
    if name.startswith("flow-otsu"):
        assert scores.mean("j") > 0.6


def test_a_baselines_score_is_what_the_protocol_says_by_hand(benchmark):
    source = benchmark.sources[0]
    scored = score_source(baseline_segmenter("centre", gaps=None), source, INNER_FRAMES, crf=False)
    scene = moving_disc(4, height=120, width=200, radius=22, velocity=(5, 0), pan=(-1, 0))
    by_hand = [score_frame(centre_ellipse(240, 400), mask) for mask in scene.masks[1:-1]]
    for measure in ("j", "f"):
        expected = np.mean([measured[measure] for measured in by_hand])
        assert scored.measured[measure] == pytest.approx(expected)


def test_a_model_is_scored_the_same_way(benchmark):
    segmenter = model_segmenter(
        model_of(FastIsForeground(), height=120, width=200), gaps=None, device=torch.device("cpu")
    )
    for crf, least in ((False, 0.6), (True, 0.8)):
        score = score_source(segmenter, benchmark.sources[1], INNER_FRAMES, crf=crf)
        assert score.measured["j"] > least


@pytest.mark.slow
def test_more_processes_find_the_same_scores(benchmark):
    subject = Subject(baseline="flow-otsu")
    one = evaluate(subject, benchmark, processes=1, console=QUIET)
    two = evaluate(subject, benchmark, processes=2, console=QUIET)
    for a, b in zip(one.each, two.each, strict=True):
        assert a.name == b.name
        # Flow depends in its last digits on the number of OpenCV's threads.
        assert a.measured["j"] == pytest.approx(b.measured["j"], abs=0.01)


def test_the_json_says_what_was_scored_on_what(benchmark, tmp_path):
    subject = Subject(baseline="centre", crf=True)
    scores = evaluate(subject, benchmark, processes=1, console=QUIET)
    write_json(str(tmp_path / "scores.json"), record(subject, benchmark, scores))
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["title"] == "centre + CRF"
    assert (written["benchmark"], written["baseline"], written["crf"]) == (
        "davis16 val, 2 of 20",
        "centre",
        True,
    )
    assert written["j_mean"] == scores.mean("j")
    assert set(written["sequences"]) == {"right", "up"}


def disc(root: Path, scene: Scene, masks: Path) -> LocalSource:
    frames = write_frames(root / "disc", scene.frames)
    truth = Truth(by_stem(frame_paths(frames), frame_paths(masks)))
    source = counted(local_source(frames, "disc", truth=truth), INNER_FRAMES, 1)
    assert isinstance(source, LocalSource)
    return source


def test_frames_without_a_truth_do_not_count(tmp_path):
    scene = moving_disc(6, height=60, width=80)
    masks = write_masks(tmp_path / "masks", scene.masks)
    segmenter = baseline_segmenter("centre", gaps=None)
    for number in (1, 4):
        (masks / f"{number:05d}.png").unlink()
    source = disc(tmp_path, scene, masks)
    assert score_source(segmenter, source, INNER_FRAMES, crf=False).frames == 2
    for number in (2, 3):
        (masks / f"{number:05d}.png").unlink()
    with pytest.raises(UserError, match="disc: no frame with a mask that counts: J and F"):
        score_source(segmenter, disc(tmp_path, scene, masks), INNER_FRAMES, crf=False)


def test_a_truth_that_is_unreadable_or_of_another_size_is_named(tmp_path):
    scene = moving_disc(4, height=60, width=80)
    masks = write_masks(tmp_path / "masks", scene.masks)
    (masks / "00002.png").write_text("no image")
    segmenter = baseline_segmenter("centre", gaps=None)
    with pytest.raises(UserError, match=r"disc: mask 00002\.png is not an image"):
        score_source(segmenter, disc(tmp_path, scene, masks), INNER_FRAMES, crf=False)
    write_masks(masks, scene.masks[:, ::2, ::2])
    with pytest.raises(UserError, match=r"disc: mask 00001\.png is 40x30, its frame 80x60"):
        score_source(segmenter, disc(tmp_path, scene, masks), INNER_FRAMES, crf=False)


@pytest.fixture
def stills(tmp_path) -> Benchmark:
    """Two dark pictures with a bright object each, and whose they are."""
    for name, mask in (("left", block(4, 2, 12)), ("right", block(8, 18, 12))):
        image = np.where(mask[..., None], 250, 30) * np.ones(3)
        write_picture(tmp_path / "images" / f"{name}.png", image)
        write_picture(tmp_path / "masks" / f"{name}.png", mask * 255)
    return find_benchmark(root=str(tmp_path), benchmark="stills")


def test_stills_are_scored_by_a_model_with_a_static_view(stills):
    segmenter = model_segmenter(
        model_of(BrightIsForeground(), height=48, width=64), gaps=None, device=torch.device("cpu")
    )
    segmenter.check(stills.sources)
    for source in stills.sources:
        measured = score_source(segmenter, source, stills.protocol, crf=False).measured
        assert measured["iou"] > 0.9
        assert measured["f_beta"] > 0.9
        assert measured["mae"] < 0.05


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_looks_at_motion_refuses_stills_in_one_line(processes, stills):
    for name in ("flow-otsu", "mog2"):
        with pytest.raises(UserError) as raised:
            evaluate(Subject(baseline=name), stills, processes=processes, console=QUIET)
        assert str(raised.value) == (
            "left: a single image shows no motion, and this baseline needs it; for stills there "
            "are centre, grabcut, boundary-connectivity"
        )
    segmenter = model_segmenter(model_of(FastIsForeground()), gaps=None, device=torch.device("cpu"))
    with pytest.raises(UserError, match="left: a single image shows no motion, and runs/test"):
        segmenter.check(stills.sources)


def test_a_record_of_stills_names_its_measures_and_protocol(stills):
    subject = Subject(baseline="boundary-connectivity")
    entry = record(subject, stills, evaluate(subject, stills, processes=1, console=QUIET))
    assert entry["measures"] == ["iou", "f_beta", "f_beta_adaptive", "mae"]
    assert {"iou_mean", "f_beta_mean", "mae_mean"} <= set(entry)
    assert set(entry["images"]) == {"left", "right"}
    assert (entry["view"], entry["round"], entry["every"]) == (None, None, 1)


def test_every_nth_frame_scores_what_it_scores_among_all(benchmark, tmp_path):
    scene = moving_disc(6, height=60, width=80, velocity=(3, 0))
    source = disc(tmp_path, scene, write_masks(tmp_path / "masks", scene.masks))
    for name in ("flow-otsu", "mog2"):
        segmenter = baseline_segmenter(name, gaps=None)
        of_frame = {
            number: score_source(
                segmenter, source.only(frozenset({number})), INNER_FRAMES, crf=False
            )
            for number in (1, 2, 3, 4)
        }
        every = score_source(segmenter, source, INNER_FRAMES, crf=False)
        expected = np.mean([score.measured["j"] for score in of_frame.values()])
        assert every.frames == 4
        assert every.measured["j"] == pytest.approx(expected, abs=0.02)


def test_what_cannot_be_scored_is_said_in_one_line():
    with pytest.raises(UsageError, match="--baseline magic: choose from flow-otsu, "):
        Subject(baseline="magic").segmenter()
    with pytest.raises(UsageError, match="nothing to score"):
        Subject().segmenter()


def test_scores_are_kept_in_the_run_that_a_checkpoint_belongs_to(tmp_path):
    checkpoint = tmp_path / "run" / "checkpoints" / "step_00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "COMMIT.json").write_text("{}")
    entry = {"title": "flow-otsu + CRF", "benchmark": "davis16 val", "j_mean": 0.5}
    (url,) = keep(str(checkpoint), [entry])
    assert url == f"{tmp_path}/run/evaluations/davis16-val-flow-otsu-CRF.json"
    assert json.loads(Path(url).read_text()) == entry


def test_scores_with_long_titles_do_not_replace_each_other(tmp_path):
    checkpoint = tmp_path / "run" / "checkpoints" / "step_00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "COMMIT.json").write_text("{}")
    benchmark = "davis17 val-unsupervised, 3 of 30, every 10"
    titles = [f"bootstrap_round_{n} static + crops{crf}" for n in (1, 2) for crf in ("", " + CRF")]
    urls = keep(str(checkpoint), [{"title": t, "benchmark": benchmark} for t in titles])
    assert len(set(urls)) == 4


def test_a_device_that_is_not_there_is_refused():
    for name in ("abacus", "cuda:99"):
        with pytest.raises(UsageError, match=f"--device {name}: no such device here"):
            compute_device(name)
    assert compute_device("cpu").type == "cpu"
