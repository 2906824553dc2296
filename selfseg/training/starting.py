"""What worker 0 notes of an attempt before it begins, and before old lines are dropped."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from selfseg.training.attempts import Attempt, Lost, attempt_of, read_attempts, write
from selfseg.training.audience import Failure
from selfseg.training.damaged import without_damaged
from selfseg.training.journal import lines_from


def begin(
    run_url: str,
    *,
    first_step: int,
    workers: int,
    launched: float | None,
    failure: Failure | None,
    tell: Callable[[str], None],
) -> Attempt:
    """Note that an attempt begins; to be called by worker 0, before its journal goes on.

    Args:
        run_url: the run's folder.
        first_step: where it goes on.
        workers: how many take part.
        launched: when the command began; None: now.
        failure: what stopped the attempt before it, if it was of the same command.
        tell: hears in a line of each record that could not be read, and of where it is now.
    """
    now = time.time()
    earlier = without_damaged(run_url, partial(read_attempts, run_url), tell)
    lines = without_damaged(run_url, partial(lines_from, run_url, 0, first_step), tell)
    attempt = Attempt(
        number=earlier[-1].number + 1 if earlier else 1,
        cause=_cause(earlier, launched, failure),
        launched=launched or now,
        began=now,
        first_step=first_step,
        workers=workers,
        lost=tuple(_lost(lines, earlier, first_step, failure)),
    )
    write(run_url, attempt)
    return attempt


def _cause(earlier: Sequence[Attempt], launched: float | None, failure: Failure | None) -> str:
    if failure is not None:
        return failure.cause
    if earlier and earlier[-1].launched == launched:
        return "workers were moved, or became more or fewer"
    return "the command was given again" if earlier else "the command"


def _lost(
    lines: Sequence[Mapping[str, Any]],
    earlier: Sequence[Attempt],
    first_step: int,
    failure: Failure | None,
) -> Iterator[Lost]:
    """Find what was taken from `first_step` on and held until now, by attempt.

    Args:
        lines: of worker 0 from `first_step` on.
        earlier: attempts, in order.
        first_step: where the run goes on.
        failure: what stopped the last of them, if that is known.
    """
    lines = [
        line
        for line in lines
        if (owner := attempt_of(line["step"], earlier)) and line["time"] >= owner.began
    ]
    for attempt in earlier:
        own = [line for line in lines if attempt_of(line["step"], earlier) == attempt]
        steps = len(own)
        began = own[0]["time"] - own[0]["compute_s"] if own else attempt.began
        ended = own[-1]["time"] if own else attempt.began
        told = failure if attempt is earlier[-1] else None
        if told is not None and told.time > attempt.began and told.step > first_step:
            # Its last lines may not have been written; but it had told how far it was.
            steps, ended = max(steps, told.step - first_step), max(ended, told.time)
        if steps:
            yield Lost(attempt.number, steps, began, ended)
