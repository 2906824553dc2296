import pytest

from selfseg.evaluation.boxes import (
    Box,
    FoundBox,
    box_measures,
    clipped,
    mean_average_precision,
)

SQUARE: Box = (10, 10, 20, 20)
APART: Box = (60, 10, 20, 20)


def found(box: Box | None, truth: Box | None, confidence: float = 0.5) -> FoundBox:
    """Find a box in an image of 50 x 100 pixels."""
    return FoundBox(box, confidence, truth, 50, 100)


def test_a_box_is_compared_by_its_intersection_over_its_union():
    assert found(SQUARE, SQUARE).iou == 1
    assert found((10, 20, 20, 20), SQUARE).iou == pytest.approx(200 / 600)
    assert found(APART, SQUARE).iou == 0


def test_what_reaches_beyond_the_image_is_cut_off_before_it_is_compared():
    assert clipped((-10, -5, 30, 80), 50, 100) == (0, 0, 20, 50)
    assert clipped((95, 45, 30, 80), 50, 100) == (95, 45, 5, 5)
    assert clipped((110, 60, 30, 80), 50, 100)[2:] == (0, 0)
    assert found((-20, 0, 40, 50), (0, 0, 20, 50)).iou == 1


def test_a_hit_is_a_box_whose_own_centre_lies_in_the_true_one():
    assert found((0, 0, 40, 40), SQUARE).hit  # the centres agree, and IoU is 400 / 1600
    assert found((20, 20, 20, 20), SQUARE).hit  # at the true box's corner
    assert not found((21, 10, 20, 20), SQUARE).hit
    assert not found((10, 21, 20, 20), SQUARE).hit
    # The whole box counts: its part within the image would have its centre at x = 10.
    assert not found((-60, 0, 80, 40), (5, 0, 20, 40)).hit


def test_frames_in_which_nothing_is_there_do_not_count():
    frames = [found(SQUARE, SQUARE), found((10, 20, 20, 20), SQUARE), found(SQUARE, None)]
    measured = box_measures(frames)
    assert measured["box_hit"] == 1
    assert measured["box_iou"] == pytest.approx((1 + 1 / 3) / 2)
    assert measured["box_iou50"] == 0.5
    assert box_measures([found(SQUARE, None)]) == {}


def test_half_is_enough_for_a_box_to_be_right():
    assert box_measures([found((10, 10, 20, 10), SQUARE)])["box_iou50"] == 1
    assert box_measures([found((10, 10, 20, 9), SQUARE)])["box_iou50"] == 0


def test_nothing_found_where_something_is_there_is_a_miss_in_every_measure():
    assert box_measures([found(None, SQUARE)]) == {"box_hit": 0, "box_iou": 0, "box_iou50": 0}
    assert mean_average_precision([found(None, SQUARE)]) == 0


def test_map_is_1_where_every_box_is_right_and_0_where_none_is(capsys):
    assert mean_average_precision([found(SQUARE, SQUARE), found(APART, APART)]) == 1
    assert mean_average_precision([found(APART, SQUARE), found(SQUARE, APART)]) == 0
    assert capsys.readouterr().out == ""


def test_map_asks_for_a_false_box_to_be_less_sure_than_a_right_one():
    right, false = found(SQUARE, SQUARE, 0.5), found(SQUARE, None, 0.9)
    # By confidence: first the false box, then the right one, so precision is 1 / 2 wherever
    # recall is above 0; where the right one comes first, it is 1 before the false one comes.
    assert mean_average_precision([right, false]) == pytest.approx(0.5)
    assert mean_average_precision([right, found(SQUARE, None, 0.1)]) == pytest.approx(1)


def test_map_counts_what_was_missed():
    # Recall ends at 1 / 2: precision is 1 at 0, 0.01, ... 0.5, which are 51 of COCO's 101 points.
    frames = [found(SQUARE, SQUARE), found(None, SQUARE)]
    assert mean_average_precision(frames) == pytest.approx(51 / 101)
