"""What a person at the terminal sees of a run: how far, how fast, how well, how long still."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from selfseg.training.audience import Report

PLAIN_S = 15.0
"""Time between two lines where there is no terminal, as in a job's log."""

RATE_MEMORY = 0.9
"""Weight of the past in the rate that the time left is told from."""


class Screen:
    """A live display on a terminal; a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._rate = 0.0
        self._printed = float("-inf")

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, note: str) -> None:
        """Show a line that stays."""
        self._console.print(Text(note), soft_wrap=True)

    def show(self, report: Report) -> None:
        """Show how the run goes."""
        for note in report.notes:
            self.say(note)
        if not report.steps_per_s:
            return
        self._rate = (
            RATE_MEMORY * self._rate + (1 - RATE_MEMORY) * report.steps_per_s
            if self._rate
            else report.steps_per_s
        )
        left_s = (report.steps - report.step) / self._rate
        if self._live is not None:
            bar = ProgressBar(total=report.steps, completed=report.step, width=40)
            head = Text(headline(report, left_s))
            self._live.update(Group(head, bar, term_table(report)))
        elif report.step == report.steps or time.monotonic() - self._printed >= PLAIN_S:
            self._printed = time.monotonic()
            self.say(f"{headline(report, left_s)} | {term_line(report)}")


def headline(report: Report, left_s: float) -> str:
    """Say how far, how fast, and how long still."""
    return (
        f"step {report.step}/{report.steps}  {report.steps_per_s:.3g} steps/s  "
        f"{clock(left_s)} left  {100 * report.wait_share:.1f} % waiting for data"
    )


def clock(seconds: float) -> str:
    """Write a time as minutes:seconds, or hours:minutes:seconds.

    >>> clock(75.2), clock(3600)
    ('1:15', '1:00:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def term_line(report: Report) -> str:
    """Write each player's terms on one line."""
    return " | ".join(
        " ".join([player, *(f"{name} {value:.4g}" for name, value in terms.items())])
        for player, terms in report.terms.items()
    )


def term_table(report: Report) -> Table:
    """Lay out each player's terms, a row each."""
    table = Table.grid(padding=(0, 2))
    for player, terms in report.terms.items():
        table.add_row(
            Text(player, style="bold"), *(f"{name} {value:.4g}" for name, value in terms.items())
        )
    return table
