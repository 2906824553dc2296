from dataclasses import replace

import numpy as np
import pytest

from selfseg.evaluation.metrics import region_similarity
from selfseg.evaluation.protocols import INNER_FRAMES, score_frame
from selfseg.evaluation.thresholds import (
    GRID,
    Thresholds,
    best_threshold,
    similarities,
    with_even_odds,
)


def curve(**values: float) -> np.ndarray:
    """Return J at every threshold: 0 but where it is said, e.g. `at_35=0.9`."""
    similarity = np.zeros(len(GRID))
    for name, value in values.items():
        similarity[int(name.removeprefix("at_")) // 5 - 1] = value
    return similarity


def test_the_grid_is_that_of_the_paper():
    np.testing.assert_allclose(GRID, np.arange(0.05, 0.96, 0.05))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("with_void", [False, True])
def test_one_count_finds_what_scoring_at_each_threshold_would_find(seed, with_void):
    rng = np.random.default_rng(seed)
    truth = rng.random((40, 60)) < 0.3
    void = (rng.random(truth.shape) < 0.2) & ~truth if with_void else None
    # Levels that lie on thresholds, too: a pixel is foreground above one, not at it.
    mask = rng.choice(np.linspace(0, 1, 41), truth.shape).astype(np.float32)
    for shown in (mask, mask[::4, ::3].copy()):
        expected = [score_frame(shown, truth, void, threshold=each)["j"] for each in GRID]
        np.testing.assert_array_equal(similarities(shown, truth, void), expected)


def test_where_both_are_empty_they_agree_at_any_threshold():
    nothing = np.zeros((4, 4), bool)
    assert (similarities(np.zeros((4, 4), np.float32), nothing) == 1).all()
    faint = np.full((4, 4), 0.32, np.float32)
    np.testing.assert_array_equal(similarities(faint, nothing), np.array(GRID) > 0.32)


def test_the_best_is_that_of_the_mean_over_videos_not_of_any_one():
    videos = [curve(at_20=1.0, at_60=0.7), curve(at_60=0.7, at_80=1.0)]
    assert best_threshold(videos) == 0.6
    assert best_threshold(videos[:1]) == 0.2


def test_of_equal_thresholds_that_nearest_to_one_half_is_taken():
    assert best_threshold([np.ones(len(GRID))]) == 0.5
    assert best_threshold([curve(at_20=0.8, at_35=0.8, at_90=0.8)]) == 0.35


def test_a_protocol_says_which_threshold_holds_and_what_it_was_chosen_on():
    assert "J and F at threshold 0.5 and" in INNER_FRAMES.statement
    stated = Thresholds(0.35, 0.2, ("cow", "dog")).stated(0.35)
    assert stated == "threshold 0.35 (the best by mean J on cow, dog; these are not scored)"
    chooses = Thresholds(0.35, 0.2, ("cow",), on_itself=True).stated(0.35)
    assert "the best by mean J on cow; these are scored here: good to choose by, no" in chooses


def test_a_score_is_taken_at_the_chosen_threshold():
    truth = np.array([[True, True, False, False]])
    mask = np.array([[0.9, 0.4, 0.3, 0.1]], np.float32)
    assert score_frame(mask, truth)["j"] == region_similarity(mask > 0.5, truth) == 1 / 2
    assert score_frame(mask, truth, threshold=0.35)["j"] == 1


def test_masks_and_their_control_have_a_threshold_each():
    truth = np.array([[True, True, False, False]])
    mask = np.array([[0.5, 0.5, 0.1, 0.1]], np.float32)
    protocol = replace(INNER_FRAMES, thresholds=Thresholds(0.35, 0.7, ("cow",)))
    assert protocol.score(mask, truth)["j"] == 1
    assert protocol.score_control(mask, truth) == 0


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.9])
def test_even_odds_move_the_threshold_to_one_half_and_keep_the_order(threshold):
    mask = np.array([0, 0.2, threshold, 0.97, 1], np.float32)
    moved = with_even_odds(mask, threshold)
    np.testing.assert_allclose(moved[[0, 2, 4]], [0, 0.5, 1], atol=1e-6)
    assert (np.argsort(moved) == np.argsort(mask)).all()
    inner, before = moved[1:-1], mask[1:-1]
    shift = np.log(inner / (1 - inner)) - np.log(before / (1 - before))
    np.testing.assert_allclose(shift, -np.log(threshold / (1 - threshold)), atol=1e-4)


def test_what_a_crf_was_told_to_be_even_odds_is_one_half_after_it():
    truth = np.array([[True, True, False, False]])
    refined = np.array([[0.9, 0.8, 0.4, 0.3]], np.float32)
    chosen = Thresholds(0.2, 0.35, ("cow",))
    for before_crf, j in ((True, 1.0), (False, 1 / 2)):
        protocol = replace(INNER_FRAMES, thresholds=replace(chosen, before_crf=before_crf))
        assert protocol.score(refined, truth)["j"] == j
        assert protocol.score_control(refined, truth) == (1.0 if before_crf else 2 / 3)
