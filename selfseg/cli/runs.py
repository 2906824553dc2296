"""`selfseg runs` and `selfseg checkpoint`: all runs of a folder, and what they saved."""

import argparse
import sys

from selfseg.cli.arguments import add_commands, page
from selfseg.errors import UsageError, UserError

# ruff: noqa: PLC0415 - what a command runs is imported when it runs, see `selfseg.cli`


def runs(args: argparse.Namespace) -> None:
    """Say how all runs of a folder stand: state, step, pace, score, goodput."""
    from selfseg.reporting.runs import as_json, overview, overview_table

    found = {_name(url, args.url): url for url in runs_at(args.url)}
    seen, notes = overview(found, goodput=args.goodput)
    if args.json:
        print(as_json(seen))
    else:
        page().print(overview_table(seen))
    for note in notes:
        print(note, file=sys.stderr)


def runs_options(command: argparse.ArgumentParser) -> None:
    """Declare what `runs` takes."""
    _place_options(command)
    command.add_argument("--json", action="store_true", help="for other programs")
    command.add_argument(
        "--goodput", action="store_true",
        help="tell the goodput of many or long runs, too, which takes their whole journals",
    )  # fmt: skip


def list_checkpoints(args: argparse.Namespace) -> None:
    """Say which checkpoints there are: step, time, size, round, score, state."""
    from selfseg.reporting.checkpoints import list_all, listing_table

    listed = list_all(runs_at(args.url))
    page().print(listing_table({_name(url, args.url): listed[url] for url in listed}))


def verify_checkpoints(args: argparse.Namespace) -> None:
    """Compare every file with what was committed; exit 1 if one is damaged."""
    from selfseg.reporting.checkpoints import verify_run

    damaged = False
    for url in runs_at(args.url):
        lines, summary = verify_run(url)
        damaged |= bool(lines)
        print(*lines, summary, sep="\n")
    if damaged:
        sys.exit(1)


def prune_checkpoints(args: argparse.Namespace) -> None:
    """Delete old checkpoints, and what dead processes left unfinished."""
    from rich.filesize import decimal

    from selfseg import storage
    from selfseg.reporting.checkpoints import prunable
    from selfseg.reporting.wording import plural
    from selfseg.training.checkpoint import delete

    if args.keep < 1:
        raise UsageError(f"--keep {args.keep}: at least the newest stays; give 1 or more")
    if args.best < 0 or bool(args.best) != bool(args.by):
        raise UsageError("--best N and --by METRIC go together: give both, or neither")
    # All runs are looked at before the first is touched: a mistake deletes nothing.
    chosen = [
        found
        for url in runs_at(args.url)
        for found in prunable(url, args.keep, best=args.best, by=args.by)
    ]
    done, freed = "would be deleted" if args.dry_run else "deleted", 0
    for url in chosen:
        size = sum(storage.sizes(url).values())
        if not args.dry_run:
            delete(url)
        freed += size
        print(f"{url}: {done}, {decimal(size)}")
    print(f"{plural(len(chosen), 'checkpoint')} {done}, {decimal(freed)}")


def runs_at(url: str) -> list[str]:
    """Return the URLs of the runs at `url` or below.

    Raises:
        UserError: there are none.
    """
    from selfseg.training.run_folder import find_runs

    if found := find_runs(url):
        return found
    raise UserError(f"{url}: no run here: name the --run of `selfseg train`, or a folder of runs")


def _name(run_url: str, url: str) -> str:
    """Return what a run below `url` is called: its path from there, or its own name."""
    return run_url.removeprefix(url).strip("/") or run_url.rstrip("/").rpartition("/")[2]


def checkpoint_options(command: argparse.ArgumentParser) -> None:
    """List, verify or prune the checkpoints of runs."""
    add_commands(
        command,
        {
            "list": (list_checkpoints, _place_options),
            "verify": (verify_checkpoints, _place_options),
            "prune": (prune_checkpoints, _prune_options),
        },
    )


def _place_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("url", metavar="URL", help="of a run, or of a folder of runs")


def _prune_options(command: argparse.ArgumentParser) -> None:
    _place_options(command)
    command.add_argument(
        "--keep", type=int, required=True, metavar="N",
        help="newest checkpoints of each run that stay; so do those at the end of a round",
    )  # fmt: skip
    command.add_argument(
        "--best", type=int, default=0, metavar="N",
        help="keep the N best, too, by what `evaluate` scored: of each benchmark and view",
    )  # fmt: skip
    command.add_argument("--by", metavar="METRIC", help="best by this score, e.g. j_mean")
    command.add_argument("--dry-run", action="store_true", help="only say what would go")
