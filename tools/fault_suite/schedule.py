"""Which fault strikes which run, when, and where: a pure function of a seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

METHODS = ("dystab", "proposal")
STEPS, CHECKPOINT_EVERY = 80, 8
"""As in the recipes beside this file."""

LAST_STRIKE = STEPS - 2 * CHECKPOINT_EVERY
"""No fault later: the last checkpoints take the rest, and a fault must find a run."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One faulted run.

    number: counted from 1; alone with the seed it decides all the rest
    step: after which the fault strikes
    delay_s: from there, so that it may hit any part of a step
    rank: of the worker that is hit, where one is
    seconds: how long the fault lasts, where it lasts
    seed: of what else is drawn
    """

    number: int
    kind: str
    method: str
    step: int
    delay_s: float
    rank: int
    seconds: float
    seed: int


def schedule(seed: int, count: int, kinds: Sequence[str], *, workers: int) -> list[Planned]:
    """Plan `count` runs: every kind comes before any comes again, and then with the other method.

    A shorter schedule is the beginning of a longer one.
    """
    return [_planned(seed, number, kinds, workers) for number in range(1, count + 1)]


def _planned(seed: int, number: int, kinds: Sequence[str], workers: int) -> Planned:
    lap, place = divmod(number - 1, len(kinds))
    order = list(kinds)
    Random(f"{seed}/lap {lap}").shuffle(order)
    kind = order[place]
    draw = Random(f"{seed}/run {number}")
    return Planned(
        number=number,
        kind=kind,
        method=METHODS[(kinds.index(kind) + lap) % len(METHODS)],
        step=draw.randint(CHECKPOINT_EVERY + 1, LAST_STRIKE),
        delay_s=draw.uniform(0, 0.3),
        rank=draw.randrange(workers),
        seconds=draw.uniform(2, 8),
        seed=draw.randrange(2**32),
    )
