"""Processes that prepare a worker's batches while it computes, each every so manieth.

Nothing here knows torch: to import it takes two seconds, and most of what a process holds.
"""

import gc
import itertools
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import DefaultContext, ForkServerContext
from typing import Any, TypeVar

import cv2

from selfseg import storage
from selfseg.data.reading.passing import Slots
from selfseg.data.reading.server import without_main

Item = TypeVar("Item")
Context = DefaultContext | ForkServerContext

AHEAD = 2
"""Items of each process that the worker has not taken yet."""

TAKEN = b"taken"

PATIENCE_S = 5.0
"""A process that is asked to end, which it hears between two items, is ended after that."""


def prepared(
    read: Callable[[int], Item],
    first: int,
    processes: int,
    *,
    begin: Callable[[], object],
    context: ForkServerContext | None = None,
) -> Generator[Item]:
    """Yield `read(first)`, `read(first + 1)`, ..., which `processes` processes prepare ahead.

    Arrays are views of shared memory: who keeps one keeps all of its item.

    Args:
        read: makes an item of its number, in a loader process.
        first: the first number.
        processes: at least 1.
        begin: what each process does first.
        context: what starts them; None: the platform's default.

    Raises:
        RuntimeError: `read` has raised, or a process has ended; with what is known of it.
    """
    items = _prepared(read, first, processes, begin, context or multiprocessing.get_context())
    next(items)  # starts the processes, before who calls this starts threads
    return items


def _prepared(
    read: Callable[[int], Item],
    first: int,
    processes: int,
    begin: Callable[[], object],
    context: Context,
) -> Generator[Item]:
    slots, team = Slots(processes), list[_Process]()
    with ExitStack() as ends:
        for number in range(processes):
            steps = (first + number, processes)
            process = _Process(partial(_prepare, read, begin, slots, number, steps), context)
            ends.callback(process.end)
            team.append(process)
        for process in team:
            ends.callback(process.ask_to_end)
        yield  # pyright: ignore[reportReturnType] # that they have started
        for process in itertools.cycle(team):
            yield slots.received(process.take())


class _Process:
    """A loader process, seen from the worker."""

    def __init__(self, prepare: Callable[..., None], context: Context) -> None:
        self._connection, theirs = context.Pipe()
        ends = {"connection": theirs, "workers_end": self._connection}
        self._process = context.Process(target=prepare, kwargs=ends, daemon=True)
        with without_main():
            self._process.start()
        theirs.close()  # or its end would not be noticed

    def take(self) -> Any:
        """Wait for its next item, and let it prepare another."""
        try:
            item = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(PATIENCE_S)
            raise RuntimeError(
                f"loader process {self._process.pid} {_how(self._process.exitcode)}"
            ) from None
        if isinstance(item, _Raised):
            raise RuntimeError(f"loader process {self._process.pid} failed:\n{item.traceback}")
        with suppress(OSError):  # it has ended since: the next item tells, this one is whole
            self._connection.send_bytes(TAKEN)
        return item

    def ask_to_end(self) -> None:
        self._connection.close()

    def end(self) -> None:
        self._process.join(PATIENCE_S)
        self._process.kill()
        self._process.join()


@dataclass(frozen=True, slots=True)
class _Raised:
    """Stands for an item that could not be prepared."""

    traceback: str


def _how(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"was killed by {name}" + (", maybe for want of memory" * (name == "SIGKILL"))
    return f"has ended, with exit code {exitcode}"


def _prepare(
    read: Callable[[int], Any],
    begin: Callable[[], object],
    slots: Slots,
    number: int,
    steps: tuple[int, int],
    *,
    connection: Connection,
    workers_end: Connection,
) -> None:
    """Be loader process `number`: prepare the items of `steps` (first, stride), until the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, who then ends this
    workers_end.close()  # a fork has a copy of it, and would not notice that the worker is gone
    begin()
    for count, step in enumerate(itertools.count(*steps), 1):
        item = _item(read, step)
        try:
            connection.send(slots.sent(item, number))
            if count >= AHEAD:
                connection.recv_bytes()
        except (EOFError, OSError):
            return


def _item(read: Callable[[int], Any], step: int) -> Any:
    try:
        return read(step)
    except Exception:  # which the worker raises
        return _Raised(traceback.format_exc())


def begin(environment: Mapping[str, str]) -> None:
    """Be a loader process of a worker that has this environment, and end with it."""
    # The server has kept the environment it was started in, maybe by an earlier run.
    os.environ.clear()
    os.environ.update(environment)
    storage.expect_answers()  # the worker has opened the collection
    gc.freeze()  # to look for garbage in what the server has imported would copy its memory
    # A killed worker is noticed between two items; a download may take long before.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)
