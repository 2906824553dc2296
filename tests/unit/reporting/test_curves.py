import math

import pytest

from selfseg.contracts import Phase
from selfseg.reporting.curves import (
    axis_ticks,
    draw,
    machine_panel,
    player_panels,
    read_clock,
    smoothed,
    thin,
)
from selfseg.reporting.glossary import PLAYERS, TERMS


def line(step: int, player: str, rank: int = 0, **changes: float | dict[str, float]):
    ordinary = {"terms": {"loss": 1.0}, "wait_s": 0.1, "compute_s": 0.3, "checkpoint_s": 0.0}
    return {"step": step, "player": player, "rank": rank, **ordinary, **changes}


def test_thinning_keeps_every_extreme_and_the_weighted_mean():
    series = [(step, float((7 * step) % 101)) for step in range(1000)]
    points = thin(series, 50)
    assert len(points) == 50
    assert points[-1].step == 999
    assert min(point.low for point in points) == 0
    assert max(point.high for point in points) == 100
    # 50 groups of 20: the mean of their means is the mean of all.
    assert sum(point.mean for point in points) / 50 == pytest.approx(
        sum(value for _, value in series) / 1000
    )


def test_a_short_series_is_not_thinned():
    assert [point.mean for point in thin([(0, 3.0), (5, 4.0)], 50)] == [3.0, 4.0]


def test_smoothing_leaves_a_constant_as_it_is_from_the_first_value_on():
    assert smoothed([2.0, 2.0, 2.0], 0.9) == pytest.approx([2.0, 2.0, 2.0])


def test_smoothing_weighs_the_past_geometrically():
    # Weights 1/2 and 1/4 of 3/4.
    assert smoothed([0.0, 3.0], 0.5) == pytest.approx([0.0, 3.0 * 2 / 3])


def test_ticks_are_round_and_lie_within_the_axis():
    ticks = axis_ticks(0, 600, wanted=4)
    assert [(tick.place, tick.label) for tick in ticks] == [
        (0, "0"),
        (pytest.approx(100 / 3), "200"),
        (pytest.approx(200 / 3), "400"),
        (100, "600"),
    ]


def test_one_spike_does_not_flatten_a_curve():
    series = [(step, 1.0 + 0.1 * (step % 2)) for step in range(2000)]
    series[1000] = (1000, 1e6)
    chart = draw("loss", "", series, 1999)
    quiet = [point for point in chart.points if point.high < 2]
    assert chart.high < 1e6
    assert len(quiet) == len(chart.points) - 1


def test_values_that_are_not_finite_are_counted_and_not_drawn():
    chart = draw("loss", "", [(0, 1.0), (1, math.nan), (2, math.inf), (3, 2.0)], 3)
    assert chart.dropped == 2
    assert [point.step for point in chart.points] == [0, 3]
    assert "nan" not in chart.line + chart.smooth + chart.band


@pytest.mark.parametrize("value", [0.0, 5.0, -5.0])
def test_a_constant_lies_within_its_axis(value):
    chart = draw("loss", "", [(0, value), (1, value)], 1)
    assert chart.low <= value <= chart.high
    assert chart.low < chart.high


def test_each_player_has_its_own_terms_averaged_over_the_workers():
    lines = [
        line(0, "phi", terms={"loss": 1.0}),
        line(0, "phi", rank=1, terms={"loss": 3.0}),
        line(1, "psi", terms={"error": 5.0}),
    ]
    phi, psi = player_panels(lines)
    assert (phi.title, phi.explanation) == ("phi", "one turn")
    assert [point.mean for point in phi.charts[0].points] == [2.0]
    assert [chart.name for chart in psi.charts] == ["error"]


def test_the_slowest_worker_sets_the_pace():
    lines = [
        line(0, "phi", wait_s=0.0, compute_s=0.25),
        line(0, "phi", rank=1, wait_s=0.25, compute_s=0.25),
    ]
    throughput, wait = machine_panel(lines).charts
    assert throughput.points[0].mean == pytest.approx(1 / 0.5)
    assert wait.points[0].mean == pytest.approx(50.0)


def test_the_clock_adds_up_what_the_journal_says():
    clock = read_clock([line(0, "phi"), line(1, "phi", checkpoint_s=0.2)])
    assert clock.steps == 2
    assert clock.total_s == pytest.approx(2 * (0.1 + 0.3) + 0.2)
    assert clock.steps_per_s == pytest.approx(2 / clock.total_s)


def test_the_wait_for_the_first_batch_does_not_blur_the_share_of_waiting():
    clock = read_clock([line(0, "phi", wait_s=60.0), *(line(k, "phi") for k in (1, 2))])
    assert clock.wait_share == pytest.approx(0.1 / 0.4)
    assert clock.wait_s == pytest.approx(60.0 + 2 * 0.1)


def test_known_players_and_terms_are_explained_and_pause_where_others_move():
    phases = [Phase("initial", 0, 2), Phase("round 1, static", 2, 4)]
    lines = [line(step, "segmenter" if step < 2 else "static") for step in range(4)]
    phi, chi = player_panels(lines, phases)
    assert phi.explanation == f"{PLAYERS['segmenter']}; 2 turns"
    assert phi.charts[0].meaning == TERMS["loss"]
    assert [(pause.start, pause.width) for pause in phi.pauses] == [(50, 50)]
    assert [(pause.start, pause.width) for pause in chi.pauses] == [(0, 50)]
    assert [part.label for part in machine_panel(lines, phases).sections] == ["initial", "round 1"]
