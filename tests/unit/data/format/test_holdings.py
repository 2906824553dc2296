"""Several objects on their way at the same time."""

import threading

import pytest

from selfseg.data.format.holdings import AHEAD, AT_ONCE, several_at_once


def test_what_is_done_at_once_comes_in_order():
    together = threading.Barrier(AT_ONCE, timeout=30)

    def work(number: int) -> int:
        together.wait()  # breaks if fewer are on their way
        return -number

    numbers = range(4 * AHEAD)
    assert list(several_at_once(work, numbers)) == [(number, -number) for number in numbers]


def test_of_many_objects_few_are_taken_before_their_turn():
    taken: list[int] = []

    def numbers():
        for number in range(10 * AHEAD):
            taken.append(number)
            yield number

    for number, _ in several_at_once(abs, numbers()):
        assert len(taken) <= number + 1 + AHEAD
    assert len(taken) == 10 * AHEAD


def test_the_first_error_stops_the_rest():
    done: list[int] = []

    def work(number: int) -> None:
        if number == 3:
            raise ConnectionAbortedError
        done.append(number)

    with pytest.raises(ConnectionAbortedError):
        list(several_at_once(work, range(10 * AHEAD)))
    assert len(done) <= 3 + 1 + AHEAD
