"""Who asks which nodes are taken gets an answer at once, whatever Ray's control store does."""

import threading
import time

import pytest

from selfseg.runtime import draining
from selfseg.runtime.draining import ANSWER_S, DrainingNodes
from selfseg.training.watchdog import BEAT_S


class Clock:
    """A time that goes on when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(draining, "time", clock)
    monkeypatch.setattr(draining, "ANSWER_S", 60)  # however busy the machine is
    return clock


def test_a_drain_is_known_a_beat_later_and_so_is_its_end(clock):
    known: set[str] = set()
    nodes = DrainingNodes(known.copy)
    assert "a" not in nodes
    known.add("a")
    clock.now += BEAT_S
    assert "a" in nodes
    assert "b" not in nodes
    known.clear()
    clock.now += BEAT_S
    assert "a" not in nodes


def test_ray_is_asked_once_a_beat_however_many_workers_there_are(clock):
    asked: list[float] = []

    def ask() -> set[str]:
        asked.append(clock.now)
        return set()

    nodes = DrainingNodes(ask)
    for _ in range(100):
        assert "a" not in nodes
        clock.now += BEAT_S / 32  # no rounding
    assert asked == [0, BEAT_S, 2 * BEAT_S, 3 * BEAT_S]


def test_who_asks_waits_once_for_a_store_that_does_not_answer_and_then_no_more(clock, monkeypatch):
    known: set[str] = {"a"}
    asked: list[float] = []
    answers = threading.Event()
    answers.set()

    def ask() -> set[str]:
        asked.append(clock.now)
        answers.wait(60)
        return known.copy()

    nodes = DrainingNodes(ask)
    assert "a" in nodes
    answers.clear()
    monkeypatch.setattr(draining, "ANSWER_S", ANSWER_S)
    known.add("b")
    began = time.monotonic()
    for _ in range(50):
        clock.now += BEAT_S
        assert "a" in nodes  # the last answer holds
        assert "b" not in nodes
    assert time.monotonic() - began < 20 * ANSWER_S  # of 50
    assert len(asked) == 2
    answers.set()
    while "b" not in nodes:  # what it told late counts as well
        assert time.monotonic() < began + 60
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_question_that_failed_is_asked_again(clock):
    answers = [{"a"}, {"a", "b"}]

    def ask() -> set[str]:
        if clock.now == BEAT_S:
            raise OSError("the store is away")
        return answers.pop(0)

    nodes = DrainingNodes(ask)
    assert "a" in nodes
    clock.now += BEAT_S
    assert "a" in nodes
    clock.now += BEAT_S
    assert "b" in nodes
