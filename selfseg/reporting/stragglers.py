"""Which worker the others wait for, as far as the journals can tell.

All workers of a step end it together, and those who are early spend the difference in the average
of the gradients, inside their own backward pass. So neither the step nor its computing as a whole
tells who was late. Two parts do, since nobody waits for anybody in them: the wait for the batch,
and the forward pass. A worker that is slow in its backward pass or in the network alone is not
found; on a GPU, the forward pass is timed by the host, which sees slow hosts, not slow GPUs.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from selfseg.reporting import wording

MARGIN = 0.1
"""Share of a step by which a worker must be later than the others to be named."""


@dataclass(frozen=True, slots=True)
class Pace:
    """A worker's median seconds.

    wait_s, forward_s, compute_s: its own
    wait_lag_s, forward_lag_s: what it took longer than the median of the other workers, step by
        step
    """

    rank: int
    wait_s: float
    forward_s: float
    compute_s: float
    wait_lag_s: float
    forward_lag_s: float


def read_paces(lines: Iterable[Mapping[str, Any]]) -> list[Pace]:
    """Measure every worker over the steps that all of them took; none if there is but one."""
    steps: dict[int, dict[int, Mapping[str, Any]]] = defaultdict(dict)
    for line in lines:
        if "forward_s" in line:
            steps[line["step"]][line["rank"]] = line
    ranks = sorted({rank for step in steps.values() for rank in step})
    shared = [step for step in steps.values() if len(step) == len(ranks)]
    if len(ranks) < 2 or not shared:
        return []

    def own(rank: int, name: str) -> float:
        return median(step[rank][name] for step in shared)

    def lag(rank: int, name: str) -> float:
        return median(
            step[rank][name] - median(step[other][name] for other in ranks if other != rank)
            for step in shared
        )

    return [
        Pace(
            rank,
            own(rank, "wait_s"),
            own(rank, "forward_s"),
            own(rank, "compute_s"),
            lag(rank, "wait_s"),
            lag(rank, "forward_s"),
        )
        for rank in ranks
    ]


def name_stragglers(paces: Iterable[Pace]) -> list[str]:
    """Say in a line who holds up the others, and by what; nobody if all keep pace."""
    return [line for pace in paces for line in _complaints(pace)]


def _complaints(pace: Pace) -> Iterator[str]:
    step_s = pace.wait_s + pace.compute_s
    for lag_s, what in (
        (pace.wait_lag_s, "its batches come"),
        (pace.forward_lag_s, "its forward pass ends"),
    ):
        if step_s and lag_s > MARGIN * step_s:
            late = wording.duration(lag_s)
            share = wording.percent(lag_s / step_s)
            yield f"Worker {pace.rank} holds up the others: {what} {late} later, {share} of a step."
