"""`selfseg report`, `selfseg table` and `selfseg show`."""

import argparse

from selfseg.cli.arguments import page

# ruff: noqa: PLC0415 - what a command runs is imported when it runs, see `selfseg.cli`


def report(args: argparse.Namespace) -> None:
    """Write the run's report, one self-contained HTML file."""
    from selfseg.reporting.report import write_report

    print(write_report(args.run))


def report_options(command: argparse.ArgumentParser) -> None:
    """Declare what `report` takes."""
    command.add_argument("run", metavar="RUN", help="folder or s3:// URL of a run")


def table(args: argparse.Namespace) -> None:
    """Print a table of a paper, and below its numbers what runs scored, over their seeds."""
    from selfseg.reporting.tables import compare, write_json

    comparison = compare(args.table, args.runs)
    console = page()
    console.print(comparison.table())
    for number, command in enumerate(comparison.footnotes, 1):
        # Unwrapped, so that it can be copied.
        console.print(f"[{number}] {command}", highlight=False, soft_wrap=True)
    if args.json:
        write_json(args.json, comparison)


def table_options(command: argparse.ArgumentParser) -> None:
    """Declare what `table` takes."""
    command.add_argument("table", metavar="PAPER/N", help="a paper's table, e.g. dystab/5")
    command.add_argument("runs", nargs="*", metavar="RUN", help="folders or s3:// URLs of runs")
    command.add_argument("--json", metavar="FILE", help="also write it there, with every score")


def show(args: argparse.Namespace) -> None:
    """Print what a collection knows of one sample; draw its frame, flow, own motion and mask."""
    from selfseg.reporting.sample import show_sample

    for line in show_sample(args.collection, args.key, gap=args.gap, output=args.output):
        print(line)


def show_options(command: argparse.ArgumentParser) -> None:
    """Declare what `show` takes."""
    command.add_argument("collection", metavar="URL", help="of the collection, or URL@ID")
    command.add_argument("key", metavar="KEY", help="a sample's key, or VIDEO/FRAME, e.g. bear/7")
    command.add_argument(
        "--gap", type=int, metavar="N", help="frames that the flow spans; default: the fewest"
    )
    command.add_argument(
        "--output", metavar="FILE.png", help="or s3:// URL; default: KEY.png, in this folder"
    )
