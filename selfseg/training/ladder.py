"""What follows when numbers are not finite: steps are left out; the run goes back; it ends.

To take the same steps again from the same checkpoint would lead to the same end, so a run that
goes back is not rewound: it takes over the weights of an older checkpoint and goes on at the
next step, with batches and draws it has not seen. Of the steps between nothing is left in it.
(PaLM, arXiv:2204.02311, section 5.1, got past its spikes in this way.) What is chosen depends
on steps alone, so a run that is stopped and resumed on the way chooses the same.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from selfseg.errors import UserError
from selfseg.training import checkpoint, commit
from selfseg.training.commit import DamagedCheckpoint
from selfseg.training.loop import LoopConfig, Step
from selfseg.training.retention import step_of


@dataclass(slots=True)
class Ladder:
    """A run's way down: which checkpoints it may go back to, and how often it did.

    phase_ends: steps that have a checkpoint besides those of every `checkpoint_every`
    kept: of these, the ones whose checkpoint is never deleted
    rollbacks: the runs of steps [start, stop) that left no trace in the weights
    """

    run_url: str
    config: LoopConfig
    phase_ends: Collection[int]
    kept: Collection[int]
    rollbacks: list[tuple[int, int]] = field(default_factory=list)

    def is_regular(self, step: int) -> bool:
        """Tell whether the run has a checkpoint of `step` however often it is stopped."""
        every = step % self.config.checkpoint_every == 0
        return every or step in self.phase_ends or any(step == stop for _, stop in self.rollbacks)

    def find(self, first: int) -> str:
        """Return the URL of the newest checkpoint from before step `first`; "": there is none.

        One that the run went back to already, or left behind then, is not taken again. Neither
        is one that is there only because the run was stopped: it would not be there otherwise.
        """
        for url in reversed(checkpoint.committed(self.run_url)):
            step = step_of(url)
            spent = any(start <= step < stop for start, stop in self.rollbacks)
            if step >= first or spent or not self.is_regular(step):
                continue
            try:
                commit.verify(url)
            except DamagedCheckpoint:
                continue
            return url
        return ""

    def discard(self, start: int, stop: int) -> None:
        """Delete the checkpoints of steps between `start` and `stop`: they led nowhere."""
        for url in checkpoint.committed(self.run_url):
            if start < step_of(url) < stop and step_of(url) not in self.kept:
                checkpoint.delete(url)

    def tidy(self, step: int, always: Collection[int] = ()) -> None:
        """Delete the checkpoints before `step` that were only made because the run was stopped.

        Those of the steps of `always` stay.
        """
        for url in checkpoint.committed(self.run_url):
            found = step_of(url)
            if found < step and found not in always and not self.is_regular(found):
                checkpoint.delete(url)

    def end(self, step: Step) -> UserError:
        """Say that the run ends at `step`: too many were not finite, and too often."""
        skipped = self.config.max_skipped
        before = f", and {skipped} steps before it were not" if skipped else ""
        tried = len(self.rollbacks)
        remedy = f"{tried} rollbacks did not help" if tried else "no older checkpoint to go back to"
        return UserError(
            f"step {step.number}: player {step.player}: {step.fault} is not finite{before}; "
            f"{remedy}: lower optim.learning_rate or set optim.clip_norm, and start a new run"
        )
