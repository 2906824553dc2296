import pytest

from selfseg.reporting.courses import UNTREATED, Point, courses


def test_a_course_has_a_line_for_each_view_and_a_place_for_each_round():
    (course,) = courses(
        [
            Point(UNTREATED, "fused", 2, 0.7),
            Point(UNTREATED, "dynamic", 0, 0.4),
            Point(UNTREATED, "dynamic", 2, 0.5),
        ]
    )
    assert course.rounds == [0, 2]
    assert [(line.view, line.scores) for line in course.lines] == [
        ("dynamic", [0.4, 0.5]),
        ("fused", [None, 0.7]),
    ]


def test_places_lie_above_their_rounds_and_higher_for_more():
    (course,) = courses([Point("CRF", "static", k, 0.5 + k / 10) for k in range(1, 4)])
    places = course.places(course.lines[0])
    assert [x for x, _ in places] == pytest.approx([100 / 6, 50, 500 / 6])
    heights = [y for _, y in places]
    assert 0 < heights[2] < heights[1] < heights[0] < 100
    assert heights[1] == pytest.approx(50)


def test_one_round_alone_is_no_course():
    assert courses([Point("CRF", "static", 1, 0.5), Point("CRF", "fused", 1, 0.6)]) == []


def test_treatments_stand_apart_untreated_first_and_share_a_scale():
    untreated, crf = courses(
        [Point("CRF", "fused", k, 0.6) for k in (1, 2)]
        + [Point(UNTREATED, "fused", k, 0.5) for k in (1, 2)]
    )
    assert (untreated.treatment, crf.treatment) == (UNTREATED, "CRF")
    assert (untreated.low, untreated.high) == (crf.low, crf.high)


def test_equal_scores_are_drawn_in_the_middle():
    (course,) = courses([Point("CRF", "fused", k, 0.5) for k in (1, 2)])
    assert [y for _, y in course.places(course.lines[0])] == pytest.approx([50, 50])
