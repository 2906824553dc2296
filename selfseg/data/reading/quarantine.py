"""Damaged shards that a run goes on without: so many at most, and all workers alike."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import NonNegativeInt

from selfseg.config import Config
from selfseg.data.format.damage import DamagedShard
from selfseg.errors import UserError


class Loss(Config):
    """From which step on a run does without a shard, and why."""

    step: NonNegativeInt
    shard: str
    samples: int
    cause: str


class Quarantine:
    """Knows which shards a run does without.

    All workers hold one and know the same: before every step each says what it has met.
    """

    def __init__(
        self,
        budget: int,
        *,
        gather: Callable[[str], list[str]],
        tell: Callable[[str], None],
    ) -> None:
        """Begin with all shards.

        Args:
            budget: how many of them the run may do without.
            gather: from a text to those of all workers, by rank; collective.
            tell: hears in a line of each shard that is left out.
        """
        self._budget, self._gather, self._tell = budget, gather, tell
        self.losses: tuple[Loss, ...] = ()

    def state(self) -> list[dict[str, Any]]:
        """Return what a resumed run must know: every loss so far."""
        return [loss.model_dump() for loss in self.losses]

    def restore(self, state: Iterable[Mapping[str, Any]]) -> None:
        """Take over what `state` returned, from among what a run has to know."""
        self.losses = tuple(Loss.model_validate(entry) for entry in state if "shard" in entry)

    def look(self, step: int, met: object) -> bool:
        """Tell whether shards are left out from `step` on that were not before.

        Collective.

        Args:
            step: the one to come.
            met: what this worker got for it: a batch, or an error.

        Raises:
            UserError: more shards are damaged than the budget allows; names all of them.
        """
        mine = _loss(step, met).model_dump_json() if isinstance(met, DamagedShard) else ""
        met_by_all = [Loss.model_validate_json(text) for text in self._gather(mine) if text]
        found = {loss.shard: loss for loss in met_by_all}
        known = {loss.shard for loss in self.losses}
        new = [found[shard] for shard in sorted(found.keys() - known)]
        self.losses = (*self.losses, *new)
        if len(self.losses) > self._budget:
            raise _too_many(self.losses, self._budget)
        for loss in new:
            self._tell(
                f"step {step}: the run goes on without shard {loss.shard} and its {loss.samples} "
                f"samples: {loss.cause}"
            )
        if new:
            self._tell(
                f"data.quarantine: {self._budget - len(self.losses)} more shards may be lost"
            )
        return bool(new)


def _loss(step: int, error: DamagedShard) -> Loss:
    shard = error.shard
    return Loss(step=step, shard=shard.name, samples=shard.samples, cause=str(error))


def _too_many(losses: Sequence[Loss], budget: int) -> UserError:
    named = " | ".join(loss.cause for loss in losses)
    return UserError(
        f"{len(losses)} damaged shards are more than the {budget} of data.quarantine: {named}; "
        "mend the collection and repeat the command, or begin a run with a larger data.quarantine"
    )
