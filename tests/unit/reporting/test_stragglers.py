"""Who holds up the others is told from what no worker waits for: its batch, its forward pass."""

import pytest

from selfseg.reporting.stragglers import MARGIN, name_stragglers, read_paces


def lines(rank: int, *, wait_s: float, forward_s: float, step_s: float = 1.0):
    """Ten steps of `step_s` each, as all workers of a step take it together."""
    return [
        {
            "step": step,
            "rank": rank,
            "wait_s": wait_s,
            "forward_s": forward_s,
            "compute_s": step_s - wait_s,
        }
        for step in range(10)
    ]


def test_a_worker_whose_batches_come_late_is_named_though_it_computes_the_shortest():
    paces = read_paces(
        [
            *lines(0, wait_s=0.01, forward_s=0.2),
            *lines(1, wait_s=0.315, forward_s=0.2),
            *lines(2, wait_s=0.02, forward_s=0.2),
        ]
    )
    assert min(paces, key=lambda pace: pace.compute_s).rank == 1
    # Of the others' 0.01 and 0.02 s the median is 0.015 s.
    assert paces[1].wait_lag_s == pytest.approx(0.315 - 0.015)
    assert name_stragglers(paces) == [
        "Worker 1 holds up the others: its batches come 0.300 s later, 30 % of a step."
    ]


def test_a_slow_forward_pass_is_named_though_all_computing_takes_as_long():
    paces = read_paces([*lines(0, wait_s=0.0, forward_s=0.5), *lines(1, wait_s=0.0, forward_s=0.2)])
    assert paces[0].compute_s == paces[1].compute_s
    assert name_stragglers(paces) == [
        "Worker 0 holds up the others: its forward pass ends 0.300 s later, 30 % of a step."
    ]


@pytest.mark.parametrize(("late_s", "named"), [(0.9 * MARGIN, 0), (1.1 * MARGIN, 1)])
def test_only_a_worker_that_is_later_by_more_than_the_margin_is_named(late_s, named):
    paces = read_paces(
        [*lines(0, wait_s=late_s, forward_s=0.2), *lines(1, wait_s=0.0, forward_s=0.2)]
    )
    assert len(name_stragglers(paces)) == named


def test_a_worker_alone_and_lines_that_know_no_forward_pass_say_nothing():
    assert read_paces(lines(0, wait_s=0.5, forward_s=0.2)) == []
    old = [{"step": 0, "rank": rank, "wait_s": 0.1, "compute_s": 0.2} for rank in (0, 1)]
    assert read_paces(old) == []
