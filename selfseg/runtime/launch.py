"""Ray Train around a training function: start it, watch it, restart it, and say why it ended."""

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from types import FrameType
from typing import Any

import ray
import ray.train
from ray.actor import ActorProxy
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig
from rich.console import Console

from selfseg.errors import UsageError, UserError
from selfseg.redaction import redacted
from selfseg.reporting import wording
from selfseg.runtime.attempt import Trainer, in_worker
from selfseg.runtime.beside import beside
from selfseg.runtime.board import Board, RayAudience, RayMeeting, put_up
from selfseg.runtime.metrics import publish_goodput
from selfseg.runtime.progress import Screen
from selfseg.training.audience import Report
from selfseg.training.trainee import Leaving

Crew = tuple[int, int]
"""Fewest and most workers of a run."""

EXCHANGE_PATIENCE = 4
"""An exchange between workers fails so many times later than a watchdog names who is late."""

MAX_FAILURES = 2
"""Failures in a row, without a checkpoint between them, after which a run is given up."""

SAME_S = 2.0
"""Ray looks every half a second, and again at what it has told while it waits for other workers;
an attempt that comes after takes longer than this to start."""

POLL_S = 0.3
"""Time between two looks at the board."""


class _Supervisor(UserCallback):
    """Decides in Ray Train's controller whether a failure is worth a restart.

    A user's mistake is not, nor is a failure that comes back before the next checkpoint.
    Raising here is what ends a run at once.
    """

    def __init__(self, board: ActorProxy[Board]) -> None:
        self._board = board
        self._failures = self._saved = 0
        self._seen = -SAME_S
        self._left = ""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Stop, or let Ray start all workers anew; they go on from the newest checkpoint."""
        del run_context
        failures = {rank: cause_of(error) for rank, error in worker_exceptions.items()}
        for error in failures.values():
            if isinstance(error, UserError):
                raise error
        for error in failures.values():
            if isinstance(error, Leaving):
                self._leave(error)
                return
        if self._is_told_again():
            return
        if self._has_saved():
            self._failures = 0
        self._failures += 1
        # A lost worker is the cause of the others' broken connections.
        rank, error = min(
            failures.items(), key=lambda item: (not isinstance(item[1], RayError), item[0])
        )
        if self._failures > MAX_FAILURES:
            raise error
        cause = "was lost" if isinstance(error, RayError) else f"failed: {first_line(error)}"
        self._board.note_failure.remote(f"worker {rank} {cause}")
        self._tell(f"worker {rank} {cause}; starting again from the newest checkpoint")

    def _leave(self, error: Leaving) -> None:
        """Stop if that is what was asked for; else let the workers move to nodes that stay."""
        with contextlib.suppress(RayError):
            if ray.get(self._board.stopping.remote()):
                raise error
        if str(error) != self._left:  # Ray looks at the same end of its workers twice
            self._board.note_failure.remote("a node is being taken away")
            self._tell(f"a node is being taken away: {error}, moving to others")
        self._left = str(error)

    def _tell(self, note: str) -> None:
        self._board.post.remote(Report(0, 0, notes=(note,)))

    def _is_told_again(self) -> bool:
        """Tell whether Ray looks at the end of the same attempt as a moment ago."""
        now = time.monotonic()
        again, self._seen = now - self._seen < SAME_S, now
        return again

    def _has_saved(self) -> bool:
        """Tell whether the run got somewhere since this was asked last."""
        before = self._saved
        with contextlib.suppress(RayError):  # the board's node may be gone
            self._saved = ray.get(self._board.saved.remote())
        return self._saved > before


def launch(
    program: Callable[[dict[str, Any]], None],
    settings: dict[str, Any],
    *,
    workers: int | Crew,
    hang_timeout_s: float,
    loaders: bool = False,
) -> None:
    """Run `program` in `workers` processes of the connected cluster until it is done.

    `program` gets `settings` and, under "audience", whom to report to, and under "meeting"
    where workers say where they are. It finds a process group in place: NCCL where there
    are GPUs, else gloo.

    Args:
        program: what each worker does.
        settings: what it is told; names the run's folder under "run_url".
        workers: how many there are; from-to: as many as there is room for, also after some
            were lost or nodes were added.
        hang_timeout_s: when the workers' own watchdogs bark; exchanges fail only later.
        loaders: whether each worker will have processes that load its data.

    Raises:
        UserError: raised by a worker, or workers were lost too often.
        KeyboardInterrupt: the user stopped it; all workers have ended.
        Leaving: asked to by SIGTERM, the run is saved and stopped.
    """
    fewest, most = (workers, workers) if isinstance(workers, int) else workers
    use_gpu = gpus_for(fewest)
    # Workers report seldom, but the end, or the loss, of one should be noticed soon.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    # The board knows which nodes are taken; Ray's watcher is a process more at every attempt.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    if fewest < most:
        # After it Ray counts anew what there is room for, instead of waiting for what is gone.
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "10")
    run_url = settings["run_url"]
    board = put_up(run_url)
    callbacks: list[UserCallback] = [_Supervisor(board)]
    with tempfile.TemporaryDirectory(prefix="selfseg-") as bookkeeping:
        trainer = Trainer(
            in_worker(program, loaders=loaders),
            train_loop_config={
                **settings,
                "audience": RayAudience(board, run_url),
                "meeting": RayMeeting(board),
            },
            torch_config=TorchConfig(timeout_s=round(EXCHANGE_PATIENCE * hang_timeout_s)),
            scaling_config=scaling((fewest, most), use_gpu=use_gpu),
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
        watching = beside(partial(_watch, board))
        metrics = beside(partial(publish_goodput, run_url))
        with watching, metrics, _own_interrupts(), _stopping_softly(board):
            _fit(trainer)


def scaling(crew: Crew, *, use_gpu: bool) -> ScalingConfig:
    """Tell Ray how many workers there are to be.

    A fixed number is not a range of one: a range is filled from what Ray keeps for it, and waits
    while a controller that was killed is still on Ray's books.
    """
    fewest, most = crew
    return ScalingConfig(num_workers=most if fewest == most else crew, use_gpu=use_gpu)


def _fit(trainer: Trainer) -> None:
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
    """Tell whether workers have a GPU each; without any in the cluster they train on CPUs.

    Raises:
        UsageError: there is not even a CPU for each, for which Ray would wait for ever; or there
            are GPUs, which cost too much to stand by, but not one for each.
    """
    have = ray.cluster_resources()
    cpus, gpus = have.get("CPU", 0), int(have.get("GPU", 0))
    if cpus < workers:
        raise UsageError(
            f"--workers {workers}: the cluster has {cpus:.0f} CPUs and each worker takes one: ask "
            "for fewer, or add nodes"
        )
    if 0 < gpus < workers:
        raise UsageError(
            f"--workers {workers}: the cluster has {wording.plural(gpus, 'GPU')} and each worker "
            f"wants one: wait for nodes, or give --workers {gpus}; to train on CPUs, start Ray "
            "with CUDA_VISIBLE_DEVICES="
        )
    return gpus > 0


def _watch(board: ActorProxy[Board], done: threading.Event) -> None:
    """Show what arrives on the board until `done`, and once more."""
    with Screen(Console()) as screen:
        last_look = False
        while not last_look:
            last_look = done.wait(POLL_S)
            with contextlib.suppress(RayError):  # its node may be gone; the run goes on
                for report in ray.get(board.take.remote()):
                    screen.show(report)


@contextmanager
def _stopping_softly(board: ActorProxy[Board]) -> Iterator[None]:
    """Let a first SIGTERM have the run saved and stopped; a second ends the program at once.

    Schedulers send it when a job is stopped or its machine is taken, and SIGKILL some seconds
    later.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        signal.signal(signal.SIGTERM, before)
        board.stop.remote()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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


def cause_of(error: Exception) -> Exception:
    """Return what Ray's check of a worker's health met, if that is what failed."""
    return getattr(error, "health_check_failure", error)


def first_line(error: BaseException) -> str:
    """Name an error in a line, which may be kept: secrets in it are struck out."""
    line = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return redacted(f"{type(error).__name__} {line}")
