"""How far many processes are together, as a bar at the terminal."""

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
        self._board: ActorProxy[_Board] = ray.remote(num_cpus=0)(_Board).remote()

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
def bar(console: Console, unit: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar while the body runs; the body gets a function to tell how much is done.

    Args:
        console: where to show it.
        unit: what is counted, in the plural.
        total: how many there are.
        done: how many of them were done before and say nothing about the speed.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(unit, total=total, completed=done)
        yield lambda completed: progress.update(task, completed=completed)
