"""Trains under faults, on several nodes of this machine, and proves that nothing is lost.

    make test-faults                          50 faults, all kinds, both methods; up to an hour
    make test-faults OPTIONS="--count 10 --seed 3"
    make test-faults OPTIONS="--seed 3 --only 7"

Each run is struck once, at a step that the seed draws, and goes on: by itself, or as the same
command where the fault ended that. It is right if it ends at its last step, never went back behind
the newest whole checkpoint, has every step once in its journal, with the losses, and at the end
the weights, running mean and optimisers of a run without a fault, bit for bit.

Prints a line for each run and a table of kinds; writes OUTPUT.json and OUTPUT.md. Exit status: 0
if all were right; 1 if not, each with its number for --only; 2 if the command is wrong.
"""

import argparse
import json
import signal
import sys
from pathlib import Path

from tools.fault_suite.bed import made
from tools.fault_suite.kinds import KINDS
from tools.fault_suite.schedule import Planned, schedule
from tools.fault_suite.table import as_json, line, markdown
from tools.fault_suite.trial import Outcome, faulted, undisturbed

WORKERS = 2


def main() -> int:
    """Run the suite; return the exit status."""
    arguments = parse()
    # Also where Ctrl-C is ignored, as in a shell's background, all that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan = chosen(arguments)
    outcomes = run(plan, arguments.count)
    arguments.output.with_suffix(".json").write_text(
        json.dumps(as_json(arguments.seed, outcomes), indent=2) + "\n"
    )
    table = markdown(arguments.seed, outcomes)
    arguments.output.with_suffix(".md").write_text(table)
    print(f"\n{table}")
    for outcome in outcomes:
        if outcome.wrong:
            again = f"--seed {arguments.seed} --count {arguments.count} "
            print(f"again: make test-faults OPTIONS='{again}--only {outcome.planned.number}'")
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


def chosen(arguments: argparse.Namespace) -> list[Planned]:
    """Return what is to be run."""
    plan = schedule(arguments.seed, arguments.count, tuple(KINDS), workers=WORKERS)
    if arguments.kind:
        plan = [each for each in plan if each.kind in arguments.kind]
    if arguments.only:
        plan = [each for each in plan if each.number in arguments.only]
    return plan


def run(plan: list[Planned], count: int) -> list[Outcome]:
    """Run one after another, each on all nodes; say how it goes."""
    outcomes = []
    with made(WORKERS, stored=any(KINDS[planned.kind].stored for planned in plan)) as bed:
        references = {}
        for method in sorted({planned.method for planned in plan}):
            references[method] = undisturbed(bed, method)
            print(f"        undisturbed run of {method}: done", flush=True)
        for planned in plan:
            outcome = faulted(bed, planned, references[planned.method])
            outcomes.append(outcome)
            print(line(outcome, count), flush=True)
            if outcome.wrong:
                # What a fault left behind must not strike the runs that follow.
                bed.nodes.kill_all()
                bed.nodes.start()
            bed.nodes.replenish()
    return outcomes


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=50, help="faulted runs (default: 50)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", type=int, action="append", metavar="NUMBER", help="of these; repeatable"
    )
    parser.add_argument("--kind", choices=KINDS, action="append", help="of these; repeatable")
    parser.add_argument(
        "--output", type=Path, default=Path("test_faults"), metavar="PATH",
        help="without suffix (default: test_faults)",
    )  # fmt: skip
    arguments = parser.parse_args()
    if not chosen(arguments):
        parser.error("--count, --only, --kind: no run is left")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
