"""What trials are scored on, and when their scores are left in a run's folder."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from selfseg.errors import UsageError
from selfseg.evaluation.protocols import score_frame
from selfseg.evaluation.still_baselines import centre_ellipse
from selfseg.evaluation.thresholds import GRID
from selfseg.prediction.subjects import Subject
from selfseg.sweep import scoring
from selfseg.sweep.plan import Measure
from selfseg.sweep.scoring import Ground, check, score
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc, write_frames, write_masks

NAMES = ("bus", "car", "cat", "dog", "swan")


def names(benchmark) -> list[str]:
    return [source.name for source in benchmark.sources]


@pytest.fixture
def collection(tmp_path) -> str:
    url = str(tmp_path / "c")
    scenes = {name: moving_disc(3, seed=place) for place, name in enumerate(NAMES)}
    write_collection(url, scenes, with_masks=True)
    return url


def test_every_other_video_chooses_and_the_rest_is_the_test_part(collection):
    validation, test = Ground(collection=collection).parts()
    assert names(validation) == ["bus", "cat", "swan"]
    assert names(test) == ["car", "dog"]
    # Part of a benchmark must never pass for all of it.
    assert len({validation.name, test.name, "c"}) == 3


def test_videos_to_choose_by_can_be_named(collection):
    validation, test = Ground(collection=collection, validation=("dog",)).parts()
    assert names(validation) == ["dog"]
    assert names(test) == ["bus", "car", "cat", "swan"]


def test_a_benchmark_with_a_split_to_choose_by_is_reported_on_by_the_other(tmp_path):
    scenes = {name: moving_disc(3, seed=place) for place, name in enumerate(NAMES)}
    for name, scene in scenes.items():
        write_frames(tmp_path / "JPEGImages" / "480p" / name, scene.frames)
        write_masks(tmp_path / "Annotations" / "480p" / name, scene.masks)
    lists = tmp_path / "ImageSets" / "480p"
    lists.mkdir(parents=True)
    for split, listed in (("train", NAMES[:3]), ("val", NAMES[3:])):
        lines = [f"/JPEGImages/480p/{name}/00000.jpg x" for name in listed]
        (lists / f"{split}.txt").write_text("\n".join(lines))
    ground = Ground(root=str(tmp_path), benchmark="davis16", splits=("train", "val"))
    validation, test = ground.parts()
    assert names(validation) == list(NAMES[:3])
    assert names(test) == list(NAMES[3:])
    # One split alone is cut in two.
    one = replace(ground, splits=("val", None), validation=("swan",))
    assert [names(part) for part in one.parts()] == [["swan"], ["dog"]]
    with pytest.raises(UsageError, match=r"^--validation: this benchmark has a split to choose"):
        replace(ground, validation=("bus",)).parts()


def test_what_cannot_be_scored_on_a_ground_is_known_before_anything_trains(collection):
    check(Ground(collection=collection), Measure("j_mean"))
    check(Ground(collection=collection), Measure("map50"))
    told = r"^c, validation: has videos, and iou_mean is of single images: name some with masks by"
    with pytest.raises(UsageError, match=told):
        check(Ground(collection=collection), Measure("iou_mean"))


def test_only_scores_of_a_trials_end_are_left_in_its_folder(monkeypatch):
    kept = []
    subject = SimpleNamespace(settled=lambda benchmark: None)
    monkeypatch.setattr(scoring, "Subject", lambda **chosen: subject)
    monkeypatch.setattr(scoring, "evaluate", lambda *seen, **options: None)
    monkeypatch.setattr(scoring, "record", lambda *seen: {"j_mean": 0.5})
    monkeypatch.setattr(scoring, "keep", lambda url, records: kept.append(url))
    for rounds in (False, True):
        part: Any = SimpleNamespace(name="c")
        score("run", Measure("j_mean"), part, validation=part, rounds=rounds, processes=1)
        assert kept == ["run"] * rounds


def test_the_threshold_that_is_best_on_the_validation_part_holds_on_the_test_part(
    tmp_path, monkeypatch
):
    """A bright centre finds a small disc best by a high threshold, and large ones by a low one."""
    url = str(tmp_path / "c")
    scenes = {
        name: moving_disc(3, height=60, width=80, radius=radius)
        for name, radius in (("chooses", 8), ("reports", 26))
    }
    write_collection(url, scenes, with_masks=True)
    monkeypatch.setattr(scoring, "Subject", lambda **chosen: Subject(baseline="centre"))
    monkeypatch.setattr(scoring, "keep", lambda url, records: None)
    validation, test = Ground(collection=url, validation=("chooses",)).parts()
    mask = centre_ellipse(60, 80)
    curves = {
        name: [score_frame(mask, scene.masks[1], threshold=each)["j"] for each in GRID]
        for name, scene in scenes.items()
    }
    best = GRID[int(np.argmax(curves["chooses"]))]
    assert best not in (0.5, GRID[int(np.argmax(curves["reports"]))])

    measure = Measure("j_mean", best_threshold=True)
    for part, name in ((validation, "chooses"), (test, "reports")):
        (found,) = score("run", measure, part, validation=validation, rounds=True, processes=1)
        assert found["threshold"] == best
        assert found["j_mean"] == pytest.approx(curves[name][GRID.index(best)])
        assert found["validation"] == ["chooses"]
        assert ("these are scored here" in found["protocol"]) == (name == "chooses")
    (plain,) = score(
        "run", Measure("j_mean"), test, validation=validation, rounds=True, processes=1
    )
    assert plain["threshold"] == 0.5
