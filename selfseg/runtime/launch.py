"""Ray Train around a training function: start it, watch it, restart it, and say why it ended."""

import contextlib
import os
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import ray
import ray.train
from ray.actor import ActorProxy
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchTrainer
from rich.console import Console

from selfseg.errors import UsageError, UserError
from selfseg.runtime.cluster import on_this_node
from selfseg.runtime.progress import Screen
from selfseg.training.audience import Failure, Report

MAX_FAILURES = 2
"""Failures in a row, without a checkpoint between them, after which a run is given up."""

POLL_S = 0.3
"""Time between two looks at the board."""


class _Board:
    """Where worker 0 leaves its reports and the command picks them up.

    Ray Train hands metrics to its own controller, which polls them slowly and holds up a
    worker that reports faster; a post to an actor costs the worker nothing.
    """

    def __init__(self) -> None:
        self._reports: list[Report] = []
        self._saved = 0
        self._reached, self._reached_at = 0, 0.0
        self._failure: Failure | None = None

    @ray.method
    def post(self, report: Report) -> None:
        self._reports.append(report)
        if report.steps_per_s:
            self._reached, self._reached_at = report.step, time.time()

    @ray.method
    def note_failure(self, cause: str) -> None:
        self._failure = Failure(cause, self._reached, self._reached_at)

    @ray.method
    def failure(self) -> Failure | None:
        return self._failure

    @ray.method
    def note_saved(self, step: int) -> None:
        self._saved = step

    @ray.method
    def saved(self) -> int:
        return self._saved

    @ray.method
    def take(self) -> list[Report]:
        reports, self._reports = self._reports, []
        return reports


@dataclass(frozen=True, slots=True)
class RayAudience:
    """Reports to the board."""

    board: ActorProxy[_Board]

    def report(self, report: Report) -> None:
        """Post, and do not wait."""
        self.board.post.remote(report)

    def saved(self, step: int) -> None:
        """Have it noted: failures before it are forgotten."""
        self.board.note_saved.remote(step)

    def failure(self) -> Failure | None:
        """Ask the board, which the supervisor told."""
        with contextlib.suppress(RayError):  # its node may be gone
            return ray.get(self.board.failure.remote())
        return None


class _Supervisor(UserCallback):
    """Decides in Ray Train's controller whether a failure is worth a restart.

    A user's mistake is not, nor is a failure that comes back before the next checkpoint.
    Raising here is what ends a run at once.
    """

    def __init__(self, board: ActorProxy[_Board]) -> None:
        self._board = board
        self._failures = self._saved = 0

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Stop, or let Ray start all workers anew; they go on from the newest checkpoint."""
        del run_context
        for error in worker_exceptions.values():
            if isinstance(error, UserError):
                raise error
        if self._has_saved():
            self._failures = 0
        self._failures += 1
        rank, error = min(worker_exceptions.items(), key=lambda item: item[0])
        if self._failures > MAX_FAILURES:
            raise error
        cause = "was lost" if isinstance(error, RayError) else f"failed: {first_line(error)}"
        self._board.note_failure.remote(f"worker {rank} {cause}")
        note = f"worker {rank} {cause}; starting again from the newest checkpoint"
        self._board.post.remote(Report(0, 0, notes=(note,)))

    def _has_saved(self) -> bool:
        """Tell whether the run got somewhere since this was asked last."""
        before = self._saved
        with contextlib.suppress(RayError):  # the board's node may be gone
            self._saved = ray.get(self._board.saved.remote())
        return self._saved > before


def launch(
    program: Callable[[dict[str, Any]], None], settings: dict[str, Any], *, workers: int
) -> None:
    """Run `program` in `workers` processes of the connected cluster until it is done.

    `program` gets `settings` and, under "audience", whom to report to. It finds a process
    group in place: NCCL if there is a GPU for each worker, else gloo.

    Raises:
        UserError: raised by a worker, or workers were lost too often.
        KeyboardInterrupt: the user stopped it; all workers have ended.
    """
    use_gpu = gpus_for(workers)
    # Workers report seldom, but the end, or the loss, of one should be noticed soon.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    placed = ray.remote(num_cpus=0)(_Board).options(scheduling_strategy=on_this_node())
    board = placed.remote()
    callbacks: list[UserCallback] = [_Supervisor(board)]
    with tempfile.TemporaryDirectory(prefix="selfseg-") as bookkeeping:
        trainer = TorchTrainer(
            _report_traceback(program),
            train_loop_config={**settings, "audience": RayAudience(board)},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
            run_config=RunConfig(
                # Checkpoints are ours, committed and verified through `selfseg.storage`: Ray's
                # are neither, and its S3 is a second stack of credentials. What Ray notes of a
                # launch is thrown away after it, so a torn note cannot block the next.
                name=f"launch-{datetime.now(UTC):%Y%m%dT%H%M%S%f}",
                storage_path=bookkeeping,
                failure_config=FailureConfig(max_failures=-1),  # `_Supervisor` counts
                callbacks=callbacks,
            ),
        )
        with _watching(board), _own_interrupts():
            _fit(trainer)


def _fit(trainer: TorchTrainer) -> None:
    try:
        trainer.fit()
    except ray.train.ControllerError as error:
        cause = error.controller_failure
        if isinstance(cause, RayError):
            raise UserError(
                f"workers were lost {MAX_FAILURES + 1} times without a checkpoint in between "
                f"(last: {first_line(cause)}): the same command goes on from the newest one"
            ) from None
        raise cause from None
    except SystemExit:
        # Ray Train answers an interrupt by ending its workers and then the program, quietly.
        raise KeyboardInterrupt from None


def gpus_for(workers: int) -> bool:
    """Tell whether each worker can have a GPU.

    Raises:
        UsageError: there is not even a CPU for each; Ray would wait for one for ever.
    """
    have = ray.cluster_resources()
    if have.get("CPU", 0) < workers:
        raise UsageError(
            f"--workers {workers}: the cluster has {have.get('CPU', 0):.0f} CPUs and each worker "
            "takes one: ask for fewer, or add nodes"
        )
    return have.get("GPU", 0) >= workers


def _report_traceback(
    program: Callable[[dict[str, Any]], None],
) -> Callable[[dict[str, Any]], None]:
    """Let errors keep the worker's traceback, which pickling them would drop."""

    def run(settings: dict[str, Any]) -> None:
        try:
            program(settings)
        except UserError:
            raise
        except Exception as error:
            error.add_note(traceback.format_exc())
            raise

    return run


@contextmanager
def _watching(board: ActorProxy[_Board]) -> Iterator[None]:
    """Show what arrives on the board while the body runs."""
    done = threading.Event()

    def watch() -> None:
        with Screen(Console()) as screen:
            last_look = False
            while not last_look:
                last_look = done.wait(POLL_S)
                with contextlib.suppress(RayError):  # its node may be gone; the run goes on
                    for report in ray.get(board.take.remote()):
                        screen.show(report)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """Undo, afterwards, what Ray Train does to the program's handling of Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def first_line(error: BaseException) -> str:
    """Name an error in a line."""
    return f"{type(error).__name__} {str(error).strip().splitlines()[0] if str(error) else ''}"
