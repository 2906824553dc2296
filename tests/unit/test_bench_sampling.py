"""The program `tools/bench_sampling.py`: what it computes and draws; what it times is its own."""

from xml.etree import ElementTree

import pytest
from bench_sampling import SIDES, Case, Cost, cost_table, figure_of, measure_alone, settings_of
from sampling_noise import noises, relative_noise

from selfseg.methods.proposal.config import ProposalConfig
from tests.equivalence.test_proposal_sampling import (
    LAWS,
    LIVE,
    OBJECT,
    batch_baseline,
    gradient_noise,
    peak,
    probability_of,
)

SVG = "{http://www.w3.org/2000/svg}"
SINGLE = [Cost(side**2, 0.1, 0.1, 10) for side in SIDES]
WHOLE = [Cost(side**2, side**2 / 64, side**2 / 64, 4 * side**2) for side in SIDES]


@pytest.mark.parametrize("law", ["importance", "uniform"])
@pytest.mark.parametrize("others", [None, 15])
def test_its_noise_is_that_of_the_estimator_itself(law, others):
    logits = peak(0.6)
    probability = probability_of(logits).detach()[0]
    baseline = {} if others is None else batch_baseline(logits, LAWS[law], others)
    variance = gradient_noise(logits, LAWS[law], OBJECT, **baseline)
    slope = probability * (OBJECT - (probability * OBJECT).sum())
    q = LAWS[law](probability.unsqueeze(0))[0]
    found = relative_noise(probability[LIVE], q[LIVE], OBJECT[LIVE], others=others)
    assert found == pytest.approx(variance / slope.square().sum().item())


def test_a_p_that_knows_nothing_is_uniform_however_it_is_drawn_from():
    share, (near, uniform, near_less, uniform_less) = noises(64, 0.0)
    assert share < 0.1
    assert (near, near_less) == pytest.approx((uniform, uniform_less))
    assert near_less < near / 10


@pytest.mark.parametrize("everything", [True, False])
def test_a_case_is_the_recipe_on_another_grid_all_of_whose_cells_are_live(everything):
    config = settings_of(Case("proposal_cpu", 16, everything, 64))
    assert isinstance(config.method, ProposalConfig)
    detector = config.method.detector
    assert (detector.cells, detector.outer_ring, config.data.height) == (16, True, 64)
    assert config.method.sampling == ("all" if everything else "importance")
    assert config.data.batch_size == (1 if everything else 16)
    assert config.method.perceptual.weights == "none"


@pytest.mark.slow
def test_the_whole_sum_of_64_cells_costs_more_than_one_draw():
    one, everything = (
        measure_alone(Case("proposal_cpu", 8, everything, 64)) for everything in (False, True)
    )
    assert all(value > 0 for value in (one["seconds"], one["processor_s"]))
    assert everything["processor_s"] > 5 * one["processor_s"]


def test_what_does_not_fit_has_a_row_all_the_same():
    table = cost_table(SINGLE, [1, 1, 1], WHOLE[:2])
    assert list(table.columns[4].cells)[-2:] == ["1,024.0", "does not fit"]
    assert list(table.columns[5].cells) == ["1.000", "1.000", "1.000", "1.000", "4.000", ""]


def test_the_figure_has_a_level_line_for_one_draw_and_a_rising_one_for_the_whole_sum():
    lines = [
        [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
        for line in ElementTree.fromstring(figure_of(SINGLE, WHOLE)).iter(f"{SVG}polyline")
    ]
    assert len(lines) == 4  # time and memory
    for level, rising in (lines[:2], lines[2:]):
        assert len({y for _, y in level}) == 1
        first, second, third = (y for _, y in rising)
        # Four times as much is as far up, wherever one is: downwards is positive.
        assert first - second == pytest.approx(second - third, abs=0.2)
        assert first > third
