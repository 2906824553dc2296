"""A bar at the terminal for work on one source after another."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


def bar(console: Console | None, beside: ProgressColumn) -> Progress:
    """Return a bar of tasks, with what stands `beside` each one's count.

    Args:
        console: where to show it; None for stderr.
        beside: the column after the count.
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        beside,
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
    )
