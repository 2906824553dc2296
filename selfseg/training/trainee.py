"""What a run is, and one worker's part of it: a method in training with all that must survive."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from selfseg.contracts import FramePairs, Method
from selfseg.training import attempts, checkpoint, retention
from selfseg.training.audience import Audience, Report
from selfseg.training.checkpoint import RunRecord, TrainingState
from selfseg.training.journal import write_up
from selfseg.training.ladder import Ladder
from selfseg.training.loop import LoopConfig, Progress, Step, train
from selfseg.training.optimisers import OptimisersConfig
from selfseg.training.run_folder import check_same
from selfseg.training.saving import Saver
from selfseg.training.watchdog import Whereabouts
from selfseg.training.worker import Worker


class Course(Protocol):
    """What became of what a run reads, and when: a checkpoint keeps it."""

    def state(self) -> Sequence[Mapping[str, Any]]:
        """Return what the batches of a resumed run depend on besides its step."""
        ...

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Take over what `state` returned."""
        ...


class Leaving(Exception):  # noqa: N818 - nothing failed
    """The run ends here for now, all of it saved: a node is taken, or it was asked to stop."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What every worker of a run must agree on.

    until: step to pause at, with a checkpoint and as if stopped there; None: only at the end
    launched: when the command began, in seconds since 1970, by which it is known; None: with the
        workers, and there is no other
    """

    run_url: str
    record: RunRecord
    seed: int
    optim: OptimisersConfig
    loop: LoopConfig
    until: int | None = None
    launched: float | None = None


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
        audience: Audience,
        best: Callable[[], Collection[int]],
    ) -> None:
        self.progress = Progress()
        self._saver, self._audience = Saver(self._commit), audience
        self.writing = Whereabouts(call="")
        self.steps = plan.loop.steps
        self._stop = plan.loop.steps if plan.until is None else plan.until
        self.rank = worker.rank
        self.speaks = worker.rank == 0
        self._method, self._optimisers = method, optimisers
        self._plan, self._worker, self._courses = plan, worker, courses
        self._best = best
        self._begin = begin or partial(method.initialise, tuple(method.players))
        kept = {phase.stop for phase in method.phases if phase.completes is not None}
        phase_ends = {phase.stop for phase in method.phases}
        self._ladder = Ladder(plan.run_url, plan.loop, phase_ends, kept)
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
            UserError: it is of another run, or of a newer selfseg; or another command has taken
                over.
        """
        notes: list[str] = []
        found = ""
        if self._worker.rank == 0:
            self._check_held()
            for url in retention.unfinished(self._plan.run_url):
                checkpoint.delete(url)  # an earlier attempt's, which cannot commit it any more
            newest, notes = checkpoint.newest_whole(self._plan.run_url)
            found = newest or ""
            if notes and not found:
                aside = retention.set_aside(self._plan.run_url)
                notes.append(f"all checkpoints are damaged: starting anew; they lie in {aside}")
        # All must start from the same: what another worker would find by itself may differ.
        found = self._worker.gather(found)[0]
        if not found:
            self._begin()
            return notes
        saved, record = checkpoint.load(found)
        check_same(self._plan.record, record, origin=f"--run {found}", option="--run")
        self._restore(saved)
        self.progress.step, self.progress.skipped = saved.step, saved.skipped
        self.progress.recent = tuple(saved.recent)
        self._ladder.rollbacks = [(start, stop) for start, stop in saved.rollbacks]
        for course in self._courses if saved.course else ():
            course.restore(saved.course)
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
            if len(self.progress.recent) > self._plan.loop.max_skipped:
                self._roll_back(step)
            yield step
            if self.progress.step == self._stop:
                return

    def checkpoint_is_due(self) -> bool:
        """Tell whether the run should be saved now; the same on every worker."""
        step = self.progress.step
        return self._ladder.is_regular(step) or step == self._stop

    def save(self, unwritten: str) -> None:
        """Begin a checkpoint, which is committed while training goes on.

        Args:
            unwritten: lines of this worker's journal, which are to be written before it.
        """
        lines = [text for text in self._worker.gather(unwritten) if text]
        step = self.progress.step
        # Nothing comes after it, or it is one to keep.
        must = step == self._stop or step in self._ladder.kept or self._worker.leaving
        if self._worker.rank == 0 and not self._saver.begin(self._snapshot(), lines, must=must):
            self.note(
                f"step {step}: no checkpoint while the store is away or slow; training goes on"
            )

    def must_leave(self) -> bool:
        """Tell whether to save and end now; the same on every worker."""
        return self._worker.leaving and self.progress.step < self._stop

    def leave(self) -> None:
        """End when what was saved last is committed.

        Raises:
            Leaving: always, on every worker.
        """
        self._saver.finish()
        self._worker.gather("committed")
        raise Leaving(f"saved at step {self.progress.step}")

    def close(self) -> None:
        """Wait until the checkpoint that was begun last is committed."""
        self._saver.close()

    def _commit(self, state: TrainingState, lines: Sequence[str]) -> None:
        run_url, record = self._plan.run_url, self._plan.record
        with self.writing.doing("checkpoint write"):
            self._check_held()
            for text in lines:
                write_up(text)
            checkpoint.save(run_url, state, record, check=self._check_held)
        if self._ladder.is_regular(state.step):
            self._check_held()
            kept = {*self._ladder.kept, *self._best()}
            self._ladder.tidy(state.step, kept)
            keep = self._plan.loop.keep_checkpoints
            retention.prune(run_url, keep, newest=state.step, always=kept)
        self._audience.saved(state.step)

    def _check_held(self) -> None:
        attempts.check_held(self._plan.run_url, self._plan.launched)

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
            recent=self.progress.recent,
            rollbacks=tuple(self._ladder.rollbacks),
        )

    def _roll_back(self, step: Step) -> None:
        """Take over what was learnt before too many steps were not finite, and go on from here.

        Raises:
            UserError: there is no such checkpoint, or the run went back too often.
        """
        found = ""
        if self._worker.rank == 0 and len(self._ladder.rollbacks) < self._plan.loop.max_rollbacks:
            self._saver.finish()
            found = self._ladder.find(self.progress.recent[0])
        found = self._worker.gather(found)[0]
        if not found:
            raise self._ladder.end(step)
        saved, _ = checkpoint.load(found)
        self._restore(saved)
        for number in range(saved.step, self.progress.step):
            self._method.prepare(number)
        self.progress.recent, self.progress.overflows = (), 0
        self._ladder.rollbacks.append((saved.step, self.progress.step))
        self._worker.gather("went back")
        if self._worker.rank == 0:
            self._check_held()
            self._ladder.discard(saved.step, self.progress.step)
            line = f"{step.number}: player {step.player}: {step.fault} is not finite, too often"
            self.note(f"step {line}: going on from here with the weights of step {saved.step}")

    def note(self, line: str) -> None:
        """Tell of something that happened, besides what reports say."""
        self._audience.report(Report(0, 0, notes=(line,)))

    def _restore(self, saved: TrainingState) -> None:
        """Take over what a checkpoint knows of weights and optimisers."""
        self._players.load_state_dict(dict(saved.weights))
        for name, optimiser in self._optimisers.items():
            optimiser.load_state_dict(saved.optimisers[name])
        if self._average is not None and saved.average is not None:
            self._average.module.load_state_dict(dict(saved.average))
            self._average.n_averaged.fill_(1)  # anything but 0: the mean has begun
        self._worker.restore(dict(saved.worker))
