import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from selfseg.evaluation.boxes import FoundBox
from selfseg.evaluation.protocols import ANNOTATED_FRAMES, INNER_FRAMES, STILLS, score_frame
from selfseg.evaluation.scores import Scores, average, comparison
from selfseg.evaluation.thresholds import Thresholds


def jf(j: float, f: float) -> dict[str, float]:
    return {"j": j, "f": f}


def two_sequences() -> Scores:
    return Scores(
        "model on benchmark",
        INNER_FRAMES,
        (
            average("short", [jf(1.0, 0.8)]),
            average("long", [jf(0.2, 0.1), jf(0.4, 0.3), jf(0.6, 0.5)]),
        ),
    )


def two_images() -> Scores:
    good = {"iou": 0.75, "f_beta": 0.5, "f_beta_adaptive": 0.25, "mae": 0.125}
    none = dict.fromkeys(good, 0.0)
    return Scores("model on stills", STILLS, (average("a", [good]), average("b", [none])))


def shown(table: object) -> str:
    output = io.StringIO()
    Console(file=output, width=120).print(table)
    return " ".join(output.getvalue().split())


def test_a_sequence_counts_once_in_one_average_and_by_its_frames_in_the_other():
    scores = two_sequences()
    assert scores.mean("j") == pytest.approx((1.0 + 0.4) / 2)
    assert scores.mean("f") == pytest.approx((0.8 + 0.3) / 2)
    assert scores.frame_mean("j") == pytest.approx((1.0 + 0.2 + 0.4 + 0.6) / 4)


def test_the_json_of_a_video_benchmark_holds_both_averages_and_each_sequence():
    written = json.loads(json.dumps(two_sequences().as_json()))
    assert written["sequences"]["long"] == {
        "j": pytest.approx(0.4),
        "f": pytest.approx(0.3),
        "frames": 3,
    }
    assert {"j_mean", "j_frame_mean", "f_mean"} <= set(written)
    assert written["measures"] == ["j", "f"]
    assert "mean over a sequence, then over sequences" in written["protocol"]


def test_the_json_of_a_still_benchmark_holds_one_average_and_each_image():
    written = json.loads(json.dumps(two_images().as_json()))
    assert written["iou_mean"] == pytest.approx(0.75 / 2)
    assert written["f_beta_mean"] == pytest.approx(0.5 / 2)
    assert written["mae_mean"] == pytest.approx(0.125 / 2)
    assert not [key for key in written if key.endswith("frame_mean")]
    assert set(written["images"]) == {"a", "b"}
    assert written["measures"] == ["iou", "f_beta", "f_beta_adaptive", "mae"]


def test_the_table_shows_each_sequence_both_averages_and_how_they_were_made():
    text = shown(two_sequences().table())
    for part in ("model on benchmark", "short", "0.700", "0.550", "but the first and the last"):
        assert part in text


def test_the_table_of_stills_shows_averages_alone():
    text = shown(two_images().table())
    for part in ("mean over images", "0.375", "0.062", "beta^2 = 0.3", "IoU", "MAE"):
        assert part in text
    assert "0.750" not in text


def test_the_first_and_the_last_frame_count_only_where_the_protocol_says_so():
    assert list(INNER_FRAMES.counted_frames(5)) == [1, 2, 3]
    assert not INNER_FRAMES.counted_frames(2)
    assert list(ANNOTATED_FRAMES.counted_frames(3)) == [0, 1, 2]


def test_a_soft_mask_is_scored_at_the_size_of_the_truth():
    truth = np.zeros((80, 120), bool)
    truth[20:60, 30:90] = True
    small = truth[::10, ::10].astype(np.float32)
    measured = score_frame(small, truth)
    # Bilinear edges cross 0.5 halfway between pixel centres, which is where blocks of 10 meet;
    # only the four corners are rounded off, by less than a quarter of a block each.
    assert measured["j"] > 1 - 4 * 25 / truth.sum()
    assert measured["f"] > 0.95
    assert score_frame(1 - small, truth)["j"] < 0.01


def test_pixels_that_do_not_count_are_background_on_both_sides():
    truth, void = np.zeros((2, 10, 10), bool)
    truth[:5], void[5:8] = True, True
    mask = np.ones((10, 10), np.float32)
    # 100 predicted, 30 of them void: 50 right of 70.
    assert score_frame(mask, truth, void)["j"] == 50 / 70
    assert score_frame(mask, truth)["j"] == 50 / 100


def test_a_still_is_scored_at_one_half_at_its_own_threshold_and_as_it_is():
    truth = np.array([[True, True, False, False]])
    mask = np.array([[0.9, 0.4, 0.6, 0.1]], np.float32)
    measured = STILLS.score(mask, truth)
    # At 0.5: pixels 0 and 2; one right, one wrong, one missed.
    assert measured["iou"] == 1 / 3
    assert measured["f_beta"] == pytest.approx(0.5)  # precision = recall = 1 / 2
    # Twice the mean is 1, more than any value; at the largest, pixel 0 alone: all right, half.
    assert measured["f_beta_adaptive"] == pytest.approx(1.3 * 1 * 0.5 / (0.3 * 1 + 0.5))
    assert measured["mae"] == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)


def test_the_adaptive_threshold_is_twice_the_mean_and_finds_nothing_in_an_empty_mask():
    truth = np.array([[True, False, False, False]])
    mask = np.array([[0.4, 0.1, 0.1, 0.0]], np.float32)  # mean 0.15
    assert STILLS.score(mask, truth)["f_beta_adaptive"] == 1
    assert STILLS.score(mask, truth)["f_beta"] == 0
    empty = np.zeros((1, 4), np.float32)
    assert STILLS.score(empty, truth)["f_beta_adaptive"] == 0
    assert STILLS.score(empty, np.zeros((1, 4), bool))["f_beta_adaptive"] == 1


def test_side_by_side_the_best_comes_first():
    worse = Scores("worse", INNER_FRAMES, (average("only", [jf(0.1, 0.9)]),))
    text = shown(comparison([worse, two_sequences()]))
    assert text.index("model on benchmark") < text.index("worse")
    assert "J, frame mean" in text
    assert "IoU" in shown(comparison([two_images()]))


def detected() -> Scores:
    """Two sequences: in one a box is right and one is not, in the other nothing is ever there."""
    box, apart = (0, 0, 10, 10), (20, 20, 10, 10)
    right, wrong = (FoundBox(box, 0.8, truth, 40, 40) for truth in (box, apart))
    none = FoundBox(None, 0.0, None, 40, 40)
    bump = {"j_bump": 0.25}
    return Scores(
        "detector on benchmark",
        replace(INNER_FRAMES, thresholds=Thresholds(0.35, 0.2, ("cow",))),
        (
            average("some", [jf(0.5, 0.5) | bump] * 2, [right, wrong]),
            average("none", [jf(1.0, 1.0) | bump], [none]),
        ),
    )


def test_a_detector_has_its_boxes_in_the_json_and_what_shows_nothing_does_not_count_in_them():
    written = json.loads(json.dumps(detected().as_json()))
    assert written["j_mean"] == 0.75
    assert (written["box_hit"], written["box_iou"], written["box_iou50"]) == (0.5, 0.5, 0.5)
    assert written["j_bump"] == 0.25
    # Both boxes are as sure, so precision is 1 or 1 / 2 at the recall of 1 / 2 that is reached.
    assert 0.25 <= written["map50"] <= 51 / 101 + 1e-9
    assert written["sequences"]["some"]["box_hit"] == 0.5
    assert "box_hit" not in written["sequences"]["none"]
    assert written["measures"] == ["j", "f", "j_bump", "box_hit", "box_iou", "box_iou50", "map50"]
    assert (written["threshold"], written["threshold_control"]) == (0.35, 0.2)
    assert written["validation"] == ["cow"]


def test_the_table_of_a_detector_says_how_each_of_its_measures_was_made():
    text = shown(detected().table())
    for part in (
        "J, control",
        "box hit",
        "map50",
        "mAP at IoU 0.5 over all frames together",
        "threshold 0.35 (the best by mean J on cow; these are not scored)",
        "threshold 0.20 (the best by mean J on cow; these are not scored)",
    ):
        assert part in text


def test_only_a_detector_has_boxes_and_a_control():
    written = two_sequences().as_json()
    assert not {"j_bump", "box_hit", "box_iou", "map50"} & set(written)
    assert (written["threshold"], written["threshold_control"]) == (0.5, None)
    assert "control" not in written["protocol"]


def test_a_detector_and_another_stand_side_by_side_with_gaps_where_one_has_no_boxes():
    text = shown(comparison([two_sequences(), detected()]))
    # J is 0.75 against 0.7, and only one of the rows has boxes.
    assert text.index("detector") < text.index("model")
    assert "box hit" in text


def test_without_any_object_there_is_no_box_to_measure():
    nothing = FoundBox((0, 0, 5, 5), 0.8, None, 40, 40)
    scores = Scores(
        "detector", INNER_FRAMES, (average("none", [jf(1.0, 1.0) | {"j_bump": 1.0}], [nothing]),)
    )
    assert scores.detection == {"j_bump": 1}
    assert shown(scores.table())
