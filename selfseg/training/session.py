"""One worker's part of a run: resume, train, save, keep the journal. No Ray, no paper."""

import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, closing

from torch.optim import Optimizer

from selfseg.contracts import FramePairs, Method
from selfseg.training import attempts, starting
from selfseg.training.attempts import Attempt
from selfseg.training.audience import Audience, CurveLog, Report
from selfseg.training.journal import Journal
from selfseg.training.meter import Meter
from selfseg.training.optimisers import build_optimisers
from selfseg.training.trainee import Course, Plan, Trainee
from selfseg.training.watchdog import Meeting, Watchdog
from selfseg.training.worker import Worker


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
    best: Callable[[], Collection[int]] = tuple,
    meeting: Meeting | None = None,
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
        best: returns the steps that scored best so far, whose checkpoints stay.
        meeting: where workers say where they are, so that one that hangs is named and ended;
            None: nobody watches.

    Raises:
        Leaving: a worker was told to end; all is saved.
    """
    method.players.to(worker.device)
    optimisers = optimisers or build_optimisers(method.players, plan.optim)
    trainee = Trainee(
        method, optimisers, plan, worker, begin, courses=courses, audience=audience, best=best
    )
    with ExitStack() as stack:
        if meeting is not None:
            stack.enter_context(_watchdog(trainee, plan, worker, meeting))
        _train(trainee, plan, open_batches, worker=worker, audience=audience, log=log)


def _watchdog(trainee: Trainee, plan: Plan, worker: Worker, meeting: Meeting) -> Watchdog:
    return Watchdog(
        worker.rank,
        meeting,
        [worker.whereabouts, trainee.writing],
        timeout_s=plan.loop.hang_timeout_s,
        run_url=plan.run_url,
    )


def _train(
    trainee: Trainee,
    plan: Plan,
    open_batches: Callable[[int], Iterator[FramePairs]],
    *,
    worker: Worker,
    audience: Audience,
    log: CurveLog | None,
) -> None:
    """Resume, and take the steps that are left."""
    notes = trainee.resume()
    attempt = _begin(trainee, plan, worker, audience)
    at = trainee.progress.step
    journal = Journal(plan.run_url, worker.rank, at, launched=plan.launched)
    if trainee.speaks:
        skipped = trainee.progress.skipped
        audience.report(Report(at, trainee.steps, notes=tuple(notes), skipped=skipped))
    with ExitStack() as stack:
        stack.enter_context(closing(trainee))
        if log is not None:
            stack.callback(log.close)
        batches = stack.enter_context(closing(_closable(open_batches(at))))
        _record(trainee, batches, journal, audience, log)
    if attempt is not None:
        attempts.finish(plan.run_url, attempt)
    worker.gather("all is written")


def _begin(trainee: Trainee, plan: Plan, worker: Worker, audience: Audience) -> Attempt | None:
    """Let worker 0 note that an attempt begins."""
    if not trainee.speaks:
        return None
    return starting.begin(
        plan.run_url,
        first_step=trainee.progress.step,
        workers=worker.world_size,
        launched=plan.launched,
        failure=audience.begin(),
        tell=trainee.note,
    )


def _record(
    trainee: Trainee,
    batches: Iterator[FramePairs],
    journal: Journal,
    audience: Audience,
    log: CurveLog | None,
) -> None:
    """Take the steps that are left; note, save and tell along the way."""
    meter = Meter(trainee.steps, trainee.rank)
    checkpoint_s = 0.0
    for step in trainee.train(batches):
        journal.add(step, checkpoint_s=checkpoint_s)
        meter.add(step, checkpoint_s=checkpoint_s)
        checkpoint_s = 0.0
        leaves = trainee.must_leave()
        if leaves or trainee.checkpoint_is_due():
            checkpoint_s = _save(trainee, journal)
        if meter.is_due(trainee.progress.step):
            report = meter.report(trainee.progress.step, skipped=trainee.progress.skipped)
            _tell(report, audience, log)
        if leaves:
            trainee.leave()
    journal.close()


def _save(trainee: Trainee, journal: Journal) -> float:
    """Write the journal and begin a checkpoint; return the seconds that training waited."""
    started = time.perf_counter()
    journal.flush()
    trainee.save(journal.unwritten())
    return time.perf_counter() - started


def _tell(report: Report, audience: Audience, log: CurveLog | None) -> None:
    audience.report(report)
    if log is not None:
        rates = {"steps_per_s": report.steps_per_s, "wait_share": report.wait_share}
        log.add(report.step, flatten(report.terms) | rates)


def flatten(terms: dict[str, dict[str, float]]) -> dict[str, float]:
    """Name the terms of all players player/term."""
    return {f"{player}/{name}": value for player in terms for name, value in terms[player].items()}


def _closable(batches: Iterator[FramePairs]) -> Generator[FramePairs, None, None]:
    """Make any iterator closable; closing it lets a loader end its processes."""
    yield from batches
