"""How long a store may be away before a run ends: requests are made again, with growing rests.

`SELFSEG_STORAGE_PATIENCE`, seconds, is how long one request waits without any answer that helps.
A run whose workers are held to hang earlier (`loop.hang_timeout_s`) is refused.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Self

from selfseg.errors import UsageError
from selfseg.redaction import redacted

DEFAULT_S = 600.0
LONGEST_S = 7200.0

FIRST_REST_S, LONGEST_REST_S = 0.2, 20.0
TELL_AFTER_S = 2.0
"""What is over before that is nothing to tell of."""

_hurried: ContextVar[bool] = ContextVar("hurried", default=False)


def patience_s() -> float:
    """Return how long to wait for a store that is away, seconds.

    Raises:
        UsageError: `SELFSEG_STORAGE_PATIENCE` is no such time.
    """
    text = os.environ.get("SELFSEG_STORAGE_PATIENCE", str(DEFAULT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_S:
        raise UsageError(
            f"SELFSEG_STORAGE_PATIENCE={text}: not a number of seconds from 0 to {LONGEST_S:.0f}"
        )
    return 0.0 if is_hurried() else seconds


@contextmanager
def impatient() -> Iterator[None]:
    """Let requests of this thread fail at once where the store is away: they may be made later."""
    token = _hurried.set(True)
    try:
        yield
    finally:
        _hurried.reset(token)


def is_hurried() -> bool:
    """Tell whether requests of this thread are not to wait."""
    return _hurried.get()


def _to_stderr(note: str) -> None:
    sys.stderr.write(f"{note}\n")


@dataclass(slots=True)
class _Outages:
    """Which requests of this process wait at the moment, and who is told of it.

    waiting: since when each does, by its `Patience`
    """

    tell: Callable[[str], None] = _to_stderr
    waiting: dict[int, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, who: int, note: str) -> None:
        """Note that a request waits; tell if it is the only one."""
        with self.lock:
            alone = not self.waiting
            self.waiting.setdefault(who, time.monotonic())
        if alone:
            self.tell(redacted(note))

    def end(self, who: int, url: str, *, answered: bool) -> None:
        """Note that a request waits no more; tell when the store answered the first of them."""
        with self.lock:
            since = self.waiting.pop(who, None)
            if since is None:
                return
            if answered:
                since = min([since, *self.waiting.values()])
                self.waiting.clear()
        if answered:
            self.tell(redacted(f"{url}: answers again after {time.monotonic() - since:.0f} s"))


_outages = _Outages()


def tell_of_waiting(tell: Callable[[str], None]) -> None:
    """Have `tell` hear in a line when this process waits for a store and when it goes on."""
    _outages.tell = tell


def is_waiting() -> bool:
    """Tell whether a request of this process waits for a store that is away."""
    return bool(_outages.waiting)


class Patience:
    """How often, and until when, one request is made again."""

    def __init__(self, url: str) -> None:
        """Begin a request for `url`."""
        self._url = url
        self._failures, self._begun = 0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _outages.end(id(self), self._url, answered=False)

    def rest(self, error: Exception) -> None:
        """Wait before the next attempt, the longer the more have failed.

        Raises:
            Exception: `error`, when the patience is used up.
        """
        now = time.monotonic()
        self._begun = self._begun if self._failures else now
        patience = patience_s()
        left = self._begun + patience - now
        if left <= 0:
            raise error
        self._failures += 1
        if now - self._begun >= TELL_AFTER_S:
            cause = " ".join(str(error).split())
            _outages.begin(
                id(self),
                f"{self._url}: the store is away ({cause}); waiting up to {patience:.0f} s",
            )
        longest = min(LONGEST_REST_S, FIRST_REST_S * 2 ** (self._failures - 1))
        time.sleep(min(left, random.uniform(0.5, 1) * longest))

    def renew(self) -> None:
        """Begin anew: the store has answered."""
        self._failures = 0
        _outages.end(id(self), self._url, answered=True)
