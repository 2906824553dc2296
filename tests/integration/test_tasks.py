"""Calls on an embedded Ray: their results, their mistakes, and processes that die."""

import os
from collections.abc import Iterator

import pytest
import ray

from selfseg.errors import UsageError
from selfseg.runtime.cluster import connect
from selfseg.runtime.counting import Counter
from selfseg.runtime.tasks import TRIES, each

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.shutdown()
    connect(2)
    yield
    ray.shutdown()


def test_every_item_comes_back_once_with_its_result():
    results = list(each(lambda number: number**2, range(7), at_once=2))
    assert sorted(results) == [(number, number**2) for number in range(7)]


def test_a_mistake_of_the_users_arrives_as_it_was_raised():
    def work(number: int) -> int:
        raise UsageError(f"item {number} is wrong; choose another")

    with pytest.raises(UsageError, match=r"^item 3 is wrong; choose another$"):
        list(each(work, [3], at_once=1))


def test_an_item_on_which_processes_die_is_given_up_and_the_rest_goes_on(tmp_path):
    def work(number: int) -> str:
        if number == 1:
            (tmp_path / str(os.getpid())).touch()
            os._exit(1)
        return "done"

    results = dict(each(work, range(3), at_once=2, crashed=lambda number: f"{number} crashed"))
    assert results == {0: "done", 1: "1 crashed", 2: "done"}
    assert len(list(tmp_path.iterdir())) == TRIES


def test_one_call_at_a_time_keeps_the_order():
    seen = [item for item, _ in each(lambda number: number, range(5), at_once=1)]
    assert seen == [0, 1, 2, 3, 4]


def test_a_count_that_is_told_again_does_not_count_twice():
    counter = Counter()
    counter.report("a", 5)
    counter.report("b", 2)
    counter.report("a", 3)  # begun again elsewhere
    assert counter.total() == 5
