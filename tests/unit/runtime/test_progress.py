"""What the terminal shows of a run."""

import io

import pytest
from rich.console import Console

from selfseg.runtime.progress import Screen, clock
from selfseg.training.audience import Report

REPORT = Report(
    step=25,
    steps=100,
    steps_per_s=5.0,
    wait_share=0.0125,
    terms={"phi": {"loss": 1.25}, "psi": {"loss": 0.5}},
)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (75.2, "1:15"), (3599.6, "1:00:00"), (86399, "23:59:59")]
)
def test_times_are_told_in_hours_minutes_and_seconds(seconds, text):
    assert clock(seconds) == text


def test_without_a_terminal_there_is_a_line_with_rate_time_left_and_terms():
    shown = io.StringIO()
    with Screen(Console(file=shown, width=20)) as screen:
        screen.show(REPORT)
        screen.show(REPORT)  # too soon for another
    # 75 steps at 5 a second
    assert shown.getvalue() == (
        "step 25/100  5 steps/s  0:15 left  1.2 % waiting for data | phi loss 1.25 | psi loss 0.5\n"
    )


def test_on_a_terminal_the_display_is_live_and_notes_stay_above_it():
    shown = io.StringIO()
    with Screen(Console(file=shown, width=100, force_terminal=True)) as screen:
        screen.show(Report(0, 100, notes=("going on from step 4 [sic]:100: [/sic]",)))
        screen.show(REPORT)
    assert "going on from step 4 [sic]:100: [/sic]" in shown.getvalue()
    assert "25/100" in shown.getvalue()
    assert "0:15 left" in shown.getvalue()
