from types import SimpleNamespace
from typing import Any

import pytest

from selfseg.contracts import Phase
from selfseg.reporting.looks import learned_views

PHASES = (Phase("initial", 0, 10, completes=0), Phase("round 1, static", 10, 20))


def model(step: int, phases: tuple[Phase, ...]) -> Any:
    method = SimpleNamespace(views=("fused", "dynamic", "static"), phases=phases)
    return SimpleNamespace(step=step, method=method)


@pytest.mark.parametrize(("step", "best"), [(5, "dynamic"), (10, "dynamic"), (11, "fused")])
def test_a_bootstrap_is_seen_by_motion_until_its_static_model_has_begun_to_learn(step, best):
    assert learned_views(model(step, PHASES))[0] == best


def test_a_run_of_one_phase_has_all_its_views_from_the_start():
    assert learned_views(model(1, ())) == ("fused", "dynamic", "static")
