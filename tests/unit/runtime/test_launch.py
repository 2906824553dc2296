"""When a run is given up: a failure that comes back, and none that a checkpoint lies before."""

from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import ray
from ray.exceptions import RayActorError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from selfseg.errors import UsageError, UserError
from selfseg.runtime import launch
from selfseg.runtime.board import Board as RealBoard
from selfseg.runtime.launch import MAX_FAILURES, _Supervisor, first_line, gpus_for, scaling
from selfseg.runtime.ray_train import _check_patience
from selfseg.training.trainee import Leaving
from selfseg.training.watchdog import Place


class Board:
    """The board's methods, without an actor."""

    def __init__(self) -> None:
        self.newest, self.gone = 0, False
        self.notes: list[str] = []
        self.saved = SimpleNamespace(remote=self._saved)
        self.causes: list[str] = []
        self.note_failure = SimpleNamespace(remote=self.causes.append)
        self.stop_asked = False
        self.stopping = SimpleNamespace(remote=lambda: self.stop_asked)
        self.post = SimpleNamespace(remote=lambda report: self.notes.extend(report.notes))

    def _saved(self) -> int:
        if self.gone:
            raise RayActorError
        return self.newest


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    clock = count(0, 60)
    monkeypatch.setattr(launch.time, "monotonic", lambda: float(next(clock)))
    return Board()


def fail(supervisor: _Supervisor, error: Exception | None = None) -> None:
    supervisor.after_exception(None, {1: error or ZeroDivisionError("a bug")})


def test_a_failure_that_keeps_coming_back_is_raised(board):
    supervisor = _Supervisor(board)
    for _ in range(MAX_FAILURES):
        fail(supervisor)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        fail(supervisor)
    assert len(board.notes) == MAX_FAILURES
    assert board.causes == ["worker 1 failed: ZeroDivisionError a bug"] * MAX_FAILURES


def test_a_failure_that_ray_tells_of_again_and_again_is_one(board, monkeypatch):
    supervisor = _Supervisor(board)
    clock = count(0, 0.5)
    monkeypatch.setattr(launch.time, "monotonic", lambda: next(clock))
    for _ in range(5 * MAX_FAILURES):
        fail(supervisor)
    assert board.causes == ["worker 1 failed: ZeroDivisionError a bug"]


def test_a_worker_that_is_gone_is_named_as_lost_and_not_another_whose_connection_broke(board):
    lost = WorkerHealthCheckFailedError("A worker health check failed.", RayActorError())
    supervisor = _Supervisor(board)
    for _ in range(MAX_FAILURES):
        supervisor.after_exception(None, {0: RuntimeError("connection closed by peer"), 1: lost})
    assert board.causes == ["worker 1 was lost"] * MAX_FAILURES
    with pytest.raises(RayActorError):
        fail(supervisor, lost)


def test_failures_before_a_checkpoint_are_forgotten(board):
    supervisor = _Supervisor(board)
    for step in range(1, 3 * MAX_FAILURES):
        board.newest = step
        fail(supervisor)
    for _ in range(MAX_FAILURES - 1):
        fail(supervisor)
    with pytest.raises(ZeroDivisionError):
        fail(supervisor)


def test_a_board_that_is_gone_forgets_nothing(board):
    supervisor = _Supervisor(board)
    board.newest, board.gone = 5, True
    for _ in range(MAX_FAILURES):
        fail(supervisor)
    with pytest.raises(ZeroDivisionError):
        fail(supervisor)


def test_a_users_mistake_is_raised_at_once(board):
    with pytest.raises(UserError, match="ingest it again"):
        fail(_Supervisor(board), UserError("shard 7: damaged: ingest it again"))


def test_workers_that_leave_a_node_are_started_elsewhere_however_often(board):
    supervisor = _Supervisor(board)
    for _ in range(3 * MAX_FAILURES):
        fail(supervisor, Leaving("saved at step 7"))
    assert board.notes == ["a node is being taken away: saved at step 7, moving to others"]


def test_workers_that_leave_because_the_run_is_to_stop_are_not_started_again(board):
    board.stop_asked = True
    with pytest.raises(Leaving, match="saved at step 7"):
        fail(_Supervisor(board), Leaving("saved at step 7"))


def test_a_fixed_number_of_workers_is_not_a_range():
    assert scaling((2, 2), use_gpu=False).num_workers == 2
    assert scaling((1, 4), use_gpu=False).num_workers == (1, 4)


@pytest.mark.parametrize(("gpus", "used"), [(0, False), (4, True), (5, True)])
def test_workers_have_a_gpu_each_or_all_train_on_cpus(monkeypatch, gpus, used):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 16.0, "GPU": float(gpus)})
    assert gpus_for(4) is used


def test_fewer_gpus_than_workers_are_refused_instead_of_left_idle(monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 16.0, "GPU": 3.0})
    message = r"^--workers 4: the cluster has 3 GPUs and .* give --workers 3; to train on CPUs, "
    with pytest.raises(UsageError, match=message):
        gpus_for(4)


def test_a_failure_is_told_to_the_attempt_after_it_alone(monkeypatch):
    monkeypatch.setattr("selfseg.runtime.board.publisher", lambda run_url: Mock())
    board: Any = RealBoard("run", draining=())
    board.beat(1, Place("next batch", waits=False, seconds=3.0), "node")
    board.note_failure("worker 1 was lost")
    told = board.begin()
    assert told is not None
    assert told.cause == "worker 1 was lost"
    assert board.places() == {}
    assert board.begin() is None


@pytest.mark.parametrize(("patience", "hang_s"), [("100", 100.0), ("600", 60.0)])
def test_who_waits_for_a_store_longer_than_a_hang_may_last_is_refused(
    monkeypatch, patience, hang_s
):
    monkeypatch.setenv("SELFSEG_STORAGE_PATIENCE", patience)
    with pytest.raises(UsageError, match=f"^setting loop.hang_timeout_s: {hang_s:.0f} s is no"):
        _check_patience(hang_s)
    _check_patience(float(patience) + 1)


def test_a_cause_that_is_kept_holds_no_secret():
    error = OSError("GET https://somebody:hunter2hunter2@host/x failed\nand more")
    assert first_line(error) == "OSError GET https://***@host/x failed"
