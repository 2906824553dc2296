"""Who trains next, and how far: every trial to its end, or rung by rung the better ones."""

from collections.abc import Mapping, Sequence

from selfseg.errors import UsageError
from selfseg.sweep.plan import Halving, Trial
from selfseg.sweep.results import Result


class Queue:
    """Successive halving of trials that are all known, without waiting for whole rungs.

    From a rung go on those who are among the best one in `factor` of all that were scored there,
    as in ASHA (Li et al., 2020), but nobody does before everybody has begun: the paper's supply of
    trials has no end, while here all are to be scored at the first rung anyway, and by then most
    are. Where scores are equal, the trials' order decides. A trial without a score at a rung, since
    an earlier command went by others, is not ranked there.

    Args:
        trials: in order.
        halving: their rungs; with one alone all train to their ends.
        results: what earlier commands scored, by name.

    Raises:
        UsageError: there are rungs, and trials have not all the same.
    """

    def __init__(
        self, trials: Sequence[Trial], halving: Halving, results: Mapping[str, Result]
    ) -> None:
        self._factor = halving.factor
        self._steps = {trial.name: halving.steps(trial.config) for trial in trials}
        if halving.rungs > 1 and len(set(self._steps.values())) > 1:
            raise UsageError(
                "--scheduler asha: trials are of different lengths, and scores of different steps "
                "cannot be ranked: take grid"
            )
        self._scores: dict[str, dict[int, float]] = {trial.name: {} for trial in trials}
        self._under_way: dict[str, int] = {}
        for trial in trials:
            if trial.name in results:
                self._note(trial.name, results[trial.name].rungs)

    def next(self) -> tuple[str, int] | None:
        """Return the name of who trains next, and to which step; None: nobody, for now."""
        found = self._next()
        if found is None:
            return None
        name, rung = found
        self._under_way[name] = rung
        return name, self._steps[name][rung]

    def scored(self, name: str, rungs: Mapping[int, float]) -> None:
        """Note all that a trial that was under way has scored by now, by step."""
        del self._under_way[name]
        self._note(name, rungs)

    def failed(self, name: str) -> None:
        """Forget a trial that was under way and failed for good: the others are ranked alone."""
        del self._under_way[name], self._scores[name]

    @property
    def over(self) -> bool:
        """Whether nobody is under way and nobody goes on."""
        return not self._under_way and self._next() is None

    @property
    def left_behind(self) -> list[str]:
        """Trials that were scored, and not at their ends."""
        return [
            name
            for name, scores in self._scores.items()
            if scores and max(scores) < len(self._steps[name]) - 1
        ]

    def _note(self, name: str, rungs: Mapping[int, float]) -> None:
        self._scores[name] = {
            rung: rungs[step] for rung, step in enumerate(self._steps[name]) if step in rungs
        }

    def _next(self) -> tuple[str, int] | None:
        """Return a name and a rung."""
        idle = {
            name: scores for name, scores in self._scores.items() if name not in self._under_way
        }
        for name, scores in idle.items():
            if not scores:
                return name, 0
        for rung in range(max(map(len, self._steps.values()), default=1) - 1):
            here = [name for name, scores in self._scores.items() if rung in scores]
            here.sort(key=lambda name: -self._scores[name][rung])
            awaited = any(target <= rung for target in self._under_way.values())
            # The last of a small rung goes on, once no other can come.
            places = max(len(here) // self._factor, 0 if awaited else 1)
            for name in here[:places]:
                if name in idle and max(idle[name]) == rung:
                    return name, rung + 1
        return None
