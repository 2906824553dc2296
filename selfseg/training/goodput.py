"""Where the time of a run went, and which share of it moved the weights that it ended with.

Every second from the first command on is counted once, under one name; docs/goodput.md says
which and why. Of a step, the wait for data is that of the worker that waited longest, since the
others wait for it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import expm1, sqrt
from typing import Any, Literal, get_args

from selfseg.training.attempts import (
    Attempt,
    Command,
    attempt_of,
    read_attempts,
    read_commands,
)
from selfseg.training.journal import FLUSH_S, read_lines

Use = Literal["productive", "startup", "wait", "checkpoint", "recovery", "redone", "other", "idle"]
"""What time goes into."""

Moment = tuple[float, Use]
"""When something ended, and what the time before it went into."""

Line = Mapping[str, Any]
"""A line of the journal."""


@dataclass(frozen=True, slots=True)
class Goodput:
    """A run's time in seconds, by what it went into.

    productive_s: computing steps that the run still has
    startup_s: from the command to the first step's batch
    wait_s: steps that waited for data
    checkpoint_s: training waited for a checkpoint, at the end for the last one's commit
    recovery_s: from the last that is known of a stopped attempt to the next one's first batch
    redone_s: steps that were lost, since no checkpoint had them
    other_s: between steps (notes, reports, moving averages), and the cluster's end
    idle_s: nobody gave the command; not part of `total_s`
    attempts: how often workers began
    redone_steps: lost steps that are known of
    """

    productive_s: float
    startup_s: float
    wait_s: float
    checkpoint_s: float
    recovery_s: float
    redone_s: float
    other_s: float
    idle_s: float
    attempts: int
    redone_steps: int

    @property
    def parts(self) -> dict[Use, float]:
        """All of its time but the idle, by what it went into; seconds."""
        return {use: getattr(self, f"{use}_s") for use in get_args(Use) if use != "idle"}

    @property
    def total_s(self) -> float:
        """All time in which a command was at work on the run."""
        return sum(self.parts.values())

    @property
    def share(self) -> float:
        """The goodput: productive share of the total; 0 before the first step."""
        return self.productive_s / self.total_s if self.total_s else 0.0


def read_goodput(run_url: str) -> Goodput | None:
    """Add up a run's time; None: it has no attempt on record."""
    attempts = read_attempts(run_url)
    if not attempts:
        return None
    return count_time(attempts, read_commands(run_url), read_lines(run_url))


def count_time(
    attempts: Sequence[Attempt], commands: Sequence[Command], lines: Iterable[Line]
) -> Goodput:
    """Add up the time of `attempts`, of which there is at least one.

    Args:
        attempts: in order.
        commands: those that could say when they ended.
        lines: of all workers.
    """
    seconds: dict[Use, float] = defaultdict(float)
    moments = list(_timeline(attempts, commands, lines))
    now = moments[0][0]
    for until, use in moments:
        seconds[use] += max(0.0, until - now)
        now = max(now, until)
    return Goodput(
        **{f"{use}_s": seconds[use] for use in get_args(Use)},
        attempts=len(attempts),
        redone_steps=sum(lost.steps for attempt in attempts for lost in attempt.lost),
    )


def expected_share(
    failure_every_s: float, checkpoint_s: float, interval_s: float, recovery_s: float
) -> float:
    """Return the goodput to expect under failures at random times (Daly 2006).

        share = T / (M exp(R / M) (exp((T + C) / M) - 1))

    M, T, C, R: the arguments, T and C of a checkpoint and the training before it. A failure costs
    the recovery and what was done since the last checkpoint, which is done again, and may fail
    again. 1 if nothing fails and checkpoints are free; near T / (T + C) if failures are rare.

    Args:
        failure_every_s: mean time between failures of the whole cluster; N nodes that fail every
            M_1 each fail every M_1 / N together.
        checkpoint_s: what training waits for a checkpoint.
        interval_s: training between two checkpoints.
        recovery_s: from a failure to the next step.
    """
    mean = failure_every_s
    cycle = mean * expm1((interval_s + checkpoint_s) / mean)
    return interval_s / cycle / (1 + expm1(recovery_s / mean))


def best_interval_s(failure_every_s: float, checkpoint_s: float) -> float:
    """Return how long to train between two checkpoints: sqrt(2 M C) (Young 1974)."""
    return sqrt(2 * failure_every_s * checkpoint_s)


def _timeline(
    attempts: Sequence[Attempt], commands: Sequence[Command], lines: Iterable[Line]
) -> Iterator[Moment]:
    """Tell what ended when, in order."""
    own = _by_attempt(attempts, lines)
    stepped = False
    spans = _spans(attempts, commands, own)
    for span, later in pairwise([*spans, None]):
        assert span is not None
        yield span.began, "idle"
        for attempt in span.attempts:
            work = list(_work(attempt, attempts, own[attempt.number]))
            if work:
                yield work[0][0], "recovery" if stepped else "startup"
                yield from work[1:]
                stepped = True
            if attempt.ended is not None:
                yield attempt.ended, "checkpoint"
        done = bool(span.attempts) and span.attempts[-1].ended is not None
        waste: Use = "recovery" if stepped else "startup"
        yield span.end(later), "other" if done else waste


@dataclass(frozen=True, slots=True)
class _Span:
    """A command and the attempts within it.

    seen: the last that is known of it
    ended: when it ended, if it could say so
    """

    began: float
    attempts: tuple[Attempt, ...]
    seen: float
    ended: float | None

    def end(self, later: "_Span | None") -> float:
        """Return when the command was over; of what it left unsaid, the worst is taken.

        A command that was killed may have worked on for as long as lines wait to be written.
        """
        if self.ended is not None:
            return self.ended
        return self.seen if later is None else min(self.seen + FLUSH_S, later.began)


def _spans(
    attempts: Sequence[Attempt], commands: Sequence[Command], own: Mapping[int, Sequence[Line]]
) -> list[_Span]:
    """Return all commands that are known of, in order."""
    ends = {round(command.began, 3): command.ended for command in commands}
    begun: dict[float, list[Attempt]] = {began: [] for began in ends}
    for attempt in attempts:
        begun.setdefault(round(attempt.launched, 3), []).append(attempt)
    lost_until = {lost.attempt: lost.ended for attempt in attempts for lost in attempt.lost}
    spans = []
    for began in sorted(begun):
        inside = begun[began]
        signs = [began, *(attempt.began for attempt in inside)]
        signs += [own[each.number][-1]["time"] for each in inside if own[each.number]]
        signs += [lost_until.get(each.number, began) for each in inside]
        spans.append(_Span(began, tuple(inside), max(signs), ends.get(began)))
    return spans


def _by_attempt(
    attempts: Sequence[Attempt], lines: Iterable[Line]
) -> dict[int, list[dict[str, Any]]]:
    """Give each attempt the steps that the run still has of it, all workers in one line each."""
    steps: dict[int, dict[str, Any]] = {}
    for line in sorted(lines, key=lambda line: (line["step"], line["rank"])):
        own = line["wait_s"] + line["compute_s"] + line["checkpoint_s"]
        known = steps.setdefault(line["step"], {**line, "own_s": own})
        for name in ("wait_s", "checkpoint_s"):
            known[name] = max(known[name], line[name])
    shared: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for step in sorted(steps):
        owner = attempt_of(step, attempts)
        # Until an attempt has written its first line, those that it supersedes can be read.
        if owner is not None and steps[step]["time"] >= owner.began:
            shared[owner.number].append(steps[step])
    return shared


def _work(attempt: Attempt, attempts: Sequence[Attempt], steps: Sequence[Line]) -> Iterator[Moment]:
    """Tell what became of an attempt's steps; the first moment is that of its first batch."""
    now = None
    for step in steps:
        if now is None:
            arrived = step["time"] - step["own_s"] + step["wait_s"]
            yield min(arrived, step["time"]), "recovery"
            yield step["time"], "productive"
        else:
            yield from _divide(step, now)
        now = step["time"]
    lost = [loss for each in attempts for loss in each.lost if loss.attempt == attempt.number]
    for loss in sorted(lost, key=lambda loss: loss.ended):
        if now is None:
            yield loss.began, "recovery"
        now = loss.ended
        yield now, "redone"


def _divide(step: Line, began: float) -> Iterator[Moment]:
    """Divide the time from the step before, which ended at `began`, to the end of a step."""
    accounted = min(step["own_s"], step["time"] - began)
    checkpoint_s = min(step["checkpoint_s"], accounted)
    wait_s = min(step["wait_s"], accounted - checkpoint_s)
    yield began + checkpoint_s, "checkpoint"
    yield began + checkpoint_s + wait_s, "wait"
    yield began + accounted, "productive"
    yield step["time"], "other"
