"""What workers leave word of: an outage is told once, a drain to whom it concerns."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from selfseg import storage
from selfseg.runtime.board import Board, RayAudience
from selfseg.training.watchdog import Place

PLACE = Place("next batch", waits=False, seconds=3.0)
AWAY, BACK = "s3://b/x: the store is away", "s3://b/x: answers again after 9 s"


@pytest.fixture
def drained() -> set[str]:
    return set()


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch, drained: set[str]) -> Any:
    monkeypatch.setattr("selfseg.runtime.board.publisher", lambda run_url: Mock())
    return Board("run", drained)


def shown(board: Any) -> list[str]:
    return [note for report in board.take() for note in report.notes]


def test_an_outage_that_one_worker_meets_is_shown_with_its_number(board, monkeypatch):
    ends = SimpleNamespace(note_outage=SimpleNamespace(remote=board.note_outage))
    audience = RayAudience(ends, "run")  # pyright: ignore[reportArgumentType] # no actor
    for waits, note in ((True, AWAY), (False, BACK)):
        monkeypatch.setattr(storage, "is_waiting", lambda waits=waits: waits)
        audience.outage(3, note)
    assert shown(board) == [f"worker 3: {AWAY}", f"worker 3: {BACK}"]


def test_of_an_outage_that_all_meet_the_first_and_the_last_are_shown(board):
    for rank in (1, 0, 2):
        board.note_outage(rank, AWAY, waits=True)
    assert shown(board) == [f"worker 1: {AWAY}"]
    for rank in (2, 1, 0):
        board.note_outage(rank, BACK, waits=False)
    assert shown(board) == [f"worker 0: {BACK}; of the workers there waited 0, 1, 2"]
    board.note_outage(2, AWAY, waits=True)
    assert shown(board) == [f"worker 2: {AWAY}"]


def test_who_is_lost_while_it_waits_hides_no_later_outage(board):
    board.note_outage(1, AWAY, waits=True)
    board.begin()
    board.take()
    board.note_outage(0, AWAY, waits=True)
    board.note_outage(0, BACK, waits=False)
    assert shown(board) == [f"worker 0: {AWAY}", f"worker 0: {BACK}"]


def test_a_worker_leaves_when_its_own_node_is_taken(board, drained):
    assert not board.beat(1, PLACE, "hers")
    drained.add("hers")
    assert board.beat(1, PLACE, "hers")
    assert not board.stopping()  # it moves; the run goes on


def test_a_node_without_a_worker_of_the_run_is_taken_and_nobody_leaves(board, drained):
    drained.add("somebody else's")
    assert not board.beat(0, PLACE, "his")
    assert not board.beat(1, PLACE, "hers")


def test_a_worker_that_was_on_a_taken_node_before_stays_where_it_is_now(board, drained):
    drained.add("left")
    assert board.beat(1, PLACE, "left")
    assert not board.beat(0, PLACE, "new")  # before worker 0 says that the attempt begins
    board.begin()
    assert not board.beat(1, PLACE, "new")


def test_a_run_that_is_to_stop_is_told_so_wherever_its_workers_are(board):
    board.stop()
    assert board.beat(0, PLACE, "his")
