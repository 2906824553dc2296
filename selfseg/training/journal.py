"""What every step of every worker did and cost, as JSON lines in the run's folder.

    RUN/metrics/rank_00000/00000100.jsonl     the lines from step 100 on

Object stores cannot append, so a worker writes segments. A segment supersedes all lines of
earlier ones from its first step on: after a crash, steps are taken again. What a store that is
away did not take is handed to the checkpoint, which is committed after it was written.
"""

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from selfseg import storage
from selfseg.training.attempts import attempt_of, check_held, read_attempts
from selfseg.training.damaged import DamagedRecord
from selfseg.training.loop import Step

FLUSH_S = 20.0
"""Longest time a line waits to be written: what a live report lags behind."""

LONGEST_PAUSE_S = 320.0
"""As long for a store that did not answer: to ask it costs training some seconds."""


@dataclass(frozen=True, slots=True)
class _Line:
    step: Step
    checkpoint_s: float
    time: float


class Journal:
    """One worker's lines. Numbers stay on the device until they are written."""

    def __init__(
        self, run_url: str, rank: int, first_step: int, *, launched: float | None = None
    ) -> None:
        """Go on at `first_step`; what a stopped attempt wrote from there on is dropped.

        `launched` is when the command began, which writes while the run belongs to it.
        """
        self._run_url, self._launched = run_url, launched
        self._folder = storage.join(run_url, "metrics", f"rank_{rank:05d}")
        self._lines: list[_Line] = []
        self._pause_s = FLUSH_S
        self._flushed = float("-inf")  # the first line is written at once: it tells when it began
        for name in storage.listing(self._folder):
            if _first_step(name) >= first_step:
                storage.delete(storage.join(self._folder, name))

    def add(self, step: Step, *, checkpoint_s: float) -> None:
        """Note a step; `checkpoint_s` went into the checkpoint written just before it."""
        self._lines.append(_Line(step, checkpoint_s, time.time()))
        if time.monotonic() - self._flushed > self._pause_s:
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait, if any, as one segment.

        Where the store is away they wait on, and training does not: a later segment has them all.

        Raises:
            UserError: another command has taken over the run; its lines are not to be superseded.
        """
        if not storage.is_waiting():
            try:
                with storage.impatient():
                    self._write()
                self._pause_s = FLUSH_S
            except storage.Unreachable:
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write the lines that wait, if any, however long the store lets wait."""
        self._write()

    def unwritten(self) -> str:
        """Return the lines that wait, in words for `write_up`; "": there are none."""
        return json.dumps([self._url(), self._text()]) if self._lines else ""

    def _write(self) -> None:
        if self._lines:
            check_held(self._run_url, self._launched)
            storage.write(self._url(), self._text().encode())
            self._lines.clear()

    def _url(self) -> str:
        return storage.join(self._folder, f"{self._lines[0].step.number:08d}.jsonl")

    def _text(self) -> str:
        return "".join(json.dumps(_as_dict(line)) + "\n" for line in self._lines)


def write_up(unwritten: str) -> None:
    """Write the lines that some worker could not, unless it has written them, or more, since.

    However long the store lets wait.
    """
    url, text = json.loads(unwritten)
    try:
        found = storage.read(url)
    except storage.MissingObject:
        found = None
    if found is None or len(found) < len(text.encode()):
        with suppress(storage.Conflict):  # the worker was faster
            storage.replace(url, text.encode(), found)


def read_lines(run_url: str) -> list[dict[str, Any]]:
    """Return all workers' lines that still hold, by worker and step; each knows its "rank"."""
    segments: dict[int, list[str]] = {}
    for name in storage.listing(storage.join(run_url, "metrics")):
        worker, _, segment = name.partition("/")
        segments.setdefault(int(worker.removeprefix("rank_")), []).append(segment)
    attempts = read_attempts(run_url)
    lines = [line for rank in sorted(segments) for line in _read(run_url, rank, segments[rank])]
    # Fewer workers may go on than had begun: those left out have nothing to replace theirs by.
    owners = [attempt_of(line["step"], attempts) for line in lines]
    return [
        line
        for line, owner in zip(lines, owners, strict=True)
        if owner is None or line["rank"] < owner.workers
    ]


def read_tail(run_url: str) -> tuple[list[dict[str, Any]], int]:
    """Return worker 0's lines of its newest segment, and how many segments it has written.

    No step yet: no lines. A few requests, however long the run.
    """
    names = storage.listing(storage.join(run_url, "metrics", "rank_00000"))
    for name in reversed(names):
        with suppress(storage.MissingObject):  # an attempt that begins drops some
            return _read(run_url, 0, [name]), len(names)
    return [], 0


def lines_from(run_url: str, rank: int, first_step: int) -> list[dict[str, Any]]:
    """Return one worker's lines that still hold from a step on; segments before are not read."""
    names = storage.listing(storage.join(run_url, "metrics", f"rank_{rank:05d}"))
    begun = [name for name in names if _first_step(name) <= first_step]
    lines = _read(run_url, rank, begun[-1:] + names[len(begun) :])
    return [line for line in lines if line["step"] >= first_step]


def _read(run_url: str, rank: int, segments: Iterable[str]) -> list[dict[str, Any]]:
    """Read a worker's segments; later ones supersede earlier ones.

    Raises:
        DamagedRecord: one cannot be read.
    """
    lines: list[dict[str, Any]] = []
    for name in segments:
        while lines and lines[-1]["step"] >= _first_step(name):
            lines.pop()
        url = storage.join(run_url, "metrics", f"rank_{rank:05d}", name)
        try:
            text = storage.read(url).decode()
            lines.extend(json.loads(line) | {"rank": rank} for line in text.splitlines())
        except (ValueError, TypeError) as error:
            raise DamagedRecord(
                f"{url}: damaged: {error}; delete it: only the curves and the account of the run's "
                "time lose by that",
                url,
            ) from None
    return lines


def _first_step(segment: str) -> int:
    return int(segment.removesuffix(".jsonl"))


def to_floats(terms: dict[str, torch.Tensor]) -> dict[str, float]:
    """Bring scalars to the CPU in one transfer."""
    if not terms:
        return {}
    values = torch.stack([term.detach().float() for term in terms.values()]).tolist()
    return dict(zip(terms, values, strict=True))


def _as_dict(line: _Line) -> dict[str, Any]:
    return {
        "step": line.step.number,
        "player": line.step.player,
        "terms": to_floats(line.step.terms),
        "wait_s": round(line.step.wait_s, 6),
        "compute_s": round(line.step.compute_s, 6),
        "forward_s": round(line.step.forward_s, 6),
        "checkpoint_s": round(line.checkpoint_s, 6),
        "time": round(line.time, 3),
    }
