"""Who goes on from a rung, where trials come back in any order."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfseg.errors import UsageError
from selfseg.sweep.halving import Queue
from selfseg.sweep.plan import Halving, Trial
from selfseg.sweep.results import Result
from tests.unit.sweep.toy_sweep import STEPS, trials_of

RUNGS = Halving(rungs=3, factor=3)


class Course:
    """Trials whose scores are known, on so many places; who began first comes back first."""

    def __init__(self, trials: list[Trial], halving: Halving, scores: Mapping[str, float]) -> None:
        self.queue = Queue(trials, halving, {})
        self.begun: list[tuple[str, int]] = []
        self._scores = scores
        self._rungs: dict[str, dict[int, float]] = {}

    def run(self, places: int) -> None:
        under_way: list[tuple[str, int]] = []
        while not self.queue.over:
            while len(under_way) < places and (found := self.queue.next()):
                under_way.append(found)
                self.begun.append(found)
            name, step = under_way.pop(0)
            known = self._rungs.setdefault(name, {})
            known[step] = self._scores[name]
            self.queue.scored(name, known)


def names(trials: list[Trial]) -> list[str]:
    return [trial.name for trial in trials]


def result(rungs: dict[int, float]) -> Result:
    return Result(
        identity="", status="running", seed=0, steps=max(rungs), seconds=1, scoring_s=0,
        rungs=rungs, records=(),
    )  # fmt: skip


def test_in_a_grid_all_train_to_their_ends_in_order(tmp_path):
    trials = trials_of(tmp_path)
    course = Course(trials, Halving(rungs=1), dict.fromkeys(names(trials), 0.5))
    course.run(places=2)
    assert course.begun == [(name, STEPS) for name in names(trials)]
    assert course.queue.left_behind == []


@pytest.mark.parametrize("worst_first", [False, True])
@pytest.mark.parametrize("places", [1, 2, 5])
def test_of_eighteen_six_go_on_and_then_two_in_whatever_order_they_come(
    worst_first, places, tmp_path
):
    trials = trials_of(tmp_path, seeds=3)
    ranked = names(trials)[::-1] if worst_first else names(trials)
    course = Course(trials, RUNGS, {name: -float(place) for place, name in enumerate(ranked)})
    course.run(places)
    at = {step: [name for name, to in course.begun if to == step] for step in (1, 3, STEPS)}
    assert at[1] == names(trials)
    # With five places, who is late may be better than who went on before.
    late = places > 1 and worst_first
    assert set(ranked[:6]) <= set(at[3])
    assert len(at[3]) == 6 or late
    assert len(at[3]) <= 6 + places
    assert set(ranked[:2]) <= set(at[STEPS])
    assert len(at[STEPS]) == 2 or late
    assert len(at[STEPS]) <= 2 + places
    assert set(course.queue.left_behind) == set(ranked) - set(at[STEPS])


def test_nobody_goes_on_before_everybody_has_begun_but_before_all_are_back(tmp_path):
    trials = trials_of(tmp_path)
    first, second, third, *_ = names(trials)
    queue = Queue(trials, RUNGS, {})
    assert [queue.next() for _ in trials] == [(name, 1) for name in names(trials)]
    queue.scored(first, {1: 0.1})
    queue.scored(second, {1: 0.5})
    assert queue.next() is None
    assert not queue.over
    queue.scored(third, {1: 0.2})
    assert queue.next() == (second, 3)
    assert queue.next() is None


def test_equal_scores_keep_the_order(tmp_path):
    trials = trials_of(tmp_path)
    course = Course(trials, RUNGS, dict.fromkeys(names(trials), 0.5))
    course.run(places=1)
    first, second, *_ = names(trials)
    assert course.begun[6:] == [(first, 3), (second, 3), (first, STEPS)]


def test_of_fewer_than_the_factor_one_goes_to_its_end(tmp_path):
    trials = trials_of(tmp_path)[:2]
    course = Course(trials, RUNGS, dict(zip(names(trials), (0.1, 0.2), strict=True)))
    course.run(places=2)
    assert course.begun[2:] == [(trials[1].name, 3), (trials[1].name, STEPS)]


def test_who_has_no_score_at_a_rung_is_not_ranked_there(tmp_path):
    """The first was trained to its end by a grid, and the second from there to rung 2 at once."""
    trials = trials_of(tmp_path)
    whole, jumped, *rest = names(trials)
    queue = Queue(trials, RUNGS, {whole: result({STEPS: 0.1}), jumped: result({3: 0.2})})
    for place, name in enumerate(rest):
        assert queue.next() == (name, 1)
        queue.scored(name, {1: 0.9 - 0.1 * place})
    assert queue.next() == (rest[0], 3)
    queue.scored(rest[0], {1: 0.9, 3: 0.1})
    # Of two at rung 2 the one that came there otherwise is better.
    assert queue.next() == (jumped, STEPS)


def test_trials_of_different_lengths_can_only_be_trained_whole(tmp_path):
    longer = {"method.proposal_steps": 14, "loop.steps": 18}
    trials = [trials_of(tmp_path)[0], trials_of(tmp_path, changes=longer)[1]]
    with pytest.raises(UsageError, match=r"^--scheduler asha: trials are of different lengths"):
        Queue(trials, RUNGS, {})
    queue = Queue(trials, Halving(rungs=1), {})
    assert [queue.next(), queue.next()] == [(trial.name, trial.steps) for trial in trials]


def test_who_failed_takes_nobodys_place(tmp_path):
    trials = trials_of(tmp_path)[:3]
    best, second, third = names(trials)
    queue = Queue(trials, RUNGS, {})
    for place, name in enumerate(names(trials)):
        queue.next()
        queue.scored(name, {1: 0.9 - 0.1 * place})
    assert queue.next() == (best, 3)
    queue.failed(best)
    assert queue.next() == (second, 3)
    queue.scored(second, {1: 0.8, 3: 0.8})
    assert queue.next() == (second, STEPS)
    queue.failed(second)
    assert queue.next() == (third, 3)


@settings(deadline=None)
@given(
    scores=st.lists(st.integers(0, 5), min_size=6, max_size=6),
    killed_after=st.integers(0, 9),
    factor=st.integers(2, 4),
)
def test_killed_anywhere_it_goes_on_as_if_nothing_had_happened(
    tmp_path_factory, scores, killed_after, factor
):
    trials = trials_of(tmp_path_factory.getbasetemp())
    given_scores = dict(zip(names(trials), map(float, scores), strict=True))
    halving = Halving(3, factor)
    whole = Course(trials, halving, given_scores)
    whole.run(places=1)
    known: dict[str, dict[int, float]] = {}
    for name, step in whole.begun[:killed_after]:
        known.setdefault(name, {})[step] = given_scores[name]
    again = Queue(trials, halving, {name: result(rungs) for name, rungs in known.items()})
    rest = []
    while found := again.next():
        rest.append(found)
        name, step = found
        known.setdefault(name, {})[step] = given_scores[name]
        again.scored(name, known[name])
    assert rest == whole.begun[killed_after:]
