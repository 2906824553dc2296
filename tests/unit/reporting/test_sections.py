import pytest

from selfseg.contracts import Phase
from selfseg.reporting.sections import pauses, sections

PHASES = (
    Phase("initial", 0, 40, completes=0),
    Phase("round 1, static", 40, 60),
    Phase("round 1, dynamic", 60, 80, completes=1),
    Phase("round 2, static", 80, 90),
    Phase("round 2, dynamic", 90, 100, completes=2),
)


def test_phases_of_a_round_are_one_section():
    found = [(part.start, part.width, part.label) for part in sections(PHASES, 100)]
    assert found == [(0, 40, "initial"), (40, 40, "round 1"), (80, 20, "round 2")]


def test_a_narrow_section_keeps_its_number_only():
    phases = [Phase("initial", 0, 5), Phase("round 1, static", 5, 15), Phase("round 2", 15, 100)]
    assert [part.label for part in sections(phases, 100)] == ["", "1", "round 2"]


def test_sections_end_where_the_run_has_come_to():
    found = sections(PHASES, 50)
    assert [(part.start, part.width, part.label) for part in found] == [
        (0, 80, "initial"),
        (80, pytest.approx(20), "round 1"),
    ]


def test_a_player_pauses_where_it_has_no_step():
    static = {*range(40, 60), *range(80, 90)}
    found = [(part.start, part.width) for part in pauses(PHASES, static, 100)]
    assert found == [(0, 40), (60, 20), (90, 10)]


def test_a_run_of_one_phase_has_neither():
    assert sections((), 100) == []
    assert pauses((), {1, 2}, 100) == []
