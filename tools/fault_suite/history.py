"""What a run says it did, and what was seen of it: do they agree, and was anything lost?"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from selfseg.training import checkpoint
from selfseg.training.journal import read_lines


@dataclass(frozen=True, slots=True)
class Attempt:
    """One process's part of a run, as it was noted step by step.

    begun_at, times: seconds since 1970, of its beginning and of each step's end
    first: step it went on from
    steps: that it took
    """

    pid: int
    begun_at: float
    first: int
    steps: tuple[int, ...]
    times: tuple[float, ...]

    @property
    def reached(self) -> int:
        """Return the step it would have taken next."""
        return self.first + len(self.steps)


def read_attempts(notes: Path) -> list[Attempt]:
    """Return one worker's attempts in order; no file yet: none. The last line may be cut."""
    attempts: dict[tuple[int, float], list[dict[str, Any]]] = {}
    beginning = (0, 0.0)
    for line in notes.read_text().split("\n")[:-1] if notes.exists() else ():
        note = json.loads(line)
        if note["event"] == "begin":
            beginning = (note["pid"], note["time"])
        attempts.setdefault(beginning, []).append(note)
    return [
        Attempt(
            pid,
            begun_at,
            notes[0]["step"],
            tuple(note["step"] for note in notes[1:]),
            tuple(note["time"] for note in notes[1:]),
        )
        for (pid, begun_at), notes in attempts.items()
    ]


def faults_in_attempts(
    attempts: Sequence[Attempt], *, steps: int, struck_at: float, safe: int
) -> list[str]:
    """Say what is wrong with a worker's attempts; nothing: each step counts, none more than due.

    Args:
        attempts: in order.
        steps: of the whole run.
        struck_at: when the fault was over, seconds since 1970.
        safe: step of the newest whole checkpoint then; whoever begins later begins there or after.
    """
    wrong = []
    if not attempts or attempts[0].first != 0:
        return ["the first attempt did not begin at step 0"]
    for attempt in attempts:
        if attempt.steps != tuple(range(attempt.first, attempt.reached)):
            wrong.append(f"process {attempt.pid} took steps {attempt.steps}: not one after another")
        if attempt.begun_at > struck_at and attempt.first < safe:
            wrong.append(f"went back to step {attempt.first} with step {safe} saved: trained twice")
    reached = 0
    for attempt in attempts:
        if attempt.first > reached:
            wrong.append(f"went on at step {attempt.first} where {reached} was reached: a gap")
        reached = max(reached, attempt.reached)
    if attempts[-1].reached != steps:
        wrong.append(f"ended at step {attempts[-1].reached} of {steps}")
    return wrong


def steps_redone(attempts: Sequence[Attempt]) -> int:
    """Count the steps that one worker took again."""
    return sum(max(0, before.reached - after.first) for before, after in pairwise(attempts))


def standstill_s(attempts: Sequence[Attempt], since: float) -> float:
    """Return the longest time, from `since` on, in which no step was ended; seconds."""
    times = sorted(time for attempt in attempts for time in attempt.times)
    later = [time for time in times if time > since]
    earlier = [time for time in times if time <= since]
    return max((b - a for a, b in pairwise([*earlier[-1:], *later])), default=0.0)


def faults_in_journal(run_url: str, reference: str) -> list[str]:
    """Say where the final history of a run is not the undisturbed one, term for term."""
    ours, theirs = _by_rank(run_url), _by_rank(reference)
    if ours.keys() != theirs.keys():
        return [f"journals of workers {sorted(ours)}, not {sorted(theirs)}"]
    wrong = []
    for rank, lines in ours.items():
        numbers = [step for step, _ in lines]
        expected = [step for step, _ in theirs[rank]]
        if numbers != expected:
            odd = sorted(set(expected) ^ set(numbers)) or "their order"
            wrong.append(f"journal of worker {rank}: not every step once: {odd}")
        elif changed := [a[0] for a, b in zip(lines, theirs[rank], strict=True) if a != b]:
            wrong.append(f"journal of worker {rank}: other losses from step {changed[0]} on")
    return wrong


def _by_rank(run_url: str) -> dict[int, list[tuple[int, str]]]:
    lines: dict[int, list[tuple[int, str]]] = {}
    for line in read_lines(run_url):
        lines.setdefault(line["rank"], []).append((line["step"], json.dumps(line["terms"])))
    return lines


def faults_in_state(run_url: str, reference: str, steps: int) -> list[str]:
    """Say where the last checkpoint of a run is not the undisturbed one, bit for bit."""
    newest, damaged = checkpoint.newest_whole(run_url)
    if newest is None or newest != checkpoint.step_url(run_url, steps):
        return [f"newest whole checkpoint: {newest}", *damaged]
    ours, theirs = checkpoint.load(newest)[0], checkpoint.load(checkpoint.resolve(reference))[0]
    parts = ("step", "skipped", "weights", "average", "optimisers", "worker")
    return [
        f"last checkpoint: other {part}"
        for part in parts
        if not same_bits(getattr(ours, part), getattr(theirs, part))
    ]


def same_bits(one: object, other: object) -> bool:
    """Compare trees of tensors and plain values; NaN equals NaN, and -0.0 is not 0.0."""
    match one, other:
        case Tensor(), Tensor():
            alike = one.dtype == other.dtype and one.shape == other.shape
            return alike and torch.equal(_bits(one), _bits(other))
        case Mapping(), Mapping():
            keys = one.keys() == other.keys()
            return keys and all(same_bits(one[key], other[key]) for key in one)
        case ((list() | tuple()), (list() | tuple())):
            return len(one) == len(other) and all(map(same_bits, one, other))
        case _:
            return one == other


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().flatten().view(torch.uint8)
