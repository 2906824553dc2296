"""How far many processes are together, as a bar at the terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray.actor import ActorProxy
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from selfseg.runtime.cluster import on_this_node
from selfseg.runtime.progress import PLAIN_S, clock


class _Board:
    """Where processes leave how far each item is; a repeated item starts again."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}

    @ray.method
    def report(self, name: str, done: int) -> None:
        self._done[name] = done

    @ray.method
    def total(self) -> int:
        return sum(self._done.values())


class Counter:
    """A tally that tasks add to; small enough to be sent to them."""

    def __init__(self) -> None:
        """Start the actor that keeps the tally."""
        # Here: elsewhere, the tally would be lost with its machine, and all tasks' work with it.
        board = ray.remote(num_cpus=0)(_Board).options(scheduling_strategy=on_this_node())
        self._board: ActorProxy[_Board] = board.remote()

    def report(self, name: str, done: int) -> None:
        """Say how much of an item is done, and do not wait."""
        self._board.report.remote(name, done)

    def total(self) -> int:
        """Return how much of all items together is done."""
        return ray.get(self._board.total.remote())


class _Rate(ProgressColumn):
    """Units per second, as far as known."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} {task.description}/s" if task.speed else "")


@contextmanager
def bar(console: Console, unit: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar while the body runs; the body gets a function to tell how much is done.

    Where there is no terminal, as in a job's log, a line now and then takes its place.

    Args:
        console: where to show it.
        unit: what is counted, in the plural.
        total: how many there are.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    printed = time.monotonic()

    def show(done: int) -> None:
        nonlocal printed
        progress.update(task, completed=done)
        if not console.is_terminal and time.monotonic() - printed >= PLAIN_S:
            printed = time.monotonic()
            console.print(line(progress.tasks[task]), markup=False, highlight=False)

    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(unit, total=total)
        yield show


def line(task: Task) -> str:
    """Say how far, how fast and how long still."""
    so_far = f"{task.description} {task.completed:.0f}/{task.total:.0f}"
    if task.speed is None or task.time_remaining is None:
        return so_far
    left = clock(task.time_remaining)
    return f"{so_far}  {task.speed:.1f} {task.description}/s  {left} left"
