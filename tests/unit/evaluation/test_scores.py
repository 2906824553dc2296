import io
import json

import numpy as np
import pytest
from rich.console import Console

from selfseg.evaluation.protocols import counted_frames, score_frame
from selfseg.evaluation.scores import Scores, comparison, score_sequence


def two_sequences() -> Scores:
    return Scores(
        "model on benchmark",
        (
            score_sequence("short", [(1.0, 0.8)]),
            score_sequence("long", [(0.2, 0.1), (0.4, 0.3), (0.6, 0.5)]),
        ),
    )


def test_a_sequence_counts_once_in_one_average_and_by_its_frames_in_the_other():
    scores = two_sequences()
    assert scores.j_mean == pytest.approx((1.0 + 0.4) / 2)
    assert scores.f_mean == pytest.approx((0.8 + 0.3) / 2)
    assert scores.j_frame_mean == pytest.approx((1.0 + 0.2 + 0.4 + 0.6) / 4)


def test_the_json_holds_both_averages_and_each_sequence():
    written = json.loads(json.dumps(two_sequences().as_json()))
    assert written["sequences"]["long"] == {
        "j": pytest.approx(0.4),
        "f": pytest.approx(0.3),
        "frames": 3,
    }
    assert {"j_mean", "j_frame_mean", "f_mean"} <= set(written)


def test_the_table_shows_each_sequence_and_both_averages():
    output = io.StringIO()
    Console(file=output, width=80).print(two_sequences().table())
    text = output.getvalue()
    for part in ("model on benchmark", "short", "0.700", "0.550"):
        assert part in text


def test_the_first_and_the_last_frame_do_not_count():
    assert list(counted_frames(5)) == [1, 2, 3]
    assert not counted_frames(2)


def test_a_soft_mask_is_scored_at_the_size_of_the_truth():
    truth = np.zeros((80, 120), bool)
    truth[20:60, 30:90] = True
    small = truth[::10, ::10].astype(np.float32)
    j, f = score_frame(small, truth)
    # Bilinear edges cross 0.5 halfway between pixel centres, which is where blocks of 10 meet;
    # only the four corners are rounded off, by less than a quarter of a block each.
    assert j > 1 - 4 * 25 / truth.sum()
    assert f > 0.95
    assert score_frame(1 - small, truth)[0] < 0.01


def test_side_by_side_the_best_j_comes_first():
    worse = Scores("worse", (score_sequence("only", [(0.1, 0.9)]),))
    output = io.StringIO()
    Console(file=output, width=80).print(comparison([worse, two_sequences()]))
    text = output.getvalue()
    assert text.index("model on benchmark") < text.index("worse")
