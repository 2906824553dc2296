"""What several commands have in common: values of options, options, and where tables go."""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PAGE_WIDTH = 160
"""Columns of output that no terminal limits."""

VIEWS = ("dynamic", "static", "fused")

Command = tuple[
    Callable[[argparse.Namespace], None] | None,
    Callable[[argparse.ArgumentParser], None],
]
"""What a command does, and what declares its options; None: it is one of those declared there."""


def add_commands(parser: argparse.ArgumentParser, commands: Mapping[str, Command]) -> None:
    """Declare commands by name, each with its options; its help is its docstring."""
    below = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (run, declare) in commands.items():
        command = below.add_parser(name, help=(run or declare).__doc__)
        if run is not None:
            command.set_defaults(run_command=run)
        declare(command)


def page() -> "Console":
    """Return where tables are printed; a file, or another program, takes wide ones too.

    All text stands as it is: names and errors of others may look like markup, "[/x]" or ":100:".
    """
    from rich.console import Console  # noqa: PLC0415 - `--help` should not wait for it

    as_it_is = partial(Console, markup=False, emoji=False)
    console = as_it_is()
    return console if console.is_terminal else as_it_is(width=PAGE_WIDTH)


def gaps(text: str) -> tuple[int, ...]:
    """Read a list of gaps, e.g. "1,2,3"."""
    return tuple(map(int, text.split(",")))


def at_least(least: int) -> Callable[[str], int]:
    """Return what reads a whole number that is not less than this."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text}: must be {least} or more")
        return int(text)

    return number


def names(text: str) -> tuple[str, ...]:
    """Read a list of names, e.g. "cow,dog"; a name that is said twice counts once."""
    return tuple(dict.fromkeys(filter(None, text.split(","))))


def add_inference_options(command: argparse.ArgumentParser) -> None:
    """Declare what prediction and scoring have in common."""
    command.add_argument("--crf", action="store_true", help="refine masks by a dense CRF")
    command.add_argument(
        "--augment", action="store_true", help="average over crops and mirror images: slower"
    )
    command.add_argument(
        "--gaps", type=gaps, metavar="1,2,3", help="frames between the ends of a motion"
    )
    command.add_argument("--device", metavar="cpu|cuda", help="default: a GPU if there is one")
