"""One worker's part of a run: resume, train, save, keep the journal. No Ray, no paper."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from selfseg.contracts import FramePairs, Method
from selfseg.training import attempts, checkpoint, starting
from selfseg.training.attempts import Attempt
from selfseg.training.audience import Audience, CurveLog, Report
from selfseg.training.checkpoint import RunRecord, TrainingState
from selfseg.training.journal import Journal
from selfseg.training.loop import LoopConfig, Progress, Step, train
from selfseg.training.meter import Meter
from selfseg.training.optimisers import OptimisersConfig, build_optimisers
from selfseg.training.run_folder import check_same
from selfseg.training.saving import Saver
from selfseg.training.worker import Worker


class Course(Protocol):
    """What became of what a run reads, and when: a checkpoint keeps it."""

    def state(self) -> Sequence[Mapping[str, Any]]:
        """Return what the batches of a resumed run depend on besides its step."""
        ...

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Take over what `state` returned."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What every worker of a run must agree on.

    until: step to pause at, with a checkpoint and as if stopped there; None: only at the end
    launched: when the command began, in seconds since 1970; None: with the workers
    """

    run_url: str
    record: RunRecord
    seed: int
    optim: OptimisersConfig
    loop: LoopConfig
    until: int | None = None
    launched: float | None = None


def run(
    plan: Plan,
    method: Method,
    open_batches: Callable[[int], Iterator[FramePairs]],
    *,
    worker: Worker,
    audience: Audience,
    log: CurveLog | None = None,
    optimisers: dict[str, Optimizer] | None = None,
    begin: Callable[[], None] | None = None,
    courses: Sequence[Course] = (),
) -> None:
    """Train `method` as far as planned, from the newest checkpoint of the run if there is one.

    Collective. The weights at the end depend on plan, batches and number of workers alone,
    however often the run was stopped.

    Args:
        plan: the same on every worker.
        method: with the same fresh weights on every worker.
        open_batches: from a step to this worker's endless batches from there on.
        worker: this process.
        audience: hears of progress and of checkpoints.
        log: gets curves, from worker 0.
        optimisers: by player; None: those of the plan.
        begin: sets initial weights if there is no checkpoint; None: the method's own.
        courses: of the batches, restored before they are opened; each knows its own entries.
    """
    method.players.to(worker.device)
    optimisers = optimisers or build_optimisers(method.players, plan.optim)
    trainee = Trainee(method, optimisers, plan, worker, begin, courses=courses, tell=audience.saved)
    notes = trainee.resume()
    attempt = _begin(trainee, plan, worker, audience)
    journal = Journal(plan.run_url, worker.rank, trainee.progress.step)
    if trainee.speaks:
        audience.report(Report(trainee.progress.step, trainee.steps, notes=tuple(notes)))
    with ExitStack() as stack:
        stack.enter_context(closing(trainee))
        if log is not None:
            stack.callback(log.close)
        batches = stack.enter_context(closing(_closable(open_batches(trainee.progress.step))))
        _record(trainee, batches, journal, audience, log)
    if attempt is not None:
        attempts.finish(plan.run_url, attempt)
    worker.gather("all is written")


def _begin(trainee: "Trainee", plan: Plan, worker: Worker, audience: Audience) -> Attempt | None:
    """Let worker 0 note that an attempt begins."""
    if not trainee.speaks:
        return None
    return starting.begin(
        plan.run_url,
        first_step=trainee.progress.step,
        workers=worker.world_size,
        launched=plan.launched,
        failure=audience.failure(),
    )


def _record(
    trainee: "Trainee",
    batches: Iterator[FramePairs],
    journal: Journal,
    audience: Audience,
    log: CurveLog | None,
) -> None:
    """Take the steps that are left; note, save and tell along the way."""
    meter = Meter(trainee.steps)
    checkpoint_s = 0.0
    for step in trainee.train(batches):
        journal.add(step, checkpoint_s=checkpoint_s)
        meter.add(step)
        checkpoint_s = 0.0
        if trainee.checkpoint_is_due():
            checkpoint_s = _save(trainee, journal)
        if trainee.speaks and meter.is_due(trainee.progress.step):
            _tell(meter.report(trainee.progress.step), audience, log)


def _save(trainee: "Trainee", journal: Journal) -> float:
    """Write the journal and begin a checkpoint; return the seconds that training waited."""
    started = time.perf_counter()
    journal.flush()
    trainee.save()
    return time.perf_counter() - started


def _tell(report: Report, audience: Audience, log: CurveLog | None) -> None:
    audience.report(report)
    if log is not None:
        rates = {"steps_per_s": report.steps_per_s, "wait_share": report.wait_share}
        log.add(report.step, flatten(report.terms) | rates)


def flatten(terms: dict[str, dict[str, float]]) -> dict[str, float]:
    """Name the terms of all players player/term."""
    return {f"{player}/{name}": value for player in terms for name, value in terms[player].items()}


class Trainee:
    """A method in training, with all that must survive a crash."""

    def __init__(
        self,
        method: Method,
        optimisers: dict[str, Optimizer],
        plan: Plan,
        worker: Worker,
        begin: Callable[[], None] | None,
        *,
        courses: Sequence[Course],
        tell: Callable[[int], None],
    ) -> None:
        self.progress = Progress()
        self._saver, self._tell = Saver(self._commit), tell
        self.steps = plan.loop.steps
        self._stop = plan.loop.steps if plan.until is None else plan.until
        self.speaks = worker.rank == 0
        self._method, self._optimisers = method, optimisers
        self._plan, self._worker, self._courses = plan, worker, courses
        self._begin = begin or partial(method.initialise, tuple(method.players))
        self._phase_ends = {phase.stop for phase in method.phases}
        self._kept = {phase.stop for phase in method.phases if phase.completes is not None}
        # The loop puts wrappers in the place of players; these stay what they are.
        self._players = nn.ModuleDict(dict(method.players.items()))
        self._average: AveragedModel | None = None
        if plan.optim.average:
            self._average = AveragedModel(
                self._players,
                multi_avg_fn=get_ema_multi_avg_fn(plan.optim.average),
                use_buffers=True,
            )

    def resume(self) -> list[str]:
        """Take over the newest checkpoint that verifies; return notes on what was found.

        Raises:
            UsageError: it is of another run.
        """
        notes: list[str] = []
        found = ""
        if self._worker.rank == 0:
            newest, notes = checkpoint.newest_whole(self._plan.run_url)
            found = newest or ""
        # All must start from the same: what another worker would find by itself may differ.
        found = self._worker.gather(found)[0]
        if not found:
            self._begin()
            return [*notes, "all checkpoints are damaged: starting anew"] if notes else []
        saved, record = checkpoint.load(found)
        check_same(self._plan.record, record, origin=f"--run {found}", option="--run")
        self._restore(saved)
        return [*notes, f"going on from step {saved.step}"]

    def train(self, batches: Iterator[FramePairs]) -> Iterator[Step]:
        """Take the steps that are left; schedules know nothing of a pause."""
        if self.progress.step >= self._stop:
            return
        for step in train(
            self._method,
            batches,
            optimisers=self._optimisers,
            optim=self._plan.optim,
            worker=self._worker,
            config=self._plan.loop,
            seed=self._plan.seed,
            progress=self.progress,
        ):
            if self._average is not None:
                self._average.update_parameters(self._players)
            yield step
            if self.progress.step == self._stop:
                return

    def checkpoint_is_due(self) -> bool:
        """Tell whether the run should be saved now; the same on every worker."""
        step = self.progress.step
        regular = step % self._plan.loop.checkpoint_every == 0
        return regular or step == self._stop or step in self._phase_ends

    def save(self) -> None:
        """Begin a checkpoint, which is committed while training goes on."""
        self._worker.gather("journal written")
        if self._worker.rank == 0:
            self._saver.begin(self._snapshot())

    def close(self) -> None:
        """Wait until the checkpoint that was begun last is committed."""
        self._saver.close()

    def _commit(self, state: TrainingState) -> None:
        checkpoint.save(self._plan.run_url, state, self._plan.record)
        checkpoint.prune(self._plan.run_url, self._plan.loop.keep_checkpoints, always=self._kept)
        self._tell(state.step)

    def _snapshot(self) -> TrainingState:
        average = self._average
        return TrainingState(
            step=self.progress.step,
            skipped=self.progress.skipped,
            weights=self._players.state_dict(),
            average=None if average is None else average.module.state_dict(),
            optimisers={name: each.state_dict() for name, each in self._optimisers.items()},
            worker=self._worker.state(),
            course=[entry for course in self._courses for entry in course.state()],
        )

    def _restore(self, saved: TrainingState) -> None:
        self.progress.step, self.progress.skipped = saved.step, saved.skipped
        self._players.load_state_dict(dict(saved.weights))
        for name, optimiser in self._optimisers.items():
            optimiser.load_state_dict(saved.optimisers[name])
        if self._average is not None and saved.average is not None:
            self._average.module.load_state_dict(dict(saved.average))
            self._average.n_averaged.fill_(1)  # anything but 0: the mean has begun
        self._worker.restore(dict(saved.worker))
        for course in self._courses if saved.course else ():
            course.restore(saved.course)


def _closable(batches: Iterator[FramePairs]) -> Generator[FramePairs, None, None]:
    """Make any iterator closable; closing it lets a loader end its processes."""
    yield from batches
