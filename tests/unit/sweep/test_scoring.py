"""What trials are scored on, and when their scores are left in a run's folder."""

from types import SimpleNamespace

import pytest

from selfseg.sweep import scoring
from selfseg.sweep.plan import Measure
from selfseg.sweep.scoring import Ground, score
from tests.exact_collection import write_collection
from tests.synthetic import moving_disc

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


def test_only_scores_of_a_trials_end_are_left_in_its_folder(monkeypatch):
    kept = []
    subject = SimpleNamespace(settled=lambda benchmark: None)
    monkeypatch.setattr(scoring, "Subject", lambda **chosen: subject)
    monkeypatch.setattr(scoring, "evaluate", lambda *seen, **options: None)
    monkeypatch.setattr(scoring, "record", lambda *seen: {"j_mean": 0.5})
    monkeypatch.setattr(scoring, "keep", lambda url, records: kept.append(url))
    for rounds in (False, True):
        score("run", Measure("j_mean"), SimpleNamespace(name="c"), rounds=rounds, processes=1)  # pyright: ignore[reportArgumentType]
        assert kept == ["run"] * rounds
