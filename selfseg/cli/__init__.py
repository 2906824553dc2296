"""selfseg: learns to find and outline moving things in videos, without a label."""

import argparse

from selfseg.cli.arguments import add_commands
from selfseg.cli.prediction import evaluate, evaluate_options, predict, predict_options
from selfseg.cli.reporting import (
    report,
    report_options,
    show,
    show_options,
    table,
    table_options,
)
from selfseg.cli.runs import checkpoint_options, runs, runs_options
from selfseg.cli.training import train, train_options
from selfseg.errors import ends_in_a_line

# Each command imports what it runs when it runs: torch and Ray take seconds to load, and
# neither `--help` nor a misspelt option should wait for them.
COMMANDS = {
    "train": (train, train_options),
    "evaluate": (evaluate, evaluate_options),
    "predict": (predict, predict_options),
    "report": (report, report_options),
    "table": (table, table_options),
    "show": (show, show_options),
    "runs": (runs, runs_options),
    "checkpoint": (None, checkpoint_options),
}


def build_parser() -> argparse.ArgumentParser:
    """Declare every command and option."""
    parser = argparse.ArgumentParser(prog="selfseg", description=__doc__)
    add_commands(parser, COMMANDS)
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Run one command; a mistake of the user's ends in one line and a non-zero exit."""
    args = build_parser().parse_args(arguments)
    with ends_in_a_line("selfseg"):
        args.run_command(args)
