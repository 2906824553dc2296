"""Look after a collection: say what it holds, verify and repair it, copy it.

    tools/collection.py list s3://bucket/collection
    tools/collection.py verify s3://bucket/collection
    tools/collection.py verify s3://bucket/collection --repair --from /backup/collection
    tools/collection.py copy s3://bucket/collection /backup/collection

URL@ID is one state of a collection, with those it grew from; URL is the newest.

verify reads everything: manifests, shards, indexes and backgrounds against their SHA-256, each
part of each sample against its CRC-32, and whether every frame of every video is there once. It
prints a line for each problem. With --repair it makes indexes anew, writes a LATEST that is gone,
and takes what else is damaged or gone from --from URL: a copy, or what the same videos give when
they are ingested once more. Files that no state names are listed, and left alone.

copy brings what is missing or cut off, several objects at a time, each verified on its way;
interrupted, the same command goes on. It never takes away what is there: the other place must be
empty, or hold an earlier state of the same collection.

Exit status: 0; 1 if a problem is left, or a place is out of reach; 2 if the command is wrong.
"""

import argparse
import math
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.filesize import decimal

from selfseg import storage
from selfseg.data.care.copying import carry_out, plan_copy
from selfseg.data.care.describing import Description, describe
from selfseg.data.care.mending import mending
from selfseg.data.care.verifying import Finding, find_state, read_states, verify
from selfseg.data.format.holdings import leftovers
from selfseg.data.format.manifest import SHOWN_DIGITS, resolve
from selfseg.data.ingest.growing import MEGABYTE
from selfseg.errors import UsageError, ends_in_a_line
from selfseg.reporting.wording import plural
from selfseg.runtime.counting import bar


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    place = "a folder or s3:// URL, or URL@ID"

    command = commands.add_parser("list", help=list_collection.__doc__)
    command.set_defaults(run=list_collection)
    command.add_argument("url", metavar="URL", help=place)
    command.add_argument(
        "--sizes", action="store_true", help="also bytes of each video, which takes every index"
    )
    command.add_argument("--json", action="store_true", help="for other programs")

    command = commands.add_parser("verify", help=verify_collection.__doc__)
    command.set_defaults(run=verify_collection)
    command.add_argument("url", metavar="URL", help=place)
    command.add_argument("--repair", action="store_true", help="put right what can be")
    command.add_argument(
        "--from", dest="spare", metavar="URL", help="take what is damaged or gone from this copy"
    )

    command = commands.add_parser("copy", help=copy_collection.__doc__)
    command.set_defaults(run=copy_collection)
    command.add_argument("url", metavar="URL", help=place)
    command.add_argument("target", metavar="TARGET", help="a folder or s3:// URL")
    return parser.parse_args(arguments)


def list_collection(args: argparse.Namespace) -> None:
    """Say what states, videos and settings there are."""
    found = describe(args.url, sizes=args.sizes)
    if args.json:
        print(found.model_dump_json(indent=1))
        return
    print(f"{found.url}: {plural(len(found.states), 'state')}, the latest first")
    for state in found.states:
        mark = " (newest)" if state.newest else ""
        print(
            f"  {state.id[:SHOWN_DIGITS]}{mark}: {plural(state.videos, 'video')}, "
            f"{plural(state.frames, 'frame')}, {decimal(state.size)} in "
            f"{plural(state.shards, 'shard')}; {state.skipped} left out"
        )
    _list_settings(found)
    for video in found.videos:
        known = [plural(video.frames, "frame")]
        known += [decimal(video.size)] if video.size is not None else []
        known += ["masks"] if video.masks else []
        known += ["background"] if video.background else []
        print(f"{video.name} ({video.id}): {', '.join(known)}")
    for skipped in found.skipped:
        print(f"left out: {skipped.name}: {skipped.reason}")


def verify_collection(args: argparse.Namespace) -> None:
    """Find what is damaged or missing, and repair what can be."""
    if args.spare and not args.repair:
        raise UsageError("--from: only a repair takes anything from there; add --repair")
    place, manifest_id, findings = find_state(args.url, repair=args.repair)
    mend = mending(place, resolve(args.spare)[0] if args.spare else None) if args.repair else None
    states, of_manifests = read_states(place, manifest_id, mend)
    findings += of_manifests
    readable = not _left(findings)
    for finding in findings:
        _say(place, finding)
    with bar(Console(stderr=True), "MB", _megabytes(states.size)) as show:
        for finding in verify(place, states, mend=mend, report=lambda n: show(_megabytes(n))):
            _say(place, finding)
            findings.append(finding)
    # Which files belong to states that cannot be read, nobody knows.
    for name in leftovers(place) if readable else ():
        print(f"{storage.join(place, name)}: belongs to no state; left alone")
    read = f"{plural(len(states.shards), 'shard')}, {decimal(states.size)}"
    print(f"{place}: {read}: {_summary(findings, args.repair)}")
    if _left(findings):
        sys.exit(1)


def copy_collection(args: argparse.Namespace) -> None:
    """Bring a state, and those it grew from, to another place."""
    plan = plan_copy(args.url, args.target)
    with bar(Console(stderr=True), "MB", _megabytes(plan.size)) as show:
        carry_out(plan, lambda done: show(_megabytes(done)))
    print(
        f"{plan.target}: manifest {plan.state}; {plural(len(plan.missing), 'object')} brought, "
        f"{decimal(plan.size)} of shards"
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the program; a mistake of the user's ends in one line and a non-zero exit."""
    args = parse(arguments)
    interrupted = "collection: interrupted; the same command goes on or begins anew"
    with ends_in_a_line("collection", interrupted=interrupted):
        args.run(args)


def _list_settings(found: Description) -> None:
    settings = found.settings
    gaps = f" over {', '.join(map(str, settings.gaps))} frames" if settings.flow != "none" else ""
    print(
        f"height {settings.height}; flow {settings.flow}{gaps}; background {settings.background}; "
        f"shards of {decimal(found.shard_bytes)}"
    )


def _say(place: str, finding: Finding) -> None:
    """Print what is wrong, and how it was put right."""
    where = storage.join(place, finding.name) if finding.name else place
    print(f"{where}: {finding.cause}{f'; {finding.mended}' if finding.mended else ''}")


def _left(findings: Sequence[Finding]) -> int:
    return sum(finding.mended is None for finding in findings)


def _summary(findings: Sequence[Finding], repaired: bool) -> str:
    """Say what came of it, and what to do about the rest."""
    if not findings:
        return "all intact"
    left, mended = _left(findings), len(findings) - _left(findings)
    told = plural(left, "problem") + (f" left, {mended} put right" if repaired else "")
    if not left:
        return told
    if not repaired:
        return f"{told}; repeat with --repair, and --from URL if there is a copy"
    return (
        f"{told}; give a copy by --from URL; without one ingest the same videos into an empty "
        "place, and give that"
    )


def _megabytes(size: int) -> int:
    return math.ceil(size / MEGABYTE)


if __name__ == "__main__":
    main()
