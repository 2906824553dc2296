"""Ends a worker that no longer gets on, and says which one it is and where it is stuck.

A worker that hangs makes all others wait for it, so every one of them is late at the same time.
Who is to blame can only be told from where each is, which they tell each other without waiting.
"""

import contextlib
import faulthandler
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from selfseg import storage

BEAT_S = 1.0
"""Time between two signs of life of a worker, and what the others may be late in noticing."""

SILENT_S = 5 * BEAT_S
"""Without a sign of life for so long, a worker's whole process stands still."""

FIRST_STEP = 3
"""Times longer than later ones that the first step may take: it opens, starts and measures."""

STORE_S = 5.0
"""Longest time that a worker which ends tries to write down its stack."""

EXIT_STATUS = 75
"""Of a worker that ended itself; EX_TEMPFAIL of sysexits.h."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker is doing.

    call: its name
    waits: it needs the other workers for it
    seconds: since it began
    silent_s: since the worker said so
    """

    call: str
    waits: bool
    seconds: float
    silent_s: float = 0.0


class Whereabouts:
    """What one thread of this process is doing now; "" is nothing."""

    def __init__(self, call: str = "start-up") -> None:
        self._now = (call, False, time.monotonic())
        self.steps = 0

    @contextmanager
    def doing(self, call: str, *, waits: bool = False) -> Iterator[None]:
        """Be in `call` while the body runs; `waits`: for other workers."""
        before, *_ = self._now
        self._now = (call, waits, time.monotonic())
        try:
            yield
        finally:
            self._now = (before, False, time.monotonic())

    def step_done(self, step: int) -> None:
        """Begin the next step."""
        self.steps += 1
        self._now = (f"step {step}", False, time.monotonic())

    def place(self) -> Place:
        """Return what is being done, and since when."""
        call, waits, since = self._now
        return Place(call, waits, time.monotonic() - since if call else 0.0)


class Meeting(Protocol):
    """Where workers leave word of where they are; nobody waits for anybody there."""

    def beat(self, rank: int, place: Place) -> None:
        """Give a sign of life."""
        ...

    def places(self) -> Mapping[int, Place]:
        """Return where all workers said they were last."""
        ...

    def tell(self, note: str) -> None:
        """Have a line shown to whoever watches the run."""
        ...


class Watchdog:
    """A thread that ends this process when one of its calls takes longer than `timeout_s`."""

    def __init__(
        self,
        rank: int,
        meeting: Meeting,
        whereabouts: Sequence[Whereabouts],
        *,
        timeout_s: float,
        run_url: str,
    ) -> None:
        """Watch from `with` on; the first of `whereabouts` is the training thread's."""
        self._rank, self._meeting, self._whereabouts = rank, meeting, whereabouts
        self._timeout_s, self._run_url = timeout_s, run_url
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(BEAT_S):
            place = self._place()
            self._meeting.beat(self._rank, place)
            limit_s = self._timeout_s * (1 if self._whereabouts[0].steps else FIRST_STEP)
            if place.seconds > limit_s:
                self._end(limit_s)

    def _place(self) -> Place:
        return max((each.place() for each in self._whereabouts), key=lambda place: place.seconds)

    def _end(self, limit_s: float) -> None:
        """Keep the stack, say who is to blame, and end this process."""
        keep_stack(self._run_url, self._rank)
        time.sleep(BEAT_S)  # the others are late, too, and say so meanwhile
        if self._done.is_set() or self._place().seconds <= limit_s:
            return  # it went on at the last moment
        places = self._meeting.places()
        if self._rank == min(speakers(places, limit_s), default=self._rank):
            stacks = storage.join(self._run_url, "hangs")
            self._meeting.tell(f"{describe(places)}; stacks in {stacks}")
        time.sleep(BEAT_S)
        os._exit(EXIT_STATUS)


def speakers(places: Mapping[int, Place], limit_s: float) -> list[int]:
    """Return the workers that are late themselves and can still say so."""
    return [
        rank
        for rank, place in places.items()
        if place.seconds + place.silent_s > limit_s and place.silent_s < SILENT_S
    ]


def describe(places: Mapping[int, Place]) -> str:
    """Name those that keep the others waiting, and the others.

    >>> describe({0: Place("gradient averaging", True, 62), 1: Place("next batch", False, 63)})
    'worker 1 has been in `next batch` for 63 s; worker 0 waits in `gradient averaging`'
    """
    silent = {rank for rank, place in places.items() if place.silent_s >= SILENT_S}
    waiting: dict[str, list[int]] = {}
    lines: list[str] = []
    for rank, place in sorted(places.items()):
        if rank in silent:
            lines.append(
                f"worker {rank} has not been heard of for {place.silent_s:.0f} s; it was in "
                f"`{place.call}`"
            )
        elif place.waits:
            waiting.setdefault(place.call, []).append(rank)
        else:
            lines.append(f"worker {rank} has been in `{place.call}` for {place.seconds:.0f} s")
    for call, ranks in waiting.items():
        who, verb = ("worker", "waits") if len(ranks) == 1 else ("workers", "wait")
        lines.append(f"{who} {', '.join(map(str, ranks))} {verb} in `{call}`")
    return "; ".join(lines)


def keep_stack(run_url: str, rank: int) -> None:
    """Write what all threads of this process are doing to its log and to the run's folder."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        stacks = file.read()
    sys.stderr.write(stacks.decode(errors="replace"))
    url = storage.join(run_url, "hangs", f"rank_{rank:05d}.txt")

    def write() -> None:
        with contextlib.suppress(Exception):  # the store may be what hangs
            storage.write(url, stacks)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(STORE_S)
